"""The convolutional network in OpenVINO's operations: layers and shapes in, a graph out.

The same arithmetic as `model.network`, as OpenVINO's CPU plugin runs it best: all shapes known, and
a pooling that remembers its winners at the pooled scale, so that unpooling is one pass over the
finer maps. The plugin keeps maps in memory as (batch, y, x, channels). Seen like that, a map is
also an array of 2 x 2 windows, and the transpositions to see it like that move nothing.

Only the decoder's two finest scales, where most of the arithmetic is, can compute in bfloat16. The
encoder's maxima need float32: with the 8 bits of bfloat16 many values of a window are equal, and
the place of its maximum is lost. The final scores need it too: thresholds lie at probabilities
like 0.999.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset1
from openvino import opset13 as ops

from model.architecture import BRANCHES, DECODER, ENCODER, FINE_SCALES, LOW_SCALES
from model.bfloat16 import round_kernel
from model.engine import Precision
from model.tiles import CELL, WINDOW
from model.weights import Weights

__all__ = ["make_model"]

#: Ranks of the four places of a 2 x 2 window: of equal values, the place of the highest rank wins.
RANKS = np.array([[4, 3], [2, 1]], np.float32).reshape(1, 1, 2, 1, 2, 1)
#: The types of maps.
ELEMENTS = {Precision.FLOAT32: ov.Type.f32, Precision.BFLOAT16: ov.Type.bf16}
#: Axes of rows and columns in maps.
ROWS, COLUMNS = 2, 3


def make_model(
    weights: Weights, shapes: Sequence[tuple[int, ...]], precision: Precision = Precision.FLOAT32
) -> ov.Model:
    """
    Build the network for tiles of one shape.

    Parameters
    ----------
    weights : Weights
        Kernel and bias of every layer, as many filters as they hold.
    shapes : sequence of tuple of int
        Those of the inputs: the planes, (batch, ny, nx); then for the rows, and again for the
        columns, `Span.window_pixels`, `Span.cell_pixels`, `Span.places` and `Span.decoded_pixels`.
    precision : Precision, optional
        What the decoder's finest scales compute in: float32 or bfloat16.

    Returns
    -------
    openvino.Model
        Inputs: the planes, float32, and the eight vectors, int32. Output: raw probabilities of
        `Span.decoded`, shape (batch, n_classes, n_decoded_y, n_decoded_x), float32.

    References
    ----------
    Paillassa, Bertin & Bouy 2020, A&A 634, A48, section 4.
    """
    planes = ops.parameter(shapes[0], np.float32)
    layout = [ops.parameter(shape, np.int32) for shape in shapes[1:]]
    output = _Network(weights, ELEMENTS[precision]).probabilities(planes, layout)
    return ov.Model([output], [planes, *layout], "maximask")


class _Network:
    """The layers as operations on maps (batch, channels, y, x)."""

    def __init__(self, weights: Weights, fine: ov.Type) -> None:
        self._weights = weights
        self._fine = fine

    def probabilities(self, planes: Any, layout: list[Any]) -> Any:
        x = ops.asinh(ops.unsqueeze(planes, _vector(1)))
        skips, winners = [], []
        for names in ENCODER[:FINE_SCALES]:
            x = self._stage(names, x)
            skips.append(x)
            x, winner = _pool(x)
            winners.append(winner)
        x = self._stage(ENCODER[FINE_SCALES], x)
        rows, columns = layout[:4], layout[4:]
        x, longest = self._coarse(x, winners.pop(), rows[:3], columns[:3])
        # From here on, only what the tile gives: the encoder's margin is wide.
        decoded = rows[3], columns[3]
        skips, winners = (
            [
                _crop(self._at(scale, x), decoded, (1 << len(maps) - 1) >> scale)
                for scale, x in enumerate(maps)
            ]
            for maps in (skips, winners)
        )
        # What a decoder stage starts from also starts the side branch of that stage.
        branches = [(longest, BRANCHES[FINE_SCALES + 1][1:])]
        for scale in reversed(range(FINE_SCALES)):
            branches.append((x, BRANCHES[scale + 1]))
            x = self._stage(DECODER[scale], ops.add(x, skips[scale]))
            if scale:
                x = _unpool(self._at(scale - 1, x), winners[scale - 1])
        parts = [x, *(self._branch(start, names, winners) for start, names in branches)]
        return ops.sigmoid(self._final([ops.convert(part, ov.Type.f32) for part in parts]))

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
        y, x = _take(rows, row_cells, 0), _take(columns, column_cells, 0)
        cell_skip, cell_winner = _cut(skip, y, x, CELL), _cut(winner, y, x, CELL)

        def joined(maps: Any) -> Any:
            whole = _join(_unpool(maps, cell_winner), y, x, CELL)
            return _take(_take(whole, row_places, ROWS), column_places, COLUMNS)

        decoded = self._stage(DECODER[FINE_SCALES], ops.add(start, cell_skip))
        branch = self._layer(BRANCHES[FINE_SCALES + 1][0], start)
        return joined(decoded), joined(branch)

    def _deep(self, skip: Any) -> Any:
        """Pass windows through the two deepest scales and back."""
        x, winner = _pool(skip)
        deepest_skip = self._stage(ENCODER[-1], x)
        # The side is odd here. Zeros continue it: they never win, for their places come last.
        even = ops.pad(deepest_skip, _vector(0, 0, 0, 0), _vector(0, 0, 1, 1), "constant")
        x, deepest_winner = _pool(even)
        x = _unpool(self._layer("convmid", x), deepest_winner)
        x = ops.slice(x, _vector(0, 0), _vector(-1, -1), _vector(1, 1), _vector(ROWS, COLUMNS))
        return _unpool(self._stage(DECODER[-1], ops.add(x, deepest_skip)), winner)

    def _branch(self, x: Any, names: tuple[str, ...], winners: list[Any]) -> Any:
        for scale, name in zip(reversed(range(len(names))), names, strict=True):
            x = self._layer(name, x)
            if scale:
                x = _unpool(self._at(scale - 1, x), winners[scale - 1])
        return x

    def _at(self, scale: int, x: Any) -> Any:
        """Give maps the type that the decoder computes in at a scale."""
        return ops.convert(x, self._fine if scale < LOW_SCALES else ov.Type.f32)

    def _final(self, parts: list[Any]) -> Any:
        """Return the scores (batch, classes, y, x): a sum needs no maps of all parts together."""
        layer = self._weights["final_conv"]
        edges = np.cumsum([_shape(part)[1] for part in parts])[:-1]
        kernels = np.split(layer.kernel, edges, axis=2)
        scores = _bias(layer.bias, parts[0])
        for part, kernel in zip(parts, kernels, strict=True):
            scores = ops.add(_convolve(part, kernel), scores)
        return scores

    def _stage(self, names: Iterable[str], x: Any) -> Any:
        for name in names:
            x = self._layer(name, x)
        return x

    def _layer(self, name: str, x: Any) -> Any:
        layer = self._weights[name]
        return ops.relu(ops.add(_convolve(x, layer.kernel), _bias(layer.bias, x)))


def _convolve(x: Any, kernel: NDArray[np.float32]) -> Any:
    if x.output(0).get_element_type() == ov.Type.bf16:
        kernel = round_kernel(kernel)
    filters = _like(x, kernel.transpose(3, 2, 0, 1))
    return ops.convolution(x, filters, [1, 1], [1, 1], [1, 1], [1, 1])


def _bias(bias: NDArray[np.float32], x: Any) -> Any:
    return _like(x, bias.reshape(1, -1, 1, 1))


def _like(x: Any, values: Any) -> Any:
    """Make a constant of the type of maps."""
    return ops.constant(np.ascontiguousarray(values), dtype=x.output(0).get_element_type())


def _pool(x: Any) -> tuple[Any, Any]:
    """
    Return the maxima of 2 x 2 windows, and the rank of the place where each came from.

    Of equal values the first wins: after a ReLU ties at 0 are the rule.
    """
    batch, channels, ny, nx = _shape(x)
    highest = _maxima(x)
    windows = ops.reshape(
        _channels_last(x), _vector(batch, ny // 2, 2, nx // 2, 2, channels), special_zero=False
    )
    there = ops.greater_equal(windows, _spread(highest))
    ranks = ops.select(there, ops.constant(RANKS), ops.constant(np.float32(0)))
    return highest, _maxima(_plane(ranks))


def _unpool(x: Any, winner: Any) -> Any:
    """Put each value back to its place in its 2 x 2 window, zeros elsewhere."""
    there = ops.equal(_spread(winner), _like(winner, RANKS))
    return _plane(ops.select(there, _spread(x), _like(x, np.float32(0))))


def _maxima(x: Any) -> Any:
    none, two = [0, 0], [2, 2]
    return opset1.max_pool(x, two, none, none, two)


def _spread(x: Any) -> Any:
    """View maps as one value a window: (batch, y, 1, x, 1, channels)."""
    return ops.unsqueeze(_channels_last(x), _vector(2, 4))


def _plane(windows: Any) -> Any:
    """View windows (batch, y, 2, x, 2, channels) as maps."""
    batch, ny, _, nx, _, channels = _shape(windows)
    shape = _vector(batch, 2 * ny, 2 * nx, channels)
    return _channels_first(ops.reshape(windows, shape, special_zero=False))


def _crop(x: Any, decoded: tuple[Any, Any], finer: int) -> Any:
    """Take the pixels that are decoded out of maps so many times finer than those handed back."""
    # As a slice, whose start is known when it runs and whose length is known now.
    counts = [finer * _shape(pixels)[0] for pixels in decoded]
    firsts = [ops.convert(_take(pixels, _vector(0), 0), "i64") for pixels in decoded]
    start = ops.multiply(ops.concat(firsts, 0), ops.constant(np.int64(finer)))
    stop = ops.add(start, _vector(*counts))
    cropped = ops.slice(x, start, stop, _vector(1, 1), _vector(ROWS, COLUMNS))
    batch, channels, _, _ = _shape(x)
    return ops.reshape(cropped, _vector(batch, channels, *counts), special_zero=False)


def _cut(x: Any, rows: Any, columns: Any, side: int) -> Any:
    """Cut maps into squares: (batch, channels, y, x) -> (batch * n, channels, side, side)."""
    x = _channels_last(_take(_take(x, rows, ROWS), columns, COLUMNS))
    batch, ny, nx, channels = _shape(x)
    shape = _vector(batch, ny // side, side, nx // side, side, channels)
    x = ops.transpose(ops.reshape(x, shape, special_zero=False), _vector(0, 1, 3, 2, 4, 5))
    shape = _vector(-1, side, side, channels)
    return _channels_first(ops.reshape(x, shape, special_zero=False))


def _join(squares: Any, rows: Any, columns: Any, side: int) -> Any:
    """Lay side by side what `_cut` made of these rows and columns, at the scale that it has now."""
    n_y, n_x = _shape(rows)[0] // side, _shape(columns)[0] // side
    _, channels, height, width = _shape(squares)
    shape = _vector(-1, n_y, n_x, height, width, channels)
    x = ops.transpose(
        ops.reshape(_channels_last(squares), shape, special_zero=False), _vector(0, 1, 3, 2, 4, 5)
    )
    shape = _vector(-1, n_y * height, n_x * width, channels)
    return _channels_first(ops.reshape(x, shape, special_zero=False))


def _channels_first(x: Any) -> Any:
    return ops.transpose(x, _vector(0, 3, 1, 2))


def _channels_last(x: Any) -> Any:
    return ops.transpose(x, _vector(0, 2, 3, 1))


def _shape(x: Any) -> list[int]:
    return [*x.output(0).get_shape()]


def _take(x: Any, positions: Any, axis: int) -> Any:
    return ops.gather(x, positions, ops.constant(np.int64(axis)))


def _vector(*values: int) -> Any:
    return ops.constant(np.array(values, np.int64))
