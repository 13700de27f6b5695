"""Brings a raw plane into the units of a network's training: sigma above the background."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.background import Background
from model.background_1_4 import clean_plane, estimate_background
from model.background_2018 import clean_plane_2018, estimate_background_2018
from model.card import Preprocessing
from model.plane import Plane

__all__ = ["CleanPlane", "NormalisedPlane", "normalise_plane"]


@dataclass(frozen=True)
class CleanPlane:
    """
    A raw plane that is cleaned where it is sliced, so that no second one stays in memory.

    Parameters
    ----------
    raw : Plane
        Pixel values in ADU, any real type.
    clean : callable
        Brings some of them into the range that the network was trained with.
    """

    raw: Plane
    clean: Callable[[NDArray[Any]], NDArray[np.float32]]

    @property
    def shape(self) -> tuple[int, ...]:
        """The plane's (ny, nx)."""
        return self.raw.shape

    def __getitem__(self, index: tuple[int | slice, ...], /) -> NDArray[np.float32]:
        """Return clean pixels, in ADU, as a new array."""
        return self.clean(self.raw[index])


@dataclass(frozen=True)
class NormalisedPlane:
    """
    A plane as a network sees it: in units of sigma above its background.

    Parameters
    ----------
    clean : CleanPlane
        The plane in ADU, in the range that the network was trained with.
    background : Background
        Its background and sigma.
    """

    clean: CleanPlane
    background: Background


def normalise_plane(
    plane: Plane, preprocessing: Preprocessing = Preprocessing.V1_4
) -> NormalisedPlane:
    """
    Estimate once what every network of a release needs of a plane.

    Parameters
    ----------
    plane : Plane, shape (ny, nx)
        Pixel values in ADU, any real type; sides of at least 2 pixels. It is not changed.
    preprocessing : Preprocessing, optional
        How the networks were trained.

    Returns
    -------
    NormalisedPlane
        The plane and its background.
    """
    if preprocessing is Preprocessing.V2018:
        clean = CleanPlane(plane, clean_plane_2018)
        return NormalisedPlane(clean, estimate_background_2018(clean))
    clean = CleanPlane(plane, clean_plane)
    return NormalisedPlane(clean, estimate_background(clean))
