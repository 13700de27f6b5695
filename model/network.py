"""The convolutional network in Keras 3 operations: normalised planes in, probabilities out."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from model.architecture import (
    BRANCHES,
    DECODER,
    ENCODER,
    FINE_SCALES,
    LOW_LAYERS,
    LOW_SCALES,
)
from model.bfloat16 import round_kernel
from model.tiles import CELL, WINDOW
from model.weights import Weights

__all__ = ["MaskNetwork"]


class MaskNetwork(keras.Model):  # type: ignore[misc] # Keras has no types
    """
    MaxiMask's network for planes of any size.

    Parameters
    ----------
    weights : Weights
        Kernel and bias of every layer, as many filters as they hold.
    fine_dtype : str, optional
        What the decoder's finest scales compute in: float32 or bfloat16.

    Notes
    -----
    Only operations of `keras.ops` are used, so that every Keras backend runs it. What maxima are
    taken of is always float32: with fewer bits the place of a maximum is lost.

    Which pixels a 2 x 2 pooling puts together depends on where a tile starts, and at the deep
    scales, where a pixel stands for 16 or 32 of the plane, that decides about whole structures. So
    the deep scales see windows of the size of the training images, placed as 1.4.1 places its
    tiles; all finer scales see the plane in one piece.

    References
    ----------
    Paillassa, Bertin & Bouy 2020, A&A 634, A48, section 4.
    """

    def __init__(self, weights: Weights, fine_dtype: str = "float32") -> None:
        super().__init__(trainable=False, dtype="float32")
        self._fine_dtype = fine_dtype
        low = LOW_LAYERS if fine_dtype == "bfloat16" else ()
        self._kernels = {
            name: self._frozen(round_kernel(layer.kernel) if name in low else layer.kernel)
            for name, layer in weights.items()
        }
        self._biases = {name: self._frozen(layer.bias) for name, layer in weights.items()}
        self.built = True

    def call(self, inputs: Any) -> Any:
        """
        Return the probabilities of normalised planes.

        Parameters
        ----------
        inputs : tuple of tensors
            The planes, shape (batch, ny, nx, 1), float32, sides multiples of `STEP`; then for the
            rows, and again for the columns, four vectors, int32: `Span.window_pixels`,
            `Span.cell_pixels`, `Span.places` and `Span.decoded_pixels`.

        Returns
        -------
        tensor, shape (batch, n_classes, n_decoded_y, n_decoded_x), float32
            Raw probabilities of `Span.decoded`, the priors being the training set's.
        """
        planes, *layout = inputs
        x = ops.arcsinh(planes)
        skips, winners = [], []
        for stage in ENCODER[:FINE_SCALES]:
            x = self._stage(stage, x)
            skips.append(x)
            x, winner = _pool(x)
            winners.append(winner)
        x = self._stage(ENCODER[FINE_SCALES], x)
        rows, columns = layout[:4], layout[4:]
        x, longest = self._coarse(x, winners[-1], rows[:3], columns[:3])
        # From here on, only what the tile gives: the encoder's margin is wide.
        decoded = rows[3], columns[3]
        skips = [
            self._at(scale, _crop(skip, decoded, FINE_SCALES - 1 - scale))
            for scale, skip in enumerate(skips)
        ]
        winners = [
            _crop(winner, decoded, FINE_SCALES - 2 - scale)
            for scale, winner in enumerate(winners[:-1])
        ]
        # What a decoder stage starts from also starts the side branch of that stage.
        branches = [(longest, BRANCHES[FINE_SCALES + 1][1:])]
        for scale in reversed(range(FINE_SCALES)):
            branches.append((x, BRANCHES[scale + 1]))
            x = self._stage(DECODER[scale], x + skips[scale])
            if scale:
                x = _unpool(self._at(scale - 1, x), winners[scale - 1])
        parts = [x, *(self._branch(start, names, winners) for start, names in branches)]
        together = ops.cast(ops.concatenate(parts, axis=-1), "float32")
        probabilities = ops.sigmoid(self._convolve("final_conv", together))
        return ops.transpose(probabilities, (0, 3, 1, 2))

    def _coarse(
        self, skip: Any, winner: Any, rows_of: list[Any], columns_of: list[Any]
    ) -> tuple[Any, Any]:
        """Pass windows through the coarser scales; return main decoder and longest branch."""
        rows, row_cells, row_places = rows_of
        columns, column_cells, column_places = columns_of
        windows = self._deep(_cut(skip, rows, columns, WINDOW))
        deep = _join(windows, rows, columns, WINDOW)
        # From here on a cell of each window is enough: what lies around it takes no part any more.
        start = _cut(deep, row_cells, column_cells, CELL)
        here = ops.take(rows, row_cells), ops.take(columns, column_cells), CELL
        cell_skip, cell_winner = _cut(skip, *here), _cut(winner, *here)

        def joined(maps: Any) -> Any:
            x = _join(_unpool(maps, cell_winner), row_cells, column_cells, CELL)
            return ops.take(ops.take(x, row_places, axis=1), column_places, axis=2)

        decoded = self._stage(DECODER[FINE_SCALES], start + cell_skip)
        branch = self._layer(BRANCHES[FINE_SCALES + 1][0], start)
        return joined(decoded), joined(branch)

    def _deep(self, skip: Any) -> Any:
        """Pass windows through the two deepest scales and back."""
        x, winner = _pool(skip)
        deepest_skip = self._stage(ENCODER[-1], x)
        x, deepest_winner = _pool(deepest_skip)
        x = _unpool(self._layer("convmid", x), deepest_winner)
        ny, nx = ops.shape(deepest_skip)[1:3]
        x = self._stage(DECODER[-1], x[:, :ny, :nx] + deepest_skip)
        return _unpool(x, winner)

    def _branch(self, x: Any, names: tuple[str, ...], winners: list[Any]) -> Any:
        for scale, name in zip(reversed(range(len(names))), names, strict=True):
            x = self._layer(name, x)
            if scale:
                x = _unpool(self._at(scale - 1, x), winners[scale - 1])
        return x

    def _at(self, scale: int, x: Any) -> Any:
        """Give maps the type that the decoder computes in at a scale."""
        return ops.cast(x, self._fine_dtype if scale < LOW_SCALES else "float32")

    def _stage(self, names: tuple[str, ...], x: Any) -> Any:
        for name in names:
            x = self._layer(name, x)
        return x

    def _frozen(self, array: Any) -> Any:
        weight = self.add_weight(shape=array.shape, trainable=False)
        weight.assign(array)
        return weight

    def _layer(self, name: str, x: Any) -> Any:
        return ops.relu(self._convolve(name, x))

    def _convolve(self, name: str, x: Any) -> Any:
        kernel, bias = (ops.cast(of[name], x.dtype) for of in (self._kernels, self._biases))
        return ops.conv(x, kernel, padding="same") + bias


def _pool(x: Any) -> tuple[Any, Any]:
    """
    Return the maxima of 2 x 2 windows, and which place of its window each came from.

    Places count 0, 1 / 2, 3; of equal values the first wins: after a ReLU ties at 0 are the rule.
    An odd side is padded with zeros at its end, which never win, because no value is below 0 and
    the places of the pad come later in their window than a real pixel.
    """
    ny, nx = ops.shape(x)[1:3]
    x = ops.pad(x, ((0, 0), (0, ny % 2), (0, nx % 2), (0, 0)))
    a, b = x[:, 0::2, 0::2], x[:, 0::2, 1::2]
    c, d = x[:, 1::2, 0::2], x[:, 1::2, 1::2]
    upper, lower = ops.maximum(a, b), ops.maximum(c, d)
    highest = ops.maximum(upper, lower)
    in_upper = ops.where(a >= b, 0, 1)
    in_lower = ops.where(c >= d, 2, 3)
    return highest, ops.cast(ops.where(upper >= lower, in_upper, in_lower), "int8")


def _unpool(x: Any, winner: Any) -> Any:
    """Put each value back to its place in its 2 x 2 window, zeros elsewhere."""
    corners = [ops.where(winner == place, x, 0.0) for place in range(4)]
    batch, ny, nx, channels = ops.shape(x)
    rows = [ops.stack(corners[i : i + 2], axis=3) for i in (0, 2)]
    y = ops.stack([ops.reshape(row, (batch, ny, 2 * nx, channels)) for row in rows], axis=2)
    return ops.reshape(y, (batch, 2 * ny, 2 * nx, channels))


def _crop(x: Any, decoded: tuple[Any, Any], n_doublings: int) -> Any:
    """Take the pixels that are decoded out of maps so many times finer than those handed back."""
    for axis, pixels in enumerate(decoded, start=1):
        for _ in range(n_doublings):
            pixels = ops.reshape(ops.stack([2 * pixels, 2 * pixels + 1], axis=1), (-1,))  # noqa: PLW2901 (finer and finer)
        x = ops.take(x, pixels, axis=axis)
    return x


def _cut(x: Any, rows: Any, columns: Any, side: int) -> Any:
    """Cut maps into squares: (batch, y, x, channels) -> (batch * n, side, side, channels)."""
    x = ops.take(ops.take(x, rows, axis=1), columns, axis=2)
    batch, ny, nx, channels = ops.shape(x)
    x = ops.reshape(x, (batch, ny // side, side, nx // side, side, channels))
    return ops.reshape(ops.transpose(x, (0, 1, 3, 2, 4, 5)), (-1, side, side, channels))


def _join(squares: Any, rows: Any, columns: Any, side: int) -> Any:
    """Lay side by side what `_cut` made of these rows and columns, at the scale that it has now."""
    n_y, n_x = ops.shape(rows)[0] // side, ops.shape(columns)[0] // side
    _, height, width, channels = ops.shape(squares)
    x = ops.reshape(squares, (-1, n_y, n_x, height, width, channels))
    x = ops.transpose(x, (0, 1, 3, 2, 4, 5))
    return ops.reshape(x, (-1, n_y * height, n_x * width, channels))
