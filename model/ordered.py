"""Ranks and moments of many values, of which only those that are asked for are sorted."""

from __future__ import annotations

from typing import Literal

import numpy as np
from numpy.typing import NDArray

__all__ = ["Ordered"]

#: One value of this many tells where the others lie: an odd number, so that no colour of a Bayer
#: pattern is left out.
EVERY = 17
#: Parts of the sample that bound the core, and the middle of it.
CORE, MIDDLE = (0.025, 0.975), (0.42, 0.56)


class Ordered:
    """
    Values in ascending order.

    Parameters
    ----------
    values : ndarray, float32
        In any order and shape, at least one, without NaN.

    Notes
    -----
    Clipping asks for ranks far from the median and for values next to it. So the tails and the
    middle are sorted, about a sixth of all values; whatever else is asked for sorts all of them.
    Moments are sums of differences to a value near the median, exact for whole numbers.
    """

    def __init__(self, values: NDArray[np.float32]) -> None:
        self._values = values = values.ravel()
        self.size = values.size
        sample = np.sort(values[::EVERY])
        low, high, first, last = (sample[int(part * sample.size)] for part in (*CORE, *MIDDLE))
        self._low, self._high = np.sort(values[values < low]), np.sort(values[values > high])
        self._middle = np.sort(values[(values >= first) & (values <= last)])
        self._below_middle = int(np.count_nonzero(values < first))
        self._core = low, high
        self._origin = np.float64(sample[sample.size // 2])
        differences = values - self._origin
        differences *= (values >= low) & (values <= high)
        self._sums_of_core = float(differences.sum()), float(differences @ differences)

    def rank(self, bound: float, side: Literal["left", "right"]) -> int:
        """
        Count the values below a bound.

        Parameters
        ----------
        bound : float
            The bound.
        side : str
            ``left``: without those that equal it; ``right``: with them.

        Returns
        -------
        int
            How many there are.
        """
        if self._core[0] <= bound <= self._core[1]:
            self._sort_all()
        if bound < self._core[0]:
            return int(np.searchsorted(self._low, bound, side=side))
        return self.size - self._high.size + int(np.searchsorted(self._high, bound, side=side))

    def median(self, first: int, stop: int) -> float:
        """
        Return the median of some values.

        Parameters
        ----------
        first, stop : int
            Their ranks.

        Returns
        -------
        float
            The value in the middle, or the mean of the two there, to float32.
        """
        half = first + (stop - first) // 2
        pair = [half if (stop - first) % 2 else half - 1, half]
        if pair[0] < self._below_middle or half >= self._below_middle + self._middle.size:
            self._sort_all()
        lower, upper = self._middle[np.array(pair) - self._below_middle]
        return float(lower + upper) / 2

    def moments(self, first: int, stop: int) -> tuple[float, float]:
        """
        Return mean and standard deviation of some values.

        Parameters
        ----------
        first, stop : int
            Their ranks.

        Returns
        -------
        (float, float)
            In float64.
        """
        if first > self._low.size or stop < self.size - self._high.size:
            self._sort_all()
        before_high = self.size - self._high.size
        total, of_squares = self._sums_of_core
        for kept in (self._low[first:stop], self._high[: max(stop - before_high, 0)]):
            differences = kept - self._origin
            total += float(differences.sum())
            of_squares += float(differences @ differences)
        mean = total / (stop - first)
        variance = of_squares / (stop - first) - mean**2
        return float(mean + self._origin), float(np.sqrt(max(variance, 0.0)))

    def _sort_all(self) -> None:
        """Let all values be the lower tail."""
        if self._low.size == self.size:
            return
        self._low = self._middle = np.sort(self._values)
        self._high = self._values[:0]
        self._below_middle = 0
        self._core = np.float32(np.inf), np.float32(np.inf)
        self._sums_of_core = 0.0, 0.0
