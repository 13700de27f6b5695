"""What is cut into windows: an array, or something that reads or makes parts of one when sliced."""

from __future__ import annotations

from typing import Any, Protocol

from numpy.typing import NDArray

__all__ = ["STRIP", "Plane"]

#: Rows of a plane that are worked on at a time: they stay in the processor's cache.
STRIP = 64


class Plane(Protocol):
    """
    Pixels that need not be in memory: an ndarray, or what gives one where it is sliced.

    Notes
    -----
    Slices of whole rows, one after the other, are what every plane gives fast.
    """

    @property
    def shape(self) -> tuple[int, ...]:
        """As an array's: (ny, nx)."""

    def __getitem__(self, index: tuple[int | slice, ...], /) -> NDArray[Any]:
        """Return the pixels there."""
