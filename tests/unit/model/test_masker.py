"""The masker: a raw plane in, its planes out."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from model.engine import Device, DeviceError, Precision
from model.masker import Masker, PlaneError
from model.probability import make_recipe
from model.tiles import PIXELS_PER_BATCH_UNIT, TilePlan, plan_tiles
from settings.schema import MaskSettings


def agreement(first: np.ndarray, second: np.ndarray) -> float:
    return float((first == second).mean(axis=(1, 2)).min())


@pytest.fixture(scope="module")
def plane(real: Callable[[str], Path]) -> np.ndarray:
    return fits.getdata(real("saao_ste3_a8280271.fits"))


@pytest.mark.parametrize(
    ("precision", "least"), [(Precision.FLOAT32, 0.9999), (Precision.AUTO, 0.9995)]
)
def test_both_plans_give_the_same_masks_but_for_single_pixels(
    precision: Precision, least: float, plane: np.ndarray
) -> None:
    masker = Masker(device=Device.CPU, precision=precision)
    wide, reference = (masker(plane, tiles=plan) for plan in TilePlan)
    assert agreement(wide, reference) > least
    assert wide[0].sum() > 100


def test_a_small_batch_gives_what_a_large_one_gives(masker: Masker) -> None:
    rng = np.random.default_rng(5)
    sky = rng.normal(200, 8, (1000, 1200))
    for y, x in rng.integers(10, 990, (300, 2)):
        sky[y : y + 2, x : x + 3] += 900
    small = Masker(device=Device.CPU, batch_size=2)
    steps: list[float] = []
    assert agreement(masker(sky), small(sky, progress=steps.append)) > 0.999
    assert len(steps) == len(
        plan_tiles(sky.shape, TilePlan.WIDE, most_pixels=2 * PIXELS_PER_BATCH_UNIT)
    )
    steps.clear()
    one_by_one = small(sky[:400, :1100], tiles=TilePlan.REFERENCE, progress=steps.append)
    assert len(steps) == 4
    reference = masker(sky[:400, :1100], tiles=TilePlan.REFERENCE)
    assert agreement(one_by_one, reference) > 0.99999


def test_one_call_can_have_a_batch_size_of_its_own(masker: Masker) -> None:
    sky = np.random.default_rng(6).normal(200, 8, (400, 1000))
    steps: list[float] = []
    for batch_size in (1, None):
        masker(sky, tiles=TilePlan.REFERENCE, batch_size=batch_size, progress=steps.append)
    # Windows at the plane's ends keep more than those between them: they pass alone.
    assert steps == [1 / 4, 2 / 4, 3 / 4, 1, 2 / 4, 3 / 4, 1]


def test_progress_rises_to_one(masker: Masker, plane: np.ndarray) -> None:
    steps: list[float] = []
    masker(plane, tiles=TilePlan.REFERENCE, progress=steps.append)
    assert steps == sorted(steps)
    assert steps[-1] == 1


@pytest.mark.parametrize("shape", [(2, 2), (2, 900), (399, 401), (150, 150)])
@pytest.mark.parametrize("plan", TilePlan)
def test_small_planes_are_padded(masker: Masker, shape: tuple[int, int], plan: TilePlan) -> None:
    masks = masker(np.random.default_rng(6).normal(100, 5, shape), tiles=plan)
    assert masks.shape == (14, *shape)


@pytest.mark.parametrize("plan", TilePlan)
def test_a_cut_out_shows_the_cosmic_rays_of_the_whole(
    masker: Masker, plane: np.ndarray, plan: TilePlan
) -> None:
    whole = masker(plane)[0].astype(bool)
    cut = np.s_[40:390, 30:400]
    alone = masker(plane[cut], tiles=plan)[0].astype(bool)
    assert whole[cut].sum() > 30
    assert 2 * (alone & whole[cut]).sum() > 0.8 * (alone.sum() + whole[cut].sum())


@pytest.mark.parametrize("shape", [(0, 5), (1, 500), (500, 1), (500,), (2, 500, 500)])
def test_what_is_no_plane_is_refused(masker: Masker, shape: tuple[int, ...]) -> None:
    with pytest.raises(PlaneError, match=r"is no plane: give \(ny, nx\)"):
        masker(np.ones(shape))


def test_the_number_type_of_a_plane_does_not_matter(masker: Masker, plane: np.ndarray) -> None:
    cut = plane[:450, :450]
    expected = masker(cut)
    for dtype in (">f8", "<i4", ">i2", "<f4"):
        np.testing.assert_array_equal(masker(cut.astype(dtype)), expected)


def test_the_plane_is_left_as_it_was(masker: Masker) -> None:
    plane = np.random.default_rng(7).normal(100, 5, (420, 410)).astype(np.float32)
    plane[3, 4] = np.nan
    before = plane.copy()
    masker(plane)
    np.testing.assert_array_equal(plane, before)


def test_planes_without_contrast_are_masked_without_complaint(masker: Masker) -> None:
    for value in (0, 7, np.nan):
        raw = make_recipe(masker.card, MaskSettings(format="probabilities", prior_modif=False))
        probabilities = masker(np.full((410, 420), value), raw)
        assert np.isfinite(probabilities).all()


def test_a_gpu_that_is_not_there_is_refused_with_what_to_do(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    import tensorflow as tf

    monkeypatch.setattr(tf.config, "list_physical_devices", lambda _kind: [])
    with pytest.raises(DeviceError, match=r"No GPU is visible .*CUDA_VISIBLE_DEVICES.*`cpu`"):
        Masker(device=Device.GPU)


def test_the_masker_says_what_it_runs_on(masker: Masker) -> None:
    assert masker.device is Device.CPU
    assert masker.engine_name(TilePlan.WIDE).startswith("openvino 20")
    assert masker.engine_name(TilePlan.REFERENCE).endswith(" float32")
