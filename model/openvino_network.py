"""The convolutional network in OpenVINO's operations: layers and shapes in, a graph out.

The same arithmetic as `model.network`, as OpenVINO's CPU plugin runs it best: all shapes known, and
a pooling that remembers its winners at the pooled scale, so that unpooling is one pass over the
finer maps. The plugin keeps maps in memory as (batch, y, x, channels), and so they are written
here. A convolution sees them as (batch, channels, y, x); the transpositions before and after it
move nothing as long as each has one reader. All else sees them as 2 x 2 windows or as rows: maps
of four dimensions the plugin would first bring into another order in memory.

Only the decoder's two finest scales, where most of the arithmetic is, can compute in bfloat16. The
encoder's maxima need float32: with the 8 bits of bfloat16 many values of a window are equal, and
the place of its maximum is lost.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

import ml_dtypes
import numpy as np
import openvino as ov
from numpy.typing import NDArray
from openvino import opset13 as ops

from model.architecture import BRANCHES, DECODER, ENCODER, FINE_SCALES, LAYERS, LOW_SCALES
from model.bfloat16 import round_kernel
from model.engine import Precision
from model.prune import live_filters
from model.tiles import CELL, WINDOW
from model.weights import Weights

__all__ = ["make_model"]

#: Numbers of the four places of a 2 x 2 window.
PLACES = np.array([[0, 1], [2, 3]], np.float32).reshape(1, 1, 2, 1, 2, 1)
#: The layers that each reads.
SOURCES = {layer.name: layer.sources for layer in LAYERS}
#: The layers whose maps meet at full scale. There nearly all filters are live: all are kept.
FULL = {layer.name for layer in LAYERS if not layer.scale} | {
    source for layer in LAYERS if not layer.scale for source in layer.sources
}
#: The types of maps.
ELEMENTS = {Precision.FLOAT32: ov.Type.f32, Precision.BFLOAT16: ov.Type.bf16}
#: Axes of rows and columns in maps, and in windows.
ROWS, COLUMNS = 1, 2
WINDOW_ROWS, WINDOW_COLUMNS = 1, 3


def make_model(
    weights: Weights,
    shapes: Sequence[tuple[int, ...]],
    precision: Precision = Precision.FLOAT32,
    thresholds: NDArray[np.float32] | None = None,
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
    thresholds : ndarray, shape (n_classes,), float32, optional
        Scores about which bfloat16 should be most precise.

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
    network = _Network(weights, ELEMENTS[precision], thresholds)
    output = network.probabilities(planes, layout)
    return ov.Model([output], [planes, *layout], "maximask")


class _Network:
    """
    The layers as operations.

    Maps are (batch, y, x, channels); windows are the same seen as (batch, y, 2, x, 2, channels).
    Maps have only the channels of their layer's live filters, so that those of an encoder stage and
    of what is unpooled by its winners differ.
    """

    def __init__(
        self, weights: Weights, fine: ov.Type, thresholds: NDArray[np.float32] | None
    ) -> None:
        self._weights = weights
        self._fine = fine
        none = np.zeros_like(weights["final_conv"].bias)
        self._thresholds = none if thresholds is None or fine == ov.Type.f32 else thresholds
        self._live = {
            name: np.arange(layer.bias.size)
            if name in FULL
            else np.flatnonzero(live_filters(layer))
            for name, layer in weights.items()
        }

    def probabilities(self, planes: Any, layout: list[Any]) -> Any:
        x = ops.unsqueeze(ops.asinh(planes), _vector(3))
        skips, winners = [], []
        for names in ENCODER[:FINE_SCALES]:
            skips.append(_windows(self._stage(names, x)))
            x, winner = _pool(skips[-1])
            winners.append(winner)
        x = self._stage(ENCODER[FINE_SCALES], x)
        rows, columns = layout[:4], layout[4:]
        x, longest = self._coarse(x, winners.pop(), rows[:3], columns[:3])
        # From here on, only what the tile gives: the encoder's margin is wide.
        decoded = rows[3], columns[3]
        skip = _crop(_map(skips.pop()), decoded, 1)
        skips, winners = (
            [
                self._at(scale, _crop(maps, decoded, 1 << FINE_SCALES - 2 - scale))
                for scale, maps in enumerate(of_scales)
            ]
            for of_scales in (skips, winners)
        )
        # What a decoder stage starts from also starts the side branch of that stage.
        branches = [(longest, BRANCHES[FINE_SCALES + 1][1:]), (x, BRANCHES[FINE_SCALES])]
        x = self._stage(DECODER[FINE_SCALES - 1], x, skip)
        for scale in reversed(range(FINE_SCALES - 1)):
            start = self._unpool(x, winners, scale, DECODER[scale + 1][-1])
            branches.append((_map(start), BRANCHES[scale + 1]))
            x = self._stage(DECODER[scale], start, skips[scale])
        parts = [x, *(self._branch(start, names, winners) for start, names in branches)]
        return ops.sigmoid(self._final(parts))

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

        def joined(maps: Any, name: str) -> Any:
            here = self._winner(cell_winner, FINE_SCALES - 1, name)
            whole = _join(_map(_unpool(maps, here)), y, x, CELL)
            return _take(_take(whole, row_places, ROWS), column_places, COLUMNS)

        main, branch = DECODER[FINE_SCALES], BRANCHES[FINE_SCALES + 1][0]
        decoded = self._stage(main, start, cell_skip)
        return joined(decoded, main[-1]), joined(self._layer(branch, start), branch)

    def _deep(self, skip: Any) -> Any:
        """Pass windows through the two deepest scales and back."""
        x, winner = _pool(_windows(skip))
        deepest_skip = self._stage(ENCODER[-1], x)
        # The side is odd here. Zeros continue it: they never win, for their places come last.
        even = ops.pad(deepest_skip, _vector(0, 0, 0, 0), _vector(0, 1, 1, 0), "constant")
        x, deepest_winner = _pool(_windows(even))
        x = self._layer("convmid", x)
        x = _map(_unpool(x, self._winner(deepest_winner, FINE_SCALES + 1, "convmid")))
        x = ops.slice(x, _vector(0, 0), _vector(-1, -1), _vector(1, 1), _vector(ROWS, COLUMNS))
        x = self._stage(DECODER[-1], x, deepest_skip)
        return _map(_unpool(x, self._winner(winner, FINE_SCALES, DECODER[-1][-1])))

    def _branch(self, x: Any, names: tuple[str, ...], winners: list[Any]) -> Any:
        for scale, name in zip(reversed(range(len(names))), names, strict=True):
            x = self._layer(name, x)
            if scale:
                x = _map(self._unpool(x, winners, scale - 1, name))
        return x

    def _unpool(self, x: Any, winners: list[Any], scale: int, name: str) -> Any:
        """Bring the maps of a layer to a finer scale; return windows."""
        return _unpool(self._at(scale, x), self._winner(winners[scale], scale, name))

    def _winner(self, winner: Any, scale: int, name: str) -> Any:
        """Give the winners of an encoder stage the channels of the layer that is unpooled."""
        pooled, wanted = self._live[ENCODER[scale][-1]], self._live[name]
        if np.array_equal(pooled, wanted):
            return winner
        # Of a dead filter all values are equal, so that the first place has won.
        positions = np.minimum(np.searchsorted(pooled, wanted), len(pooled) - 1)
        is_live = _constant(pooled[positions] == wanted, _type(winner))
        chosen = _take(winner, _vector(*positions), len(_shape(winner)) - 1)
        return _seen_as(_shape(chosen), ops.multiply(_rows(chosen), is_live))

    def _at(self, scale: int, x: Any) -> Any:
        """Give maps or windows the type that the decoder computes in at a scale."""
        fine = self._fine if scale < LOW_SCALES else ov.Type.f32
        return _seen_as(_shape(x), ops.convert(_rows(x), fine))

    def _final(self, parts: list[Any]) -> Any:
        """Return the scores (batch, classes, y, x)."""
        layer = self._weights["final_conv"]
        x = _channels_first(_beside(*parts))
        # The convolution gives the distance from the thresholds: there few bits say most.
        distance = layer.bias - self._thresholds
        if self._fine == ov.Type.bf16:
            distance = distance.astype(ml_dtypes.bfloat16).astype(np.float32)
        scores = ops.add(_convolve(x, layer.kernel), _bias(distance, _type(x)))
        return ops.add(ops.convert(scores, ov.Type.f32), _bias(layer.bias - distance, ov.Type.f32))

    def _stage(self, names: Iterable[str], *sources: Any) -> Any:
        for name in names:
            sources = (self._layer(name, *sources),)
        return sources[0]

    def _layer(self, name: str, *sources: Any) -> Any:
        """Convolve the sum of maps or windows."""
        layer, live = self._weights[name], self._live[name]
        channels = [self._live[source] for source in SOURCES[name]] or [np.arange(1)]
        if len(sources) > 1 and np.array_equal(channels[0], channels[1]):
            sources, channels = (_add(*sources),), channels[:1]
        # Where their channels differ, all stand beside each other: that is the same sum.
        x = _beside(*(_map(source) for source in sources))
        kernel = layer.kernel[:, :, np.concatenate(channels)][..., live]
        maps = ops.add(_convolve(_channels_first(x), kernel), _bias(layer.bias[live], _type(x)))
        return ops.transpose(ops.relu(maps), _vector(0, 2, 3, 1))


def _convolve(x: Any, kernel: NDArray[np.float32]) -> Any:
    """Convolve what is (batch, channels, y, x)."""
    if _type(x) == ov.Type.bf16:
        kernel = round_kernel(kernel)
    filters = _constant(kernel.transpose(3, 2, 0, 1), _type(x))
    return ops.convolution(x, filters, [1, 1], [1, 1], [1, 1], [1, 1])


def _bias(bias: NDArray[np.float32], of_type: ov.Type) -> Any:
    return _constant(bias.reshape(1, -1, 1, 1), of_type)


def _pool(windows: Any) -> tuple[Any, Any]:
    """
    Return the maps of the maxima, and those of the places that they came from.

    Of equal values the first wins: after a ReLU ties at 0 are the rule.
    """
    upper, lower = _halves(windows, WINDOW_ROWS + 1)
    corners = [*_halves(upper, WINDOW_COLUMNS + 1), *_halves(lower, WINDOW_COLUMNS + 1)]
    a, b, c, d = ((x, _constant(place)) for x, place in zip(corners, PLACES.flat, strict=True))
    highest, place = _larger(_larger(a, b), _larger(c, d))
    batch, ny, _, nx, _, channels = _shape(windows)
    shape = [batch, ny, nx, channels]
    return _seen_as(shape, highest), _seen_as(shape, place)


def _larger(first: tuple[Any, Any], second: tuple[Any, Any]) -> tuple[Any, Any]:
    """Return the larger of two values with its place, the first where they are equal."""
    (x, place_x), (y, place_y) = first, second
    return ops.maximum(x, y), ops.select(ops.greater_equal(x, y), place_x, place_y)


def _unpool(x: Any, winner: Any) -> Any:
    """Put each value of maps back to its place in its window, zeros elsewhere; return windows."""
    values, places = (ops.unsqueeze(maps, _vector(2, 4)) for maps in (x, winner))
    there = ops.equal(places, _constant(PLACES, _type(x)))
    return ops.select(there, values, _constant(0.0, _type(x)))


def _halves(windows: Any, axis: int) -> list[Any]:
    return ops.split(windows, ops.constant(np.int64(axis)), 2).outputs()


def _windows(maps: Any) -> Any:
    batch, ny, nx, channels = _shape(maps)
    return _seen_as([batch, ny // 2, 2, nx // 2, 2, channels], maps)


def _map(x: Any) -> Any:
    """See windows as maps; maps are left as they are."""
    if _are_maps(x):
        return x
    batch, ny, _, nx, _, channels = _shape(x)
    return _seen_as([batch, 2 * ny, 2 * nx, channels], x)


def _are_maps(x: Any) -> bool:
    return len(_shape(x)) == 4  # noqa: PLR2004 (batch, y, x, channels)


def _rows(x: Any) -> Any:
    """See maps as (y, x, channels); windows are left as they are."""
    return _seen_as([-1, *_shape(x)[2:]], x) if _are_maps(x) else x


def _seen_as(shape: list[int], x: Any) -> Any:
    return ops.reshape(x, _vector(*shape), special_zero=False)


def _add(x: Any, y: Any) -> Any:
    return _seen_as(_shape(x), ops.add(_rows(x), _rows(y)))


def _beside(*maps: Any) -> Any:
    """Return maps with the channels of all, one after the other."""
    if len(maps) == 1:
        return maps[0]
    batch, ny, nx, _ = _shape(maps[0])
    return _seen_as([batch, ny, nx, -1], ops.concat([_rows(x) for x in maps], 2))


def _crop(x: Any, decoded: tuple[Any, Any], finer: int) -> Any:
    """Take what is decoded out of maps or windows so many times finer than those handed back."""
    shape = _shape(x)
    rows, columns = axes = (ROWS, COLUMNS) if _are_maps(x) else (WINDOW_ROWS, WINDOW_COLUMNS)
    counts = [finer * _shape(pixels)[0] for pixels in decoded]
    if counts == [shape[rows], shape[columns]]:
        return x
    # As a slice, whose start is known when it runs and whose length is known now.
    firsts = [ops.convert(_take(pixels, _vector(0), 0), "i64") for pixels in decoded]
    start = ops.multiply(ops.concat(firsts, 0), ops.constant(np.int64(finer)))
    stop = ops.add(start, _vector(*counts))
    cropped = ops.slice(x, start, stop, _vector(1, 1), _vector(*axes))
    shape[rows], shape[columns] = counts
    return _seen_as(shape, cropped)


def _cut(x: Any, rows: Any, columns: Any, side: int) -> Any:
    """Cut maps into squares: (batch, y, x, channels) -> (batch * n, side, side, channels)."""
    x = _take(_take(x, rows, ROWS), columns, COLUMNS)
    batch, ny, nx, channels = _shape(x)
    x = _seen_as([batch, ny // side, side, nx // side, side, channels], x)
    return _seen_as([-1, side, side, channels], ops.transpose(x, _vector(0, 1, 3, 2, 4, 5)))


def _join(squares: Any, rows: Any, columns: Any, side: int) -> Any:
    """Lay side by side what `_cut` made of these rows and columns, at the scale that it has now."""
    n_y, n_x = _shape(rows)[0] // side, _shape(columns)[0] // side
    _, height, width, channels = _shape(squares)
    x = _seen_as([-1, n_y, n_x, height, width, channels], squares)
    x = ops.transpose(x, _vector(0, 1, 3, 2, 4, 5))
    return _seen_as([-1, n_y * height, n_x * width, channels], x)


def _channels_first(x: Any) -> Any:
    return ops.transpose(x, _vector(0, 3, 1, 2))


def _shape(x: Any) -> list[int]:
    output = x if isinstance(x, ov.Output) else x.output(0)
    return [*output.get_shape()]


def _type(x: Any) -> ov.Type:
    return x.output(0).get_element_type()


def _take(x: Any, positions: Any, axis: int) -> Any:
    return ops.gather(x, positions, ops.constant(np.int64(axis)))


def _constant(values: Any, of_type: ov.Type = ov.Type.f32) -> Any:
    return ops.constant(np.ascontiguousarray(values, np.float32), dtype=of_type)


def _vector(*values: int) -> Any:
    return ops.constant(np.array(values, np.int64))
