"""Background and sigma against those of the published package."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from maximask_and_maxitrack.utils import background_est

from model.background_1_4 import HIGHEST, LOWEST, ROUNDING_SIGMA, clean_plane, estimate_background

PLANES = [
    ("saao_ste3_a8280271.fits", 0),
    ("apogee_eso085_aligned.fit", 0),
    ("panoptes_dslr_bayer.fits", 0),
    ("decam_desx_149774_40.fits.fz", 1),
    ("microobs_orion_1.fits", 0),
]


@pytest.mark.parametrize(("name", "hdu"), PLANES)
def test_the_maps_are_those_of_the_published_package(
    name: str, hdu: int, real: Callable[[str], Path]
) -> None:
    plane = clean_plane(fits.getdata(real(name), hdu))
    published_background, published_sigma = background_est(plane.copy())
    ours = estimate_background(plane)
    # Where sigma is far below an ADU, float32 itself holds the background to no better than this.
    resolution = 4 * np.spacing(np.abs(published_background))
    tolerance = 1e-4 * published_sigma + resolution
    assert (np.abs(ours.background_map() - published_background) <= tolerance).all()
    believable = published_sigma > ours.floor
    assert believable.mean() > 0.99
    np.testing.assert_allclose(ours.sigma_map()[believable], published_sigma[believable], rtol=1e-4)


def test_an_outlying_mesh_takes_the_mean_of_its_neighbours() -> None:
    rng = np.random.default_rng(1)
    plane = rng.normal(100, 5, (1400, 1400)).astype(np.float32)
    plane[600:800, 600:800] += 5000
    published, _ = background_est(plane.copy())
    ours = estimate_background(clean_plane(plane)).background_map()
    np.testing.assert_allclose(ours, published, atol=5e-4)
    assert abs(ours[700, 700] - 100) < 1


def test_a_window_of_the_maps_is_that_part_of_the_whole() -> None:
    plane = np.random.default_rng(2).normal(1000, 30, (650, 900)).astype(np.float32)
    plane += np.linspace(0, 400, 900, dtype=np.float32)
    background = estimate_background(plane)
    whole = background.normalise(plane)
    part = background.normalise(plane, slice(130, 470), slice(33, 721))
    np.testing.assert_array_equal(part, whole[130:470, 33:721])


def test_normalising_leaves_the_plane_as_it_was() -> None:
    plane = np.random.default_rng(3).normal(1000, 30, (420, 430)).astype(np.float32)
    before = plane.copy()
    background = estimate_background(plane)
    normalised = background.normalise(plane)
    np.testing.assert_array_equal(plane, before)
    expected = (plane - background.background_map()) / background.sigma_map()
    np.testing.assert_array_equal(normalised, expected)


def test_raw_values_come_into_the_range_of_the_training_set() -> None:
    plane = np.array([[np.nan, -np.inf, np.inf], [-501, 80001, 7]], dtype=">f8")
    expected = [[0, LOWEST, HIGHEST], [LOWEST, HIGHEST, 7]]
    cleaned = clean_plane(plane)
    assert cleaned.dtype == np.float32
    np.testing.assert_array_equal(cleaned, expected)
    assert np.isnan(plane[0, 0])


def test_sigma_of_whole_numbers_does_not_fall_below_their_rounding() -> None:
    plane = np.full((420, 420), 12, np.float32)
    plane[::7, ::11] = 13
    background = estimate_background(plane)
    assert background.sigma_map().min() == np.float32(ROUNDING_SIGMA)
    assert np.isfinite(background.normalise(plane)).all()


@pytest.mark.parametrize("shape", [(2, 2), (150, 900), (199, 201), (900, 3)])
def test_a_short_side_holds_one_mesh(shape: tuple[int, int]) -> None:
    plane = np.random.default_rng(4).normal(500, 10, shape).astype(np.float32)
    background = estimate_background(plane)
    assert background.background_map().shape == shape
    middle = background.background_map()[shape[0] // 2, shape[1] // 2]
    assert abs(middle - 500) < 40
    assert np.isfinite(background.normalise(plane)).all()


def test_an_empty_mesh_counts_as_background_0_and_sigma_1() -> None:
    plane = np.zeros((400, 400), np.float32)
    background = estimate_background(plane)
    assert not background.background_map().any()
    assert background.normalise(plane).max() == 0
