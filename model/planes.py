"""The planes of a product: a recipe and the network's probabilities in, masks or others out.

Masks are kept as one bit a class, and become planes where they are sliced: those of 14 classes
would take 14 bytes a pixel.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.plane import STRIP
from model.probability import PlaneRecipe, ProductFormat, Recipe
from model.vocabulary import pixels_along

__all__ = ["Planes", "ProductPlanes", "Stack", "empty_planes"]


class Planes(ABC):
    """
    An array that is made where it is sliced.

    Attributes
    ----------
    shape : tuple of int
        As an array's.
    dtype : numpy.dtype
        As an array's.

    Notes
    -----
    A slice is an array, of one plane at a time; `numpy.asarray` makes one of everything.
    """

    @property
    @abstractmethod
    def shape(self) -> tuple[int, ...]:
        """As above."""

    @property
    @abstractmethod
    def dtype(self) -> np.dtype[Any]:
        """As above."""

    @abstractmethod
    def __getitem__(self, index: tuple[Any, ...], /) -> NDArray[Any]:
        """Return a part."""

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> NDArray[Any]:
        """Return everything."""
        array = np.empty(self.shape, dtype or self.dtype)
        for plane in np.ndindex(*self.shape[:-2]):
            array[plane] = self[(*plane, slice(None))]
        return array


class ProductPlanes(Planes):
    """
    The planes that a recipe makes of one exposure plane, filled tile by tile.

    Attributes
    ----------
    shape : tuple of int
        (n_planes, ny, nx); (ny, nx) of a bit mask.
    dtype : numpy.dtype
        Masks are uint8, 0 or 1; probabilities float32; a bit mask, a sum of bits, is int16.

    Notes
    -----
    Where nothing was put in, nothing is masked.
    """

    def put(self, rows: slice, columns: slice, probabilities: NDArray[np.float32]) -> None:
        """
        Fill a part of all planes.

        Parameters
        ----------
        rows, columns : slice
            The part; what lies beyond the planes is left out.
        probabilities : ndarray, shape (n_classes, ny, nx), float32
            What the network says of it, for all classes of the preset.

        Notes
        -----
        A probability that is not a number is greater than no threshold: its pixel is not masked.
        """
        ny, nx = self.shape[-2:]
        first, stop, _ = rows.indices(ny)
        width = len(range(*columns.indices(nx)))
        for y in range(first, stop, STRIP):
            strip = slice(y, min(y + STRIP, stop))
            self._put(strip, columns, probabilities[:, y - first : strip.stop - first, :width])

    @abstractmethod
    def finish(self) -> None:
        """Make what needs all tiles; to be called after the last one."""

    @abstractmethod
    def count(self) -> NDArray[np.int64]:
        """
        Count the masked pixels of each class.

        Returns
        -------
        ndarray, shape (n_planes,), int64
            Pixels by class; of a bit mask, 0 for the background, which has no bit. Probabilities
            are counted where they exceed the thresholds.
        """

    @abstractmethod
    def _put(self, rows: slice, columns: slice, probabilities: NDArray[np.float32]) -> None:
        """Fill a part that the processor's cache holds."""


class Stack(Planes):
    """
    The product planes of a cube's channels, one channel after the other.

    Parameters
    ----------
    channels : sequence of ProductPlanes
        At least one, all of one shape.
    """

    def __init__(self, channels: Sequence[ProductPlanes]) -> None:
        self._channels = channels

    @property
    def shape(self) -> tuple[int, ...]:
        """(n_channels, n_planes, ny, nx); (n_channels, ny, nx) of bit masks."""
        return (len(self._channels), *self._channels[0].shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        """As the channels'."""
        return self._channels[0].dtype

    def __getitem__(self, index: tuple[Any, ...], /) -> NDArray[Any]:
        """Return a part of one channel."""
        channel, *where = index
        return self._channels[channel][tuple(where)]


def empty_planes(recipe: Recipe, shape: tuple[int, ...]) -> ProductPlanes:
    """
    Begin the planes of an exposure plane.

    Parameters
    ----------
    recipe : Recipe
        What to make of the probabilities.
    shape : tuple of int
        Height and width, in pixels.

    Returns
    -------
    ProductPlanes
        With nothing masked.
    """
    match recipe.format:
        case ProductFormat.MASKS:
            return _Masks(recipe, shape)
        case ProductFormat.BITMASK:
            return _BitMask(recipe, shape)
        case ProductFormat.PROBABILITIES:
            return _Probabilities(recipe, shape)


class _Masks(ProductPlanes):
    def __init__(self, recipe: Recipe, shape: tuple[int, ...]) -> None:
        self._planes = recipe.planes
        # Also the background, which has no bit in a bit mask, has one here.
        n_bits = 1 + max(plane.mask_class.index for plane in recipe.planes)
        self._bits = np.zeros(shape, np.min_scalar_type((1 << n_bits) - 1))

    @property
    def shape(self) -> tuple[int, ...]:
        return (len(self._planes), *self._bits.shape)

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.uint8)

    def __getitem__(self, index: tuple[Any, ...], /) -> NDArray[Any]:
        number, *where = index
        return self._is_masked(self._planes[number], *where).view(np.uint8)

    def finish(self) -> None:
        for plane in self._planes:
            if plane.direction:
                bit = self._bit(plane)
                along = pixels_along(self._is_masked(plane), plane.direction)
                self._bits = (self._bits & ~bit) | (along * bit)

    def count(self) -> NDArray[np.int64]:
        counts = np.zeros(len(self._planes), np.int64)
        for y in range(0, len(self._bits), STRIP):
            strip = slice(y, y + STRIP)
            counts += [np.count_nonzero(self._is_masked(plane, strip)) for plane in self._planes]
        return counts

    def _put(self, rows: slice, columns: slice, probabilities: NDArray[np.float32]) -> None:
        bits: NDArray[Any] = np.zeros(probabilities.shape[1:], self._bits.dtype)
        for plane in self._planes:
            bits |= plane.mask(probabilities) * self._bit(plane)
        self._bits[rows, columns] = bits

    def _is_masked(self, plane: PlaneRecipe, *where: slice) -> NDArray[np.bool_]:
        return (self._bits[where] & self._bit(plane)) != 0

    def _bit(self, plane: PlaneRecipe) -> Any:
        return self._bits.dtype.type(1 << plane.mask_class.index)


class _BitMask(_Masks):
    @property
    def shape(self) -> tuple[int, ...]:
        return self._bits.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return np.dtype(np.int16)

    def __getitem__(self, index: tuple[Any, ...], /) -> NDArray[Any]:
        told = sum(plane.mask_class.bit for plane in self._planes)
        return (self._bits[index] & told).astype(np.int16)

    def count(self) -> NDArray[np.int64]:
        has_bit = [plane.mask_class.bit > 0 for plane in self._planes]
        return np.where(has_bit, super().count(), 0)


class _Probabilities(ProductPlanes):
    def __init__(self, recipe: Recipe, shape: tuple[int, ...]) -> None:
        self._planes = recipe.planes
        self._values = np.zeros((len(recipe.planes), *shape), np.float32)

    @property
    def shape(self) -> tuple[int, ...]:
        return self._values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        return self._values.dtype

    def __getitem__(self, index: tuple[Any, ...], /) -> NDArray[Any]:
        return self._values[index]

    def __array__(self, dtype: Any = None, *, copy: bool | None = None) -> NDArray[Any]:
        return np.array(self._values, dtype, copy=copy)

    def finish(self) -> None:
        """Nothing is left to do."""

    def count(self) -> NDArray[np.int64]:
        exceeding = [
            np.count_nonzero(values > np.float32(plane.threshold))
            for plane, values in zip(self._planes, self._values, strict=True)
        ]
        return np.array(exceeding, np.int64)

    def _put(self, rows: slice, columns: slice, probabilities: NDArray[np.float32]) -> None:
        for values, plane in zip(self._values, self._planes, strict=True):
            values[rows, columns] = plane.shifted(probabilities)
