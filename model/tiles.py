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
#: What a cell keeps, in maps of twice the scale.
CELL_KEPT = 2 * WINDOW_STEP // STEP
#: Pixels around it: two convolutions reach two pixels.
CELL_MARGIN = 2
#: Side of a cell; what it keeps may begin and end in the middle of a pixel.
CELL = CELL_KEPT // 2 + 1 + 2 * CELL_MARGIN
#: Pixels of a wide tile for each unit of the batch size, which is at least 1: more than one window.
PIXELS_PER_BATCH_UNIT = 250_000
#: Most pixels in one wide tile: 3 to 4 GB of memory on the CPU, which a small laptop has.
WIDE_PIXELS = 8 * PIXELS_PER_BATCH_UNIT


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
        First pixels of its windows, in the plane; they differ by multiples of `STEP`.
    kept : slice
        The part of the plane whose result comes from this tile.
    """

    starts: tuple[int, ...]
    kept: slice

    @property
    def window(self) -> slice:
        """The pixels of the plane that the tile covers."""
        return slice(self.starts[0], self.starts[-1] + SMALLEST_SIDE)

    @property
    def length(self) -> int:
        """Number of pixels that the tile covers."""
        return self.window.stop - self.window.start

    @property
    def kept_here(self) -> slice:
        """The part to keep, in the tile's own pixels."""
        return slice(self.kept.start - self.starts[0], self.kept.stop - self.starts[0])

    @property
    def offsets(self) -> tuple[int, ...]:
        """First pixels of the windows in the tile's maps at scale ``1 / STEP``."""
        return tuple((start - self.starts[0]) // STEP for start in self.starts)

    def window_pixels(self) -> NDArray[np.int32]:
        """
        List the map pixels of all windows, one window after the other.

        Returns
        -------
        ndarray, shape (n_windows * WINDOW,), int32
            Pixels of the tile's maps at scale ``1 / STEP``.
        """
        return np.concatenate(
            [offset + np.arange(WINDOW) for offset in self.offsets], dtype=np.int32
        )

    def cell_pixels(self) -> NDArray[np.int32]:
        """
        List the pixels of all cells, one cell after the other.

        Returns
        -------
        ndarray, shape (n_cells * CELL,), int32
            Positions in `window_pixels`.
        """
        firsts = [_cell_start(kept.start) + window * WINDOW for window, kept in self._cells()]
        return np.concatenate([first + np.arange(CELL) for first in firsts], dtype=np.int32)

    def places(self) -> NDArray[np.int32]:
        """
        Tell for each map pixel which cell's result it takes.

        Returns
        -------
        ndarray, shape (2 * length // STEP,), int32
            Positions in `cell_pixels` at twice their scale, for maps at scale ``2 / STEP``.
        """
        places = [
            2 * (number * CELL - _cell_start(kept.start)) + np.arange(kept.start, kept.stop)
            for number, (_, kept) in enumerate(self._cells())
        ]
        return np.concatenate(places, dtype=np.int32)

    def _cells(self) -> Iterator[tuple[int, slice]]:
        """Return each cell's window, and which pixels of that at ``2 / STEP`` it gives."""
        scale = STEP // 2
        next_starts = [start - self.starts[0] + BORDER for start in self.starts[1:]]
        stops = [stop // scale for stop in (*next_starts, self.length)]
        for window, (start, stop) in enumerate(pairwise([0, *stops])):
            offset = (self.starts[window] - self.starts[0]) // scale
            for first in range(start, stop, CELL_KEPT):
                yield window, slice(first - offset, min(first + CELL_KEPT, stop) - offset)


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
    def layout(self) -> tuple[tuple[int, ...], tuple[int, ...]]:
        """Where its windows lie: tiles of one layout can pass in one batch."""
        return self.rows.offsets, self.columns.offsets


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
        Most pixels in a wide tile; at least those of one window.

    Returns
    -------
    tuple of Tile
        In the order in which their results are to be written: grid first, then the last row, the
        last column and the corner, which end with the plane.

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
        sides = _join_windows(sides, most_pixels)
    (rows, last_row), (columns, last_column) = sides
    return tuple(
        Tile(y, x)
        for ys, xs in product((rows, last_row), (columns, last_column))
        for y, x in product(ys, xs)
    )


def _cell_start(first_kept: int) -> int:
    """Place a cell in its window: around what it keeps, but not beyond the window's edges."""
    return min(max(first_kept // 2 - CELL_MARGIN, 0), WINDOW - CELL)


def _windows(side: int) -> _Cut:
    """Return the windows on the grid, and the one at the plane's end where none of them ends."""
    grid = range(0, side - SMALLEST_SIDE + 1, WINDOW_STEP)
    last = [side - SMALLEST_SIDE] if side % SMALLEST_SIDE else []
    return [_one_window(start, side) for start in grid], [
        _one_window(start, side) for start in last
    ]


def _one_window(start: int, side: int) -> Span:
    stop = start + SMALLEST_SIDE
    kept = slice(start + BORDER if start else 0, stop - BORDER if stop < side else side)
    return Span((start,), kept)


def _join_windows(sides: list[_Cut], most_pixels: int) -> list[_Cut]:
    """Join windows into the tiles that cover the plane with the fewest pixels."""
    row_cuts, column_cuts = (_ways_to_join(grid, last) for grid, last in sides)
    cuts = [cut for cut in product(row_cuts, column_cuts) if _largest(cut) <= most_pixels]
    best = min(cuts, key=lambda cut: (_cost(cut), sum(len(grid) for grid, _ in cut)))
    return [*best]


def _ways_to_join(grid: list[Span], last: list[Span]) -> Iterator[_Cut]:
    together = [*grid]
    # The last window can share a tile only if its map pixels are those of the grid's windows.
    if last and last[0].starts[0] % STEP == 0:
        together, last = [*grid, *last], []
    for n_tiles in range(1, len(together) + 1):
        edges = [len(together) * part // n_tiles for part in range(n_tiles + 1)]
        yield [_joined(together[first:stop]) for first, stop in pairwise(edges)], last


def _joined(spans: Sequence[Span]) -> Span:
    starts = tuple(start for span in spans for start in span.starts)
    return Span(starts, slice(spans[0].kept.start, spans[-1].kept.stop))


def _lengths(cut: _Cut) -> list[int]:
    return [span.length for spans in cut for span in spans]


def _largest(cut: Sequence[_Cut]) -> int:
    return max(_lengths(cut[0])) * max(_lengths(cut[1]))


def _cost(cut: Sequence[_Cut]) -> int:
    return sum(_lengths(cut[0])) * sum(_lengths(cut[1]))
