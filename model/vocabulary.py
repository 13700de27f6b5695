"""The class names of 2018 and of 1.4: names and planes of one release in, those of the other out.

1.4 has one class for hot columns and lines (HCL), one for dead columns, lines and clusters (DCL).
2018 has hot columns (HC), bad columns (BC) and bad lines (BL). Which a masked pixel is shows in the
direction in which the masked pixels run. What 2018 has no class for (hot lines, clusters, overscan)
is in none of its planes.
"""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

__all__ = [
    "CLASSES_2018",
    "FULL_NAMES_2018",
    "SOURCES_2018",
    "Combine",
    "Direction",
    "pixels_along",
    "values_for_1_4",
]

#: A pixel belongs to a column where the masked run through it is this many times as long as the
#: one across, and to a line conversely: wide columns count, clusters do not.
ELONGATION = 3


class Direction(StrEnum):
    """The direction in which the masked pixels of a defect run."""

    COLUMN = "column"
    LINE = "line"


#: The planes of the 2018 release: each class's name in 1.4, and the direction that tells it there.
SOURCES_2018: Mapping[str, tuple[str, Direction | None]] = {
    "CR": ("CR", None),
    "HC": ("HCL", Direction.COLUMN),
    "BC": ("DCL", Direction.COLUMN),
    "BL": ("DCL", Direction.LINE),
    "HP": ("HP", None),
    "BP": ("DP", None),
    "P": ("P", None),
    "STL": ("TRL", None),
    "FR": ("FR", None),
    "NEB": ("NEB", None),
    "SAT": ("SAT", None),
    "SP": ("SP", None),
    "BBG": ("BBG", None),
    "BG": ("BG", None),
}

#: The class names of the 2018 release, in the order of its output.
CLASSES_2018 = tuple(SOURCES_2018)


FULL_NAMES_2018: Mapping[str, str] = {
    "CR": "cosmic ray",
    "HC": "hot column",
    "BC": "bad column",
    "BL": "bad line",
    "HP": "hot pixel",
    "BP": "bad pixel",
    "P": "persistence",
    "STL": "satellite trail",
    "FR": "fringe pattern",
    "NEB": "nebulosity",
    "SAT": "saturated pixel",
    "SP": "diffraction spike",
    "BBG": "bright background",
    "BG": "background",
}


class Combine(StrEnum):
    """What a class of 1.4 takes of the values of the two 2018 classes that are part of it."""

    FLAG = "flag"
    PRIOR = "prior"
    THRESHOLD = "threshold"


def values_for_1_4(values: Mapping[str, float], combine: Combine) -> dict[str, float]:
    """
    Translate values by 2018 class into values by 1.4 class.

    Parameters
    ----------
    values : mapping of str to float
        Flags, priors or thresholds by class, names of 2018 or of both.
    combine : Combine
        What they are.

    Returns
    -------
    dict of str to float
        The same by class of 1.4. DCL takes, of BC and BL, either's flag, the sum of their priors
        (a pixel is one or the other) and the lower threshold (a pixel that either would mask).
    """
    translated: dict[str, float] = {}
    for name, value in values.items():
        target = SOURCES_2018.get(name, (name, None))[0]
        if target not in translated:
            translated[target] = value
        elif combine is Combine.FLAG:
            translated[target] = max(translated[target], value)
        elif combine is Combine.PRIOR:
            # Two priors near 1 are no proportions; the shift needs one below 1.
            translated[target] = min(translated[target] + value, np.nextafter(1.0, 0.0))
        else:
            translated[target] = min(translated[target], value)
    return translated


def pixels_along(mask: NDArray[np.bool_], direction: Direction) -> NDArray[np.bool_]:
    """
    Select the masked pixels of defects that run in one direction.

    Parameters
    ----------
    mask : ndarray, shape (ny, nx), bool
        The pixels of a class of columns and lines.
    direction : Direction
        The direction; columns run along y.

    Returns
    -------
    ndarray, shape (ny, nx), bool
        The pixels whose run in this direction is at least `ELONGATION` times as long as the one
        across. Where a column and a line cross, pixels belong to both: those whose run holds a
        pixel that is told. Pixels of clusters belong to neither.
    """
    runs = {Direction.LINE: _runs(mask), Direction.COLUMN: _runs(mask.T).T}
    across = Direction.LINE if direction is Direction.COLUMN else Direction.COLUMN
    lengths = {way: np.bincount(numbers.ravel())[numbers] for way, numbers in runs.items()}
    told = mask & (lengths[direction] >= ELONGATION * lengths[across])
    told_across = mask & (lengths[across] >= ELONGATION * lengths[direction])
    of_told = np.bincount(runs[direction].ravel(), weights=told.ravel())[runs[direction]] > 0
    return told | (mask & of_told & ~told_across)


def _runs(mask: NDArray[np.bool_]) -> NDArray[np.int64]:
    """Give each run of masked pixels along the last axis a number; 0 is what is not masked."""
    starts = mask.copy()
    starts[:, 1:] &= ~mask[:, :-1]
    return np.where(mask, np.cumsum(starts.ravel()).reshape(mask.shape), 0)
