"""Brings a raw plane into the units of a network's training: sigma above the background."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from model.background import Background
from model.background_1_4 import clean_plane, estimate_background
from model.background_2018 import clean_plane_2018, estimate_background_2018
from model.card import Preprocessing

__all__ = ["NormalisedPlane", "normalise_plane"]


@dataclass(frozen=True)
class NormalisedPlane:
    """
    A plane as a network sees it: in units of sigma above its background.

    Parameters
    ----------
    clean : ndarray, shape (ny, nx), float32
        The plane in ADU, in the range that the network was trained with.
    background : Background
        Its background and sigma.
    """

    clean: NDArray[np.float32]
    background: Background


def normalise_plane(
    plane: NDArray[np.generic], preprocessing: Preprocessing = Preprocessing.V1_4
) -> NormalisedPlane:
    """
    Estimate once what every network of a release needs of a plane.

    Parameters
    ----------
    plane : ndarray, shape (ny, nx)
        Pixel values in ADU, any real type; sides of at least 2 pixels. It is not changed.
    preprocessing : Preprocessing, optional
        How the networks were trained.

    Returns
    -------
    NormalisedPlane
        The plane and its background.
    """
    if preprocessing is Preprocessing.V2018:
        clean = clean_plane_2018(plane)
        return NormalisedPlane(clean, estimate_background_2018(clean))
    clean = clean_plane(plane)
    return NormalisedPlane(clean, estimate_background(clean))
