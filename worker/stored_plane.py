"""A plane of an exposure that stays in its file: rows are read where it is sliced."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

__all__ = ["StoredPlane"]


class StoredPlane:
    """
    One plane, of which no more is in memory than the rows that were asked for last.

    Parameters
    ----------
    shape : tuple of int
        Its (ny, nx).
    read : callable
        Reads whole rows, first and last given as a slice.
    """

    def __init__(self, shape: tuple[int, ...], read: Callable[[slice], NDArray[Any]]) -> None:
        self.shape = shape
        self._read = read
        self._first = 0
        self._rows = np.empty((0, shape[1]))

    def __getitem__(self, index: tuple[Any, ...], /) -> NDArray[np.float32]:
        """
        Return pixels as float32.

        Parameters
        ----------
        index : tuple of slice
            Rows and columns.

        Returns
        -------
        ndarray, shape (ny, nx), float32
            In ADU, a new array.

        Notes
        -----
        Neighbouring tiles lie in the same rows, which are read once.
        """
        rows, columns = index
        first, stop, _ = rows.indices(self.shape[0])
        if first < self._first or stop > self._first + len(self._rows):
            # What is read next need not lie beside what is held.
            self._rows = self._rows[:0]
            self._rows = self._read(slice(first, stop))
            self._first = first
        here = slice(first - self._first, stop - self._first)
        # A double beyond the range of float32 is infinite there.
        with np.errstate(over="ignore", invalid="ignore"):
            return self._rows[here, columns].astype(np.float32)
