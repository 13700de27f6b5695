"""Background and sigma of the 2018 release, against its steps written out one by one."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from scipy.interpolate import RectBivariateSpline
from scipy.signal import medfilt2d

from model.background_2018 import clean_plane_2018, estimate_background_2018
from model.card import Preprocessing
from model.normalise import normalise_plane

PLANES = ["saao_ste3_a8280271.fits", "apogee_eso085_aligned.fit", "panoptes_dslr_bayer.fits"]


def normalised_as_in_2018(plane: np.ndarray) -> np.ndarray:
    """Follow the description of the release step by step, with SciPy's filter and spline."""
    ny, nx = (side // 200 for side in plane.shape)
    grid = np.zeros((ny + 2, nx + 2))
    for y in range(ny):
        for x in range(nx):
            mesh = plane[200 * y : 200 * (y + 1), 200 * x : 200 * (x + 1)].astype(np.float64)
            middle, spread = np.median(mesh), np.std(mesh)
            kept = [v for v in mesh.ravel() if abs(v - middle) <= 3 * spread and v > 0]
            grid[y + 1, x + 1] = np.mean(kept)
    grid[0, 1:-1], grid[-1, 1:-1] = grid[1, 1:-1], grid[-2, 1:-1]
    grid[1:-1, 0], grid[1:-1, -1] = grid[1:-1, 1], grid[1:-1, -2]
    smooth = medfilt2d(grid, 3)
    for y, inner_y in ((0, 1), (-1, -2)):
        for x, inner_x in ((0, 1), (-1, -2)):
            smooth[y, x] = smooth[inner_y, inner_x]
    nodes = [-100 + 200 * np.arange(n + 2) for n in (ny, nx)]
    background = RectBivariateSpline(*nodes, smooth)(*map(np.arange, plane.shape))
    subtracted = plane - background
    return subtracted / subtracted.std()


@pytest.mark.parametrize("name", PLANES)
def test_a_real_plane_is_normalised_as_the_release_describes(
    name: str, real: Callable[[str], Path]
) -> None:
    plane = clean_plane_2018(fits.getdata(real(name)))[:1500, :1300]
    ours = estimate_background_2018(plane).normalise(plane)
    expected = normalised_as_in_2018(plane)
    np.testing.assert_allclose(ours, expected, atol=2e-4, rtol=1e-5)


def test_pixels_that_are_not_above_0_take_no_part() -> None:
    plane = np.random.default_rng(1).normal(100, 5, (400, 400)).astype(np.float32)
    plane[::2] = -3
    background = estimate_background_2018(plane)
    assert background.background_map()[200, 200] == pytest.approx(100, abs=0.2)


def test_one_round_of_clipping_is_all() -> None:
    rng = np.random.default_rng(2)
    plane = rng.normal(100, 5, (400, 400)).astype(np.float32)
    plane[:20] += 5000
    plane[20:40] += 200
    # The first round drops the brightest; what is left next to them would fall in a second one.
    assert estimate_background_2018(plane).background[1, 1] > 115


def test_values_are_not_clipped_and_what_is_no_number_is_0() -> None:
    raw = np.array([[np.nan, np.inf], [-9000, 250_000]])
    np.testing.assert_array_equal(clean_plane_2018(raw), [[0, 0], [-9000, 250_000]])


@pytest.mark.parametrize("shape", [(2, 2), (150, 420), (201, 399), (700, 90)])
def test_planes_of_any_shape_have_a_background(shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(3).normal(50, 4, shape)
    normalised = normalise_plane(plane, Preprocessing.V2018)
    values = normalised.background.normalise(normalised.clean)
    assert values.shape == shape
    assert np.isfinite(values).all()
    assert values.std() == pytest.approx(1, rel=1e-4)


@pytest.mark.parametrize("value", [0.0, -7.0, 12.0])
def test_a_plane_without_spread_is_normalised_without_dividing_by_0(value: float) -> None:
    plane = np.full((400, 400), value)
    normalised = normalise_plane(plane, Preprocessing.V2018)
    values = normalised.background.normalise(normalised.clean)
    assert np.isfinite(values).all()
