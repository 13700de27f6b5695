"""A preset's card: where the network comes from, its classes, their priors and thresholds."""

from __future__ import annotations

import tomllib
from dataclasses import dataclass
from pathlib import Path

from settings.errors import PermanentError

__all__ = ["BACKGROUND_CLASS", "Card", "MaskClass", "PresetError", "preset_folder", "read_card"]

PRESETS = Path(__file__).parent / "presets"
CARD_NAME = "card.toml"
#: The class of clean pixels: it has a plane, but no bit in a bit mask (as in 1.4.1's single_mask).
BACKGROUND_CLASS = "BG"


class PresetError(PermanentError):
    """A preset that is missing, incomplete or not what its card says."""


@dataclass(frozen=True)
class MaskClass:
    """
    One class of pixels that the network tells apart.

    Parameters
    ----------
    name : str
        Short name, for example ``CR``.
    full_name : str
        What it is, for example ``cosmic ray``.
    index : int
        Position in the network's output, from 0.
    training_prior : float
        Proportion of the class in the training set.
    prior : float
        Proportion expected in exposures.
    threshold : float
        A pixel is masked where its probability is greater.
    """

    name: str
    full_name: str
    index: int
    training_prior: float
    prior: float
    threshold: float

    @property
    def bit(self) -> int:
        """Value of the class in a bit mask: 2 to the power `index`, 0 for the background."""
        return 0 if self.name == BACKGROUND_CLASS else 1 << self.index


@dataclass(frozen=True)
class Card:
    """
    What a preset says of itself.

    Parameters
    ----------
    name : str
        Name of the preset.
    source, paper, licence : str
        Where the weights come from, the paper that describes them, their licence.
    weights : str
        File name of the weights beside the card.
    sha256 : str
        Checksum of that file, in hexadecimal digits.
    classes : tuple of MaskClass
        In the order of the network's output.
    """

    name: str
    source: str
    paper: str
    licence: str
    weights: str
    sha256: str
    classes: tuple[MaskClass, ...]


def preset_folder(preset: str) -> Path:
    """
    Find the folder of a preset.

    Parameters
    ----------
    preset : str
        Name of a preset that comes with maximaskd, or the path of a folder with a card.

    Returns
    -------
    Path
        The folder that holds the card.

    Raises
    ------
    PresetError
        Where there is none.
    """
    for folder in (PRESETS / preset, Path(preset).expanduser()):
        if (folder / CARD_NAME).is_file():
            return folder
    known = ", ".join(sorted(path.parent.name for path in PRESETS.glob(f"*/{CARD_NAME}")))
    raise PresetError(
        f"There is no preset {preset!r}: name one of {known}, or a folder that holds {CARD_NAME}."
    )


def read_card(preset: str) -> Card:
    """
    Read the card of a preset.

    Parameters
    ----------
    preset : str
        As in `preset_folder`.

    Returns
    -------
    Card
        The card, its classes in the order of the file.

    Raises
    ------
    PresetError
        Where the card is missing or malformed.

    Examples
    --------
    >>> [mask_class.name for mask_class in read_card("maximask-1.4").classes][:3]
    ['CR', 'HCL', 'DCL']
    """
    path = preset_folder(preset) / CARD_NAME
    try:
        fields = tomllib.loads(path.read_text(encoding="utf-8"))
        classes = tuple(
            MaskClass(index=index, **row) for index, row in enumerate(fields.pop("classes"))
        )
        return Card(classes=classes, **fields)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError, TypeError, KeyError) as error:
        raise PresetError(
            f"The preset's card {path} cannot be used ({error}): restore it from the distribution."
        ) from error
