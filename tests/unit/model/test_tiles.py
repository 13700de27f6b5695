"""The two tile plans."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from model.architecture import STEP, decoder_reach, fine_reach
from model.tiles import BORDER, MARGIN, SMALLEST_SIDE, WIDE_PIXELS, TilePlan, plan_tiles

SIDES = st.integers(SMALLEST_SIDE, 5000)
#: Pixels of a tile of three windows beside each other.
THREE_WINDOWS = SMALLEST_SIDE * 800


def starts_and_kept(side: int) -> list[tuple[int, int, int]]:
    tiles = plan_tiles((side, SMALLEST_SIDE), TilePlan.REFERENCE)
    return sorted((t.rows.window.start, t.rows.kept.start, t.rows.kept.stop) for t in tiles)


def test_the_reference_plan_is_that_of_the_published_package_without_its_repetitions() -> None:
    assert starts_and_kept(400) == [(0, 0, 400)]
    assert starts_and_kept(800) == [(0, 0, 300), (200, 100 + 200, 500), (400, 500, 800)]
    assert starts_and_kept(1000) == [
        (0, 0, 300),
        (200, 300, 500),
        (400, 500, 700),
        (600, 700, 1000),
    ]
    assert starts_and_kept(1023)[-2:] == [(600, 700, 900), (623, 723, 1023)]


@given(SIDES, SIDES, st.sampled_from(TilePlan))
def test_every_pixel_is_kept_by_a_tile_that_holds_it(ny: int, nx: int, plan: TilePlan) -> None:
    kept = np.zeros((ny, nx), bool)
    for tile in plan_tiles((ny, nx), plan):
        for span, side in ((tile.rows, ny), (tile.columns, nx)):
            assert 0 <= span.window.start <= span.kept.start < span.kept.stop <= span.window.stop
            assert span.window.stop <= side
            assert span.length % STEP == 0
        kept[tile.rows.kept, tile.columns.kept] = True
    assert kept.all()


@given(SIDES, SIDES)
def test_a_wide_tile_has_windows_of_the_reference_plan_alone(ny: int, nx: int) -> None:
    reference = {
        (tile.rows.window.start, tile.columns.window.start)
        for tile in plan_tiles((ny, nx), TilePlan.REFERENCE)
    }
    wide = {
        (y, x)
        for tile in plan_tiles((ny, nx), TilePlan.WIDE)
        for y in tile.rows.starts
        for x in tile.columns.starts
    }
    assert wide <= reference


@given(SIDES)
def test_each_kept_pixel_of_a_wide_tile_takes_the_result_of_its_window(side: int) -> None:
    for tile in plan_tiles((side, SMALLEST_SIDE), TilePlan.WIDE, most_pixels=THREE_WINDOWS):
        span = tile.rows
        windows, cells, places = span.window_pixels(), span.cell_pixels(), span.places()
        pixel = span.window.start + span.decoded_pixels() * STEP // 2
        assert pixel[0] == span.decoded.start
        assert pixel[-1] + STEP // 2 == span.decoded.stop
        needed = (pixel + MARGIN >= span.kept.start) & (pixel < span.kept.stop + MARGIN)
        needed &= (pixel >= span.starts[0]) & (pixel < span.starts[-1] + SMALLEST_SIDE)
        pixel, places = pixel[needed], places[needed]
        # Where the pixel comes from, at scale 2 / STEP, is where it goes.
        source = 2 * windows[cells[places // 2]] + places % 2
        np.testing.assert_array_equal(source, span.decoded_pixels()[needed])
        taken = cells[places // 2] // (SMALLEST_SIDE // STEP)
        for number, start in enumerate(span.starts[1:], start=1):
            assert (taken[pixel >= start + BORDER] >= number).all()


@pytest.mark.parametrize("shape", [(10_000, 10_000), (400, 50_000), (1265, 1581), (4096, 2048)])
def test_a_wide_tile_has_bounded_memory(shape: tuple[int, int]) -> None:
    tiles = plan_tiles(shape, TilePlan.WIDE)
    assert max(tile.shape[0] * tile.shape[1] for tile in tiles) <= WIDE_PIXELS


def test_a_window_is_passed_on_however_few_pixels_a_tile_may_have() -> None:
    tiles = plan_tiles((1000, 1000), TilePlan.WIDE, most_pixels=1)
    assert {tile.shape for tile in tiles} == {(SMALLEST_SIDE, SMALLEST_SIDE)}


def test_the_margins_are_what_the_fine_scales_see() -> None:
    assert fine_reach() <= BORDER
    assert decoder_reach() == MARGIN


@given(SIDES, st.sampled_from(TilePlan))
def test_a_tile_decodes_what_it_keeps_with_a_margin(side: int, plan: TilePlan) -> None:
    for tile in plan_tiles((side, SMALLEST_SIDE), plan, most_pixels=THREE_WINDOWS):
        span = tile.rows
        assert span.window.start <= span.decoded.start <= max(span.kept.start - MARGIN, 0)
        assert min(span.kept.stop + MARGIN, side) <= span.decoded.stop <= span.window.stop
        here = span.kept_here
        assert span.decoded.start + here.start == span.kept.start
        assert here.stop - here.start == span.kept.stop - span.kept.start


@given(SIDES)
def test_the_joined_tiles_of_a_plane_have_two_sizes_at_most(side: int) -> None:
    tiles = plan_tiles((side, SMALLEST_SIDE), TilePlan.WIDE, most_pixels=THREE_WINDOWS)
    spans = sorted((tile.rows for tile in tiles), key=lambda span: span.window.stop)
    # What is left over where the side is no multiple of 8 is a tile of its own.
    *grid, last = spans if side % STEP else [*spans, spans[-1]]
    sizes = {
        (span.length, span.n_decoded, span.window_pixels().size, span.cell_pixels().size)
        for span in grid
    }
    assert len(sizes) <= 2
    assert last.starts[-1] + SMALLEST_SIDE == side


def test_a_small_plane_is_one_wide_tile() -> None:
    assert len(plan_tiles((1024, 1024), TilePlan.WIDE)) == 1
