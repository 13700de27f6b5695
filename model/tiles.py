"""How a plane is cut for the network: its shape in, tiles with the part to keep of each out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from itertools import pairwise, product

from model.architecture import RECEPTIVE_MARGIN, STEP

__all__ = ["SMALLEST_SIDE", "Tile", "TilePlan", "plan_tiles"]

#: Side in pixels that the network was trained on; shorter sides are padded to it.
SMALLEST_SIDE = 400
#: MaxiMask 1.4.1: a tile every 200 pixels, of which the central 200 are kept.
REFERENCE_STEP = 200
REFERENCE_BORDER = 100
#: Most pixels in one wide tile: about 3 GB of memory on the CPU, which a small laptop has.
WIDE_PIXELS = 2_000_000
#: Finest cut that is tried, in pixels of a core.
WIDE_CORE = 512


class TilePlan(StrEnum):
    """The two ways to cut a plane."""

    WIDE = "wide"
    REFERENCE = "reference"


@dataclass(frozen=True)
class Tile:
    """
    One window that passes through the network.

    Parameters
    ----------
    rows, columns : slice
        The window in the plane.
    kept_rows, kept_columns : slice
        The part of the plane whose result comes from this tile; later tiles overwrite earlier ones.
    """

    rows: slice
    columns: slice
    kept_rows: slice
    kept_columns: slice

    @property
    def shape(self) -> tuple[int, int]:
        """Height and width of the window, in pixels."""
        return self.rows.stop - self.rows.start, self.columns.stop - self.columns.start

    @property
    def kept(self) -> tuple[slice, slice]:
        """The part to keep, in the window's own pixels."""
        return (
            slice(self.kept_rows.start - self.rows.start, self.kept_rows.stop - self.rows.start),
            slice(
                self.kept_columns.start - self.columns.start,
                self.kept_columns.stop - self.columns.start,
            ),
        )


@dataclass(frozen=True)
class _Span:
    """A tile along one axis: where it starts and ends, and what is kept of it."""

    window: slice
    kept: slice


def plan_tiles(shape: tuple[int, int], plan: TilePlan) -> tuple[Tile, ...]:
    """
    Cut a plane into tiles.

    Parameters
    ----------
    shape : tuple of int
        Height and width of the plane, both at least `SMALLEST_SIDE`.
    plan : TilePlan
        Wide or reference.

    Returns
    -------
    tuple of Tile
        In the order in which their results are written.

    Notes
    -----
    `WIDE`: windows overlap by twice the network's receptive margin and start on whole pixels of its
    coarsest maps, so the result is that of one pass over the whole plane. `REFERENCE`: the tiles of
    MaxiMask 1.4.1, grid first, then the last row, the last column and the corner.

    Examples
    --------
    >>> [tile.shape for tile in plan_tiles((682, 1024), TilePlan.WIDE)]
    [(682, 1024)]
    >>> len(plan_tiles((1024, 1024), TilePlan.REFERENCE))
    25
    """
    spans = _wide_spans(shape) if plan is TilePlan.WIDE else _reference_spans(shape)
    return tuple(Tile(y.window, x.window, y.kept, x.kept) for y, x in spans)


def _wide_spans(shape: tuple[int, int]) -> Iterator[tuple[_Span, _Span]]:
    cuts = [
        [_wide_cut(side, n_parts) for n_parts in range(1, side // WIDE_CORE + 2)] for side in shape
    ]
    best = min(
        (cut for cut in product(*cuts) if _largest(cut[0]) * _largest(cut[1]) <= WIDE_PIXELS),
        key=lambda cut: (_total(cut[0]) * _total(cut[1]), len(cut[0]) * len(cut[1])),
    )
    return product(best[0], best[1])


def _wide_cut(side: int, n_parts: int) -> list[_Span]:
    core = -(-side // (n_parts * STEP)) * STEP
    edges = [*range(0, side, core), side]
    return [
        _Span(
            slice(max(start - RECEPTIVE_MARGIN, 0), min(stop + RECEPTIVE_MARGIN, side)),
            slice(start, stop),
        )
        for start, stop in pairwise(edges)
    ]


def _largest(spans: list[_Span]) -> int:
    return max(span.window.stop - span.window.start for span in spans)


def _total(spans: list[_Span]) -> int:
    return sum(span.window.stop - span.window.start for span in spans)


def _reference_spans(shape: tuple[int, int]) -> Iterator[tuple[_Span, _Span]]:
    rows, columns = (
        [
            _reference_span(start, side)
            for start in range(0, side - SMALLEST_SIDE + 1, REFERENCE_STEP)
        ]
        for side in shape
    )
    last_row, last_column = (
        [_reference_span(side - SMALLEST_SIDE, side)] if side % SMALLEST_SIDE else []
        for side in shape
    )
    yield from product(rows, columns)
    yield from product(last_row, columns)
    yield from product(rows, last_column)
    yield from product(last_row, last_column)


def _reference_span(start: int, side: int) -> _Span:
    stop = start + SMALLEST_SIDE
    return _Span(
        slice(start, stop),
        slice(
            start + REFERENCE_BORDER if start else 0,
            stop - REFERENCE_BORDER if stop < side else side,
        ),
    )
