"""How a plane is cut for the network: its shape in, tiles with the part to keep of each out.

MaxiMask 1.4.1 passes windows of 400 pixels through the network, one every 200 pixels. What a window
holds near its edge hardly changes the masks in its centre; where it starts does, for that decides
which pixels are pooled together. So both plans here have the same windows. `REFERENCE` passes them
one by one; `WIDE` joins neighbouring windows into one large tile and lets the network look at them
one by one only in its deep scales.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise, product

import numpy as np
from numpy.typing import NDArray

from model.architecture import STEP

__all__ = ["CELL", "SMALLEST_SIDE", "WINDOW", "Span", "Tile", "TilePlan", "plan_tiles"]

#: Side in pixels that the network was trained on; shorter sides are padded to it.
SMALLEST_SIDE = 400
#: Side of a window in the maps that the deep scales start from.
WINDOW = SMALLEST_SIDE // STEP
#: A window every 200 pixels, of which the central 200 are kept (MaxiMask 1.4.1).
WINDOW_STEP = 200
BORDER = 100
#: Pixels of the plane for one of the maps that the coarse scales hand back, twice as fine.
HANDED_BACK = STEP // 2
#: Pixels around what a tile keeps that the decoder needs: it reaches no further (`decoder_reach`).
MARGIN = 12
#: What a cell keeps at most, in maps that are handed back: a window's centre with both margins.
CELL_KEPT = (WINDOW_STEP + 2 * MARGIN) // HANDED_BACK
#: Pixels around it: two convolutions reach two pixels.
CELL_MARGIN = 2
#: Side of a cell; what it keeps may begin and end in the middle of a pixel.
CELL = CELL_KEPT // 2 + 1 + 2 * CELL_MARGIN
#: Pixels of a wide tile for each unit of the batch size: a tile takes about 700 bytes a pixel, and
#: larger ones than these save no arithmetic that counts. 8 units hold a plane of 1024 x 1024.
PIXELS_PER_BATCH_UNIT = 1 << 17
#: Most pixels in one wide tile.
WIDE_PIXELS = 8 * PIXELS_PER_BATCH_UNIT
#: Arithmetic of encoder and deep scales, which see the whole tile, beside that of the decoder.
ENCODER_COST = 0.2


class TilePlan(StrEnum):
    """The two ways to cut a plane."""

    WIDE = "wide"
    REFERENCE = "reference"


@dataclass(frozen=True)
class Span:
    """
    A tile along one axis.

    Parameters
    ----------
    starts : tuple of int
        First pixels of its windows, in the plane; they differ by multiples of `STEP`. The last may
        be repeated.
    kept : slice
        The part of the plane whose result comes from this tile.
    window : slice
        The part of the plane that the tile covers: its windows, at least.
    decoded : slice
        The part for which it gives probabilities: what it keeps and what that needs, at least.
    n_cells : int
        Cells that it is cut into, at least as many as it needs.
    """

    starts: tuple[int, ...]
    kept: slice
    window: slice
    decoded: slice
    n_cells: int

    @classmethod
    def around(cls, starts: tuple[int, ...], kept: slice) -> Span:
        """
        Cover some windows.

        Parameters
        ----------
        starts : tuple of int
            First pixels of the windows, in the plane.
        kept : slice
            The part of the plane whose result comes from them.

        Returns
        -------
        Span
            With nothing that is not needed.
        """
        window = slice(starts[0], starts[-1] + SMALLEST_SIDE)
        needed = _with_margins(kept, window)
        n_cells = sum(1 for _ in _cells(starts, needed))
        return cls(starts, kept, window, needed, n_cells)

    def enlarged(self, n_windows: int, length: int, n_decoded: int, n_cells: int) -> Span:
        """
        Enlarge the span to the size of others, so that one graph of the network serves all.

        Parameters
        ----------
        n_windows, length, n_decoded, n_cells : int
            Those of the others, none of them smaller than here; lengths in pixels.

        Returns
        -------
        Span
            It keeps the same.
        """
        starts = self.starts + self.starts[-1:] * (n_windows - len(self.starts))
        first = max(self.window.stop - length, 0)
        window = slice(first, first + length)
        first = min(self.decoded.start, window.stop - n_decoded)
        return Span(starts, self.kept, window, slice(first, first + n_decoded), n_cells)

    @property
    def length(self) -> int:
        """Number of pixels that the tile covers."""
        return self.window.stop - self.window.start

    @property
    def n_decoded(self) -> int:
        """Number of pixels for which the tile gives probabilities."""
        return self.decoded.stop - self.decoded.start

    @property
    def kept_here(self) -> slice:
        """The part to keep, in the pixels that the tile gives."""
        first = self.decoded.start
        return slice(self.kept.start - first, self.kept.stop - first)

    @property
    def layout(self) -> tuple[int, ...]:
        """Where windows and what is needed lie in the tile: the same for tiles that go together."""
        needed = self._needed
        edges = (*self.starts, self.decoded.start, self.decoded.stop, needed.start, needed.stop)
        return (*(edge - self.window.start for edge in edges), self.n_cells)

    def window_pixels(self) -> NDArray[np.int32]:
        """
        List the map pixels of all windows, one window after the other.

        Returns
        -------
        ndarray, shape (n_windows * WINDOW,), int32
            Pixels of the tile's maps at scale ``1 / STEP``.
        """
        return np.concatenate(
            [(start - self.window.start) // STEP + np.arange(WINDOW) for start in self.starts],
            dtype=np.int32,
        )

    def cell_pixels(self) -> NDArray[np.int32]:
        """
        List the pixels of all cells, one cell after the other.

        Returns
        -------
        ndarray, shape (n_cells * CELL,), int32
            Positions in `window_pixels`.
        """
        cells = _cells(self.starts, self._needed)
        firsts = [_cell_start(kept.start) + window * WINDOW for window, kept in cells]
        firsts += firsts[-1:] * (self.n_cells - len(firsts))
        return np.concatenate([first + np.arange(CELL) for first in firsts], dtype=np.int32)

    def places(self) -> NDArray[np.int32]:
        """
        Tell for each pixel of the maps that are handed back which cell's result it takes.

        Returns
        -------
        ndarray, shape (n_decoded // HANDED_BACK,), int32
            Positions in `cell_pixels` at twice their scale; those beside what is needed mean
            nothing.
        """
        needed = self._needed
        places = [
            2 * (number * CELL - _cell_start(kept.start)) + np.arange(kept.start, kept.stop)
            for number, (_, kept) in enumerate(_cells(self.starts, needed))
        ]
        beside = needed.start - self.decoded.start, self.decoded.stop - needed.stop
        return np.pad(
            np.concatenate(places, dtype=np.int32),
            [n_pixels // HANDED_BACK for n_pixels in beside],
            mode="edge",
        )

    def decoded_pixels(self) -> NDArray[np.int32]:
        """
        List the pixels that are decoded, in the tile's maps of the scale that is handed back.

        Returns
        -------
        ndarray, shape (n_decoded // HANDED_BACK,), int32
            One after the other.
        """
        first, stop = (
            (edge - self.window.start) // HANDED_BACK
            for edge in (self.decoded.start, self.decoded.stop)
        )
        return np.arange(first, stop, dtype=np.int32)

    @property
    def _needed(self) -> slice:
        windows = slice(self.starts[0], self.starts[-1] + SMALLEST_SIDE)
        return _with_margins(self.kept, windows)


#: The tiles along one axis: those on the grid, and the one that ends with the plane.
_Cut = tuple[list[Span], list[Span]]


@dataclass(frozen=True)
class Tile:
    """
    A part of the plane that passes through the network at once.

    Parameters
    ----------
    rows, columns : Span
        Where it lies; later tiles overwrite what earlier ones kept.
    """

    rows: Span
    columns: Span

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width, in pixels."""
        return self.rows.length, self.columns.length

    @property
    def layout(self) -> tuple[tuple[int, ...], ...]:
        """Those of rows and columns: tiles of one layout can pass in one batch."""
        return self.rows.layout, self.columns.layout


def plan_tiles(
    shape: tuple[int, int], plan: TilePlan, *, most_pixels: int = WIDE_PIXELS
) -> tuple[Tile, ...]:
    """
    Cut a plane into tiles.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the plane, both at least `SMALLEST_SIDE`.
    plan : TilePlan
        Wide or reference.
    most_pixels : int, optional
        Most pixels in a wide tile; one window is passed on even where it has more.

    Returns
    -------
    tuple of Tile
        In the order in which their results are to be written: grid first, then the last row, the
        last column and the corner, which end with the plane; those of one size together.

    Notes
    -----
    The margin of 100 pixels around what a tile keeps is more than the fine scales see
    (`model.architecture.fine_reach`); the deep scales see their window alone.

    Examples
    --------
    >>> [tile.shape for tile in plan_tiles((1024, 1024), TilePlan.WIDE)]
    [(1024, 1024)]
    >>> len(plan_tiles((1024, 1024), TilePlan.REFERENCE))
    25
    """
    sides = [_windows(side) for side in shape]
    if plan is TilePlan.WIDE:
        sides = _join_windows(sides, max(most_pixels, SMALLEST_SIDE**2))
    (rows, last_row), (columns, last_column) = sides
    return tuple(
        Tile(y, x)
        for ys, xs in product((rows, last_row), (columns, last_column))
        for y, x in sorted(product(ys, xs), key=_size)
    )


def _with_margins(kept: slice, windows: slice) -> slice:
    """Return what is decoded so that what is kept comes out right."""
    return slice(max(kept.start - MARGIN, windows.start), min(kept.stop + MARGIN, windows.stop))


def _cells(starts: tuple[int, ...], needed: slice) -> Iterator[tuple[int, slice]]:
    """Return each cell's window, and which pixels of that it gives, in maps handed back."""
    edges = [start + BORDER for start in starts[1:]]
    for window, (start, stop) in enumerate(pairwise([needed.start, *edges, needed.stop])):
        first, last = ((edge - starts[window]) // HANDED_BACK for edge in (start, stop))
        for cell in range(first, last, CELL_KEPT):
            yield window, slice(cell, min(cell + CELL_KEPT, last))


def _cell_start(first_kept: int) -> int:
    """Place a cell in its window: around what it keeps, but not beyond the window's edges."""
    return min(max(first_kept // 2 - CELL_MARGIN, 0), WINDOW - CELL)


def _windows(side: int) -> _Cut:
    """Return the windows on the grid, and the one at the plane's end where none of them ends."""
    grid = range(0, side - SMALLEST_SIDE + 1, WINDOW_STEP)
    last = [side - SMALLEST_SIDE] if side % WINDOW_STEP else []
    return [_one_window(start, side) for start in grid], [
        _one_window(start, side) for start in last
    ]


def _one_window(start: int, side: int) -> Span:
    stop = start + SMALLEST_SIDE
    kept = slice(start + BORDER if start else 0, stop - BORDER if stop < side else side)
    return Span.around((start,), kept)


def _join_windows(sides: list[_Cut], most_pixels: int) -> list[_Cut]:
    """Join windows into the tiles that cost least."""
    row_cuts, column_cuts = (_ways_to_join(grid, last) for grid, last in sides)
    cuts = [cut for cut in product(row_cuts, column_cuts) if _largest(cut) <= most_pixels]
    return [*min(cuts, key=_cost)]


def _ways_to_join(grid: list[Span], last: list[Span]) -> list[_Cut]:
    """Return the best ways to join the windows along one axis, one for each length of tiles."""
    together = [*grid]
    # The last window can share a tile only if its map pixels are those of the grid's windows.
    if last and last[0].starts[0] % STEP == 0:
        together, last = [*grid, *last], []
    best: dict[int, _Cut] = {}
    for edges in _partitions(len(together)):
        joined = [_joined(together[first:stop]) for first, stop in pairwise(edges)]
        # A tile between others needs less of the decoder than the first and the last.
        joined[1:-1] = _alike(joined[1:-1])
        joined[:: max(len(joined) - 1, 1)] = _alike(joined[:: max(len(joined) - 1, 1)])
        cut = joined, last
        length = max(span.length for span in joined)
        if length not in best or _cost([cut]) < _cost([best[length]]):
            best[length] = cut
    return list(best.values())


def _partitions(n_windows: int) -> Iterator[list[int]]:
    """Part windows into tiles: all tiles between the first and the last have equally many."""
    yield [0, n_windows]
    for n_between in range(n_windows - 1):
        for n_each in range(1, (n_windows - 2) // n_between + 1) if n_between else (0,):
            # The last two windows overlap most where the second ends with the plane.
            first = (n_windows - n_between * n_each) // 2
            yield [0, *range(first, first + n_between * n_each + 1, n_each or n_windows), n_windows]


def _joined(spans: Sequence[Span]) -> Span:
    starts = tuple(start for span in spans for start in span.starts)
    return Span.around(starts, slice(spans[0].kept.start, spans[-1].kept.stop))


def _alike(spans: list[Span]) -> list[Span]:
    """Give all spans one size: to begin another graph costs more than to compute some more."""
    sizes = [(len(span.starts), span.length, span.n_decoded, span.n_cells) for span in spans]
    size = [max(of_spans) for of_spans in zip(*sizes, strict=True)]
    return [span.enlarged(*size) for span in spans]


def _size(spans: tuple[Span, Span]) -> list[tuple[int, ...]]:
    """Return what the graph of the network depends on: tiles of one size come one after another."""
    return [(span.length, span.n_decoded, len(span.starts), span.n_cells) for span in spans]


def _largest(cut: Sequence[_Cut]) -> int:
    rows, columns = (max(span.length for spans in side for span in spans) for side in cut)
    return rows * columns


def _cost(cut: Sequence[_Cut]) -> float:
    """Estimate the arithmetic of all tiles, in that of a decoded pixel."""
    seen, decoded = 1, 1
    for side in cut:
        spans = [span for part in side for span in part]
        seen *= sum(span.length for span in spans)
        decoded *= sum(span.n_decoded for span in spans)
    return ENCODER_COST * seen + decoded
