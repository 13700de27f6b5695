"""What a network says of itself: its source, its classes, their priors and thresholds."""

from __future__ import annotations

import hashlib
import json
from dataclasses import astuple, dataclass
from enum import StrEnum

from settings.errors import PermanentError

__all__ = ["BACKGROUND_CLASS", "Card", "MaskClass", "Preprocessing", "PresetError"]

#: The class of clean pixels: it has a plane, but no bit in a bit mask (as in 1.4.1's single_mask).
BACKGROUND_CLASS = "BG"


class PresetError(PermanentError):
    """A preset that is missing, incomplete or not what its card says."""


class Preprocessing(StrEnum):
    """The release whose way of estimating background and sigma a network was trained with."""

    V1_4 = "1.4"
    V2018 = "2018"


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
        File name of the weights in the preset's folder.
    sha256 : str
        Checksum of the weights, in hexadecimal digits.
    preprocessing : Preprocessing
        How planes are normalised for it.
    classes : tuple of MaskClass
        In the order of the network's output.
    """

    name: str
    source: str
    paper: str
    licence: str
    weights: str
    sha256: str
    preprocessing: Preprocessing
    classes: tuple[MaskClass, ...]

    @property
    def fingerprint(self) -> str:
        """SHA-256 of all that decides about masks: weights, classes, normalisation."""
        parts = [self.sha256, self.preprocessing, *map(astuple, self.classes)]
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()
