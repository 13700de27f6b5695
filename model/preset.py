"""Finds a network: the name of a preset or a folder in, where its weights lie and its card out.

Three kinds of folders are understood: a preset of maximaskd, which has a card, and the directories
of weights that came with the two releases of MaxiMask, which have none.
"""

from __future__ import annotations

import hashlib
import tomllib
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from model.card import Card, MaskClass, Preprocessing, PresetError
from model.releases import RELEASE_1_4, RELEASE_2018, RELEASES, Release

__all__ = [
    "CARD_NAME",
    "PRESETS",
    "Preset",
    "card_problem",
    "find_preset",
    "preset_folder",
    "read_card",
    "read_fields",
]

PRESETS = Path(__file__).parent / "presets"
CARD_NAME = "card.toml"


@dataclass(frozen=True)
class Preset:
    """
    Where a network lies.

    Parameters
    ----------
    folder : Path
        Its folder.
    card : Card
        What it says of itself, or what is known of its release.
    release : Release or None
        The release in whose own format it is; None: in that of maximaskd.
    """

    folder: Path
    card: Card
    release: Release | None = None


def find_preset(preset: str) -> Preset:
    """
    Find a network.

    Parameters
    ----------
    preset : str
        Name of a preset that comes with maximaskd, or the path of a folder: one with a card, the
        SavedModel of MaxiMask 1.x, or the checkpoint of MaxiMask 2018.

    Returns
    -------
    Preset
        Where it is; the weights are not read yet.

    Raises
    ------
    PresetError
        Where there is none, its card is malformed, or files of it are missing.

    Notes
    -----
    The checksum of a release's own files is made here: that of the file of the variables followed
    by that of their index.
    """
    folder = Path(preset).expanduser()
    for place in (PRESETS / preset, folder):
        if (place / CARD_NAME).is_file():
            return Preset(place, _parse_card(place / CARD_NAME))
    for release in RELEASES:
        present = [pattern for pattern in release.files if any(folder.glob(pattern))]
        if present:
            missing = [pattern for pattern in release.files if pattern not in present]
            return _released(release, folder, missing)
    raise PresetError(
        f"There is no preset {preset!r}: name one of {_known(CARD_NAME)}, or a folder that holds "
        f"{CARD_NAME}, the SavedModel of MaxiMask 1.x ({', '.join(RELEASE_1_4.files)}) or the "
        f"checkpoint of MaxiMask 2018 ({', '.join(RELEASE_2018.files)})."
    )


def read_card(preset: str) -> Card:
    """
    Read what a network says of itself.

    Parameters
    ----------
    preset : str
        As in `find_preset`.

    Returns
    -------
    Card
        Its classes in the order of the network's output.

    Raises
    ------
    PresetError
        As `find_preset`.

    Examples
    --------
    >>> [mask_class.name for mask_class in read_card("maximask-1.4").classes][:3]
    ['CR', 'HCL', 'DCL']
    """
    return find_preset(preset).card


def preset_folder(preset: str, card_name: str) -> Path:
    """
    Find the folder of a preset by its card.

    Parameters
    ----------
    preset : str
        Name of a preset that comes with maximaskd, or the path of a folder with a card.
    card_name : str
        The card's file name.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    PresetError
        Where there is none.
    """
    for folder in (PRESETS / preset, Path(preset).expanduser()):
        if (folder / card_name).is_file():
            return folder
    raise PresetError(
        f"There is no preset {preset!r}: name one of {_known(card_name)}, or a folder that holds "
        f"{card_name}."
    )


def read_fields(path: Path) -> dict[str, Any]:
    """
    Read the fields of a card.

    Parameters
    ----------
    path : Path
        The card.

    Returns
    -------
    dict
        As they stand in the TOML file.

    Raises
    ------
    PresetError
        Where it cannot be read.
    """
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise card_problem(path, error) from error


def card_problem(path: Path, error: Exception) -> PresetError:
    """
    Say that a card is malformed.

    Parameters
    ----------
    path : Path
        The card.
    error : Exception
        What is wrong with it.

    Returns
    -------
    PresetError
        The sentence for the user.
    """
    return PresetError(
        f"The preset's card {path} cannot be used ({error}): restore it from the distribution."
    )


def _parse_card(path: Path) -> Card:
    fields = read_fields(path)
    try:
        classes = tuple(
            MaskClass(index=index, **row) for index, row in enumerate(fields.pop("classes"))
        )
        preprocessing = Preprocessing(fields.pop("preprocessing"))
        return Card(classes=classes, preprocessing=preprocessing, **fields)
    except (TypeError, KeyError, ValueError) as error:
        raise card_problem(path, error) from error


def _released(release: Release, folder: Path, missing: Iterable[str]) -> Preset:
    if missing:
        raise PresetError(
            f"The folder {folder} of {release.name} has no {', '.join(missing)}: copy the whole "
            "folder of the release."
        )
    card = Card(
        name=release.name,
        source=f"{folder}, as published",
        paper="Paillassa, Bertin & Bouy 2020, A&A 634, A48, doi:10.1051/0004-6361/201936345",
        licence="MIT, Copyright 2018 Maxime Paillassa",
        weights=release.data,
        sha256=_checksum(folder, release),
        preprocessing=release.preprocessing,
        classes=release.classes,
    )
    return Preset(folder, card, release)


def _checksum(folder: Path, release: Release) -> str:
    digest = hashlib.sha256()
    for ending in ("data-00000-of-00001", "index"):
        path = folder / f"{release.data}.{ending}"
        try:
            with path.open("rb") as file:
                digest.update(hashlib.file_digest(file, "sha256").digest())
        except OSError as error:
            raise PresetError(
                f"The weights {path} cannot be read ({error}): mend the file's rights, or copy the "
                "folder of the release again."
            ) from error
    return digest.hexdigest()


def _known(card_name: str) -> str:
    return ", ".join(sorted(path.parent.name for path in PRESETS.glob(f"*/{card_name}")))
