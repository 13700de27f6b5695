"""The convolutional network in OpenVINO's operations: layers in, a graph for any shape out.

The same arithmetic as `model.network`, laid out as OpenVINO's CPU plugin fuses it best: channels
before rows, and a pooling that remembers its winners as a mask of the full scale, so that unpooling
is a repetition and a product.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import numpy as np
import openvino as ov
from openvino import opset13 as ops

from model.architecture import BRANCHES, DECODER, ENCODER, FINE_SCALES
from model.tiles import CELL, WINDOW
from model.weights import LayerWeights, Weights

__all__ = ["make_model"]

#: Ranks of the four places of a 2 x 2 window: of equal values, the place of the highest rank wins.
RANKS = (4, 3, 2, 1)
#: Axes of rows and columns in maps (batch, channels, y, x).
ROWS, COLUMNS = 2, 3


def make_model(weights: Weights) -> ov.Model:
    """
    Build the network for tiles of any shape.

    Parameters
    ----------
    weights : Weights
        Kernel and bias of every layer, as many filters as they hold.

    Returns
    -------
    openvino.Model
        Inputs: the planes, shape (batch, ny, nx), float32; then for the rows, and again for the
        columns, four vectors, int32: `Span.window_pixels`, `Span.cell_pixels`, `Span.places` and
        `Span.decoded_pixels`. Output: raw probabilities of `Span.decoded`, shape (batch,
        n_classes, n_decoded_y, n_decoded_x), float32.

    References
    ----------
    Paillassa, Bertin & Bouy 2020, A&A 634, A48, section 4.
    """
    planes = ops.parameter([-1, -1, -1], np.float32, name="planes")
    layout = [ops.parameter([-1], np.int32) for _ in range(8)]
    output = _Network(weights).probabilities(planes, layout)
    return ov.Model([output], [planes, *layout], "maximask")


class _Network:
    """The layers as operations."""

    def __init__(self, weights: Weights) -> None:
        self._weights = weights

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
        x, longest = self._coarse(x, winners[-1], rows[:3], columns[:3])
        # From here on, only what the tile gives: the encoder's margin is wide.
        decoded = rows[3], columns[3]
        skips, winners = (
            [_crop(x, decoded, 1 << (FINE_SCALES - 1 - scale)) for scale, x in enumerate(maps)]
            for maps in (skips, winners)
        )
        # What a decoder stage starts from also starts the side branch of that stage.
        branches = [(longest, BRANCHES[FINE_SCALES + 1][1:])]
        for scale in reversed(range(FINE_SCALES)):
            branches.append((x, BRANCHES[scale + 1]))
            x = self._stage(DECODER[scale], ops.add(x, skips[scale]))
            if scale:
                x = _unpool(x, winners[scale - 1])
        parts = [x, *(self._branch(start, names, winners) for start, names in branches)]
        return ops.sigmoid(self._convolve("final_conv", ops.concat(parts, 1)))

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
        cell_skip = _cut(skip, y, x, CELL)
        finer_y, finer_x = _doubled(y), _doubled(x)
        cell_winner = _cut(winner, finer_y, finer_x, 2 * CELL)

        def joined(maps: Any) -> Any:
            whole = _join(_unpool(maps, cell_winner), finer_y, finer_x, 2 * CELL)
            return _take(_take(whole, row_places, ROWS), column_places, COLUMNS)

        decoded = self._stage(DECODER[FINE_SCALES], ops.add(start, cell_skip))
        branch = self._layer(BRANCHES[FINE_SCALES + 1][0], start)
        return joined(decoded), joined(branch)

    def _deep(self, skip: Any) -> Any:
        """Pass windows through the two deepest scales and back."""
        x, winner = _pool(skip)
        deepest_skip = self._stage(ENCODER[-1], x)
        x, deepest_winner = _pool(deepest_skip)
        x = _unpool(self._layer("convmid", x), deepest_winner)
        return _unpool(self._stage(DECODER[-1], ops.add(x, deepest_skip)), winner)

    def _branch(self, x: Any, names: tuple[str, ...], winners: list[Any]) -> Any:
        for scale, name in zip(reversed(range(len(names))), names, strict=True):
            x = self._layer(name, x)
            if scale:
                x = _unpool(x, winners[scale - 1])
        return x

    def _stage(self, names: Iterable[str], x: Any) -> Any:
        for name in names:
            x = self._layer(name, x)
        return x

    def _layer(self, name: str, x: Any) -> Any:
        return ops.relu(self._convolve(name, x))

    def _convolve(self, name: str, x: Any) -> Any:
        layer: LayerWeights = self._weights[name]
        kernel = np.ascontiguousarray(layer.kernel.transpose(3, 2, 0, 1))
        one = [1, 1]
        maps = ops.convolution(x, ops.constant(kernel), one, one, one, one)
        return ops.add(maps, ops.constant(layer.bias.reshape(1, -1, 1, 1)))


def _pool(x: Any) -> tuple[Any, Any]:
    """
    Return the maxima of 2 x 2 windows, and 1 where each came from, 0 elsewhere.

    Of equal values the first wins: after a ReLU ties at 0 are the rule. A window of an odd side
    ends with the plane.
    """
    highest = _maxima(x)
    rank = ops.select(ops.greater_equal(x, _repeat(highest, x)), _ranks(x), _number(0))
    winner = ops.equal(rank, _repeat(_maxima(rank), x))
    return highest, ops.select(winner, _number(1), _number(0))


def _unpool(x: Any, winner: Any) -> Any:
    """Put each value back to its place in its 2 x 2 window, zeros elsewhere."""
    return ops.multiply(_repeat(x, winner), winner)


def _maxima(x: Any) -> Any:
    pooled = ops.max_pool(x, [2, 2], [1, 1], [0, 0], [0, 0], [2, 2], rounding_type="ceil")
    return pooled.output(0)


def _repeat(x: Any, like: Any) -> Any:
    """Repeat each pixel in a 2 x 2 window, as far as another map goes."""
    return ops.interpolate(
        x,
        _sides(like),
        "nearest",
        "sizes",
        coordinate_transformation_mode="asymmetric",
        nearest_mode="floor",
        axes=_vector(ROWS, COLUMNS),
    )


def _ranks(x: Any) -> Any:
    """Return the rank of each pixel in its window, shape (1, 1, y, x)."""
    along_y, along_x = (
        ops.mod(_counted(_take(_sides(x), _vector(axis), 0)), _number(2)) for axis in (0, 1)
    )
    rows = ops.multiply(ops.unsqueeze(along_y, _vector(0, 1, 3)), _number(RANKS[0] - RANKS[2]))
    columns = ops.multiply(ops.unsqueeze(along_x, _vector(0, 1, 2)), _number(RANKS[0] - RANKS[1]))
    return ops.subtract(ops.subtract(_number(RANKS[0]), rows), columns)


def _counted(side: Any) -> Any:
    """Count the pixels of a side, from 0."""
    count = ops.range(_index(0), ops.squeeze(side, _index(0)), _index(1), "i64")
    return ops.convert(count, "f32")


def _crop(x: Any, decoded: tuple[Any, Any], finer: int) -> Any:
    """Take the pixels that are decoded out of maps so many times finer than those handed back."""
    firsts = [_take(pixels, _vector(0), 0) for pixels in decoded]
    counts = [ops.shape_of(pixels) for pixels in decoded]
    first = ops.convert(ops.concat(firsts, 0), "i64")
    stop = ops.add(first, ops.concat(counts, 0))
    starts, stops = (ops.multiply(edge, _vector(finer)) for edge in (first, stop))
    return ops.slice(x, starts, stops, _vector(1, 1), _vector(ROWS, COLUMNS))


def _cut(x: Any, rows: Any, columns: Any, side: int) -> Any:
    """Cut maps into squares: (batch, channels, y, x) -> (batch * n, channels, side, side)."""
    x = _take(_take(x, rows, ROWS), columns, COLUMNS)
    grid = _grid(rows, side), _grid(columns, side)
    channels = _channels(x)
    shape = [_batch(x), _vector(channels), grid[0], _vector(side), grid[1], _vector(side)]
    x = ops.reshape(x, ops.concat(shape, 0), special_zero=False)
    x = ops.transpose(x, _vector(0, 2, 4, 1, 3, 5))
    return ops.reshape(x, _vector(-1, channels, side, side), special_zero=False)


def _join(squares: Any, rows: Any, columns: Any, side: int) -> Any:
    """Lay side by side what `_cut` made of these rows and columns."""
    grid = _grid(rows, side), _grid(columns, side)
    channels = _channels(squares)
    shape = [_vector(-1), *grid, _vector(channels, side, side)]
    x = ops.reshape(squares, ops.concat(shape, 0), special_zero=False)
    x = ops.transpose(x, _vector(0, 3, 1, 4, 2, 5))
    sides = [ops.multiply(number, _vector(side)) for number in grid]
    shape = [_vector(-1, channels), *sides]
    return ops.reshape(x, ops.concat(shape, 0), special_zero=False)


def _doubled(pixels: Any) -> Any:
    """Return the pixels of twice the scale that these consist of."""
    pairs = ops.add(
        ops.multiply(ops.unsqueeze(pixels, _index(1)), ops.constant(np.int32(2))),
        ops.constant(np.array([0, 1], np.int32)),
    )
    return ops.reshape(pairs, _vector(-1), special_zero=False)


def _grid(pixels: Any, side: int) -> Any:
    return ops.divide(ops.shape_of(pixels), _vector(side))


def _sides(x: Any) -> Any:
    return _take(ops.shape_of(x), _vector(ROWS, COLUMNS), 0)


def _batch(x: Any) -> Any:
    return _take(ops.shape_of(x), _vector(0), 0)


def _channels(x: Any) -> int:
    return int(x.output(0).get_partial_shape()[1].get_length())


def _take(x: Any, positions: Any, axis: int) -> Any:
    return ops.gather(x, positions, _index(axis))


def _vector(*values: int) -> Any:
    return ops.constant(np.array(values, np.int64))


def _index(value: int) -> Any:
    return ops.constant(np.int64(value))


def _number(value: float) -> Any:
    return ops.constant(np.float32(value))
