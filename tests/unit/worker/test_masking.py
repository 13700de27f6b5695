"""One exposure from its file to its mask file, with the real network."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from model.engine import Device
from model.masker import Masker
from model.probability import make_recipe
from model.tiles import TilePlan
from settings.schema import MaskSettings
from worker.exposure import ExposureChangedError
from worker.masking import (
    Job,
    NothingToMaskError,
    Progress,
    SourceClashError,
    mask_exposure,
)
from worker.pixel_mask import read_pixel_mask
from worker.product import mask_path, read_key

WriteImage = Callable[..., Path]
KEYS = itertools.count()


@pytest.fixture(scope="module")
def masker() -> Masker:
    return Masker(device=Device.CPU)


def job(masker: Masker, path: Path, *, hdu: int | None = None, **wishes: object) -> Job:
    return Job(
        path=path,
        hdu=hdu,
        target=mask_path(path, hdu=hdu),
        recipe=make_recipe(masker.card, MaskSettings(**wishes)),
        tiles=TilePlan.WIDE,
        key=f"{next(KEYS):032x}",
        configuration="c" * 16,
        versions={"maximaskd": "0.1.0"},
        attempt=1,
    )


def noise(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(8).normal(300, 9, shape).astype(np.float32)


def test_a_mosaic_keeps_its_structure(masker: Masker, mosaic: Path) -> None:
    steps: list[Progress] = []
    the_job = job(masker, mosaic)
    masked = mask_exposure(the_job, masker, progress=steps.append)
    with fits.open(mosaic) as source, fits.open(masked.mask, checksum=True) as masks:
        assert [hdu.name for hdu in masks] == [hdu.name for hdu in source]
        assert [hdu.header.get("MMHDU") for hdu in masks] == [None, 1, None, 3]
        for index in (1, 3):
            np.testing.assert_array_equal(masks[index].data, masker(source[index].data))
        assert masks["CAT"].data["NAME"].tolist() == ["alpha", "beta"]
        total = sum(masks[index].data[13].sum() for index in (1, 3))
    assert masked.hdus == 2
    assert masked.mpix == pytest.approx((60 * 40 + 50 * 70) / 1e6)
    assert masked.fractions["BG"] == pytest.approx(total / (masked.mpix * 1e6))
    assert read_key(masked.mask) == the_job.key
    assert (steps[-1].hdus, steps[-1].mpix_done) == (2, pytest.approx(masked.mpix))
    assert [step.mpix_done for step in steps] == sorted(step.mpix_done for step in steps)


def test_one_hdu_has_its_masks_in_the_primary_hdu(masker: Masker, mosaic: Path) -> None:
    masked = mask_exposure(job(masker, mosaic, hdu=3), masker)
    assert masked.mask.name == "mosaic.masks3.fits"
    with fits.open(masked.mask) as masks, fits.open(mosaic) as source:
        assert len(masks) == 1
        assert (masks[0].header["EXTNAME"], masks[0].header["MMHDU"]) == ("CCD2", 3)
        np.testing.assert_array_equal(masks[0].data, masker(source[3].data))


def test_each_channel_of_a_cube_is_masked_on_its_own(masker: Masker, image: WriteImage) -> None:
    cube = noise((3, 50, 45))
    cube[1] = 0
    masked = mask_exposure(job(masker, image(cube)), masker)
    masks = fits.getdata(masked.mask)
    assert masks.shape == (3, 14, 50, 45)
    np.testing.assert_array_equal(masks[0], masker(cube[0]))
    np.testing.assert_array_equal(masks[2], masker(cube[2]))
    assert not masks[1].any()
    assert masked.notes == ("HDU 0 channel 1: all pixels are 0",)
    assert fits.getheader(masked.mask)["MMNOTE"] == "HDU 0 channel 1: all pixels are 0"


def test_a_bit_mask_and_probabilities_can_be_asked_for(masker: Masker, image: WriteImage) -> None:
    path = image(noise((60, 50)))
    bits = mask_exposure(job(masker, path, format="bitmask"), masker)
    assert fits.getdata(bits.mask).dtype == np.dtype(">i2")
    wishes = {"format": "probabilities", "classes": ("CR", "BG")}
    probabilities = mask_exposure(job(masker, path, **wishes), masker)
    planes = fits.getdata(probabilities.mask)
    assert planes.shape == (2, 60, 50)
    assert 0 <= planes.min() <= planes.max() <= 1
    assert set(probabilities.fractions) == {"CR", "BG"}


def test_a_pixel_mask_is_the_same_from_every_format(masker: Masker, mosaic: Path) -> None:
    expected = {}
    with fits.open(mosaic, mode="update") as source:
        for hdu in (1, 3):
            source[hdu].data[10:12, 8:14] += 3000
            source[hdu].data[:, 30] -= 900
            expected[hdu] = masker(source[hdu].data)[[0, 2]].any(axis=0)
            assert expected[hdu][11, 10]
            assert expected[hdu][30, 30]
            assert not expected[hdu][40, 20]
    for product_format in ("masks", "probabilities", "bitmask"):
        for hdu in (None, 3):
            masked = mask_exposure(job(masker, mosaic, hdu=hdu, format=product_format), masker)
            for name, number in (("CCD1", 1), ("CCD2", 3))[hdu is not None :]:
                mask = read_pixel_mask(masked.mask, classes=("CR", "DCL"), hdu=number)
                np.testing.assert_array_equal(mask, expected[number])
                again = read_pixel_mask(masked.mask, classes=("CR", "DCL"), hdu=name)
                np.testing.assert_array_equal(again, expected[number])


@pytest.mark.parametrize(
    ("value", "sentence"),
    [(0, "all pixels are 0"), (np.nan, "no pixel is a number"), (3, "all pixels are 3")],
)
def test_a_blank_exposure_has_nothing_to_mask(
    value: float, sentence: str, masker: Masker, image: WriteImage
) -> None:
    path = image(np.full((50, 50), value, np.float32))
    with pytest.raises(NothingToMaskError, match=sentence):
        mask_exposure(job(masker, path), masker)
    assert list(path.parent.iterdir()) == [path]


def test_a_side_of_one_pixel_is_skipped_with_a_reason(masker: Masker, tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    fits.HDUList(
        [fits.PrimaryHDU(noise((60, 50))), fits.ImageHDU(noise((1, 50)), name="LINE")]
    ).writeto(path)
    masked = mask_exposure(job(masker, path), masker)
    assert masked.notes == ("HDU 1 is not masked: its image of 50 x 1 pixels is too small.",)
    with fits.open(masked.mask) as masks:
        assert masks["LINE"].data.shape == (1, 50)


@pytest.mark.parametrize(
    ("data", "sentence"),
    [(None, "no HDU with a two-dimensional image"), (np.ones((1, 9)), "9 x 1 pixels is too small")],
)
def test_a_file_without_planes_has_nothing_to_mask(
    data: np.ndarray | None, sentence: str, masker: Masker, image: WriteImage
) -> None:
    with pytest.raises(NothingToMaskError, match=sentence):
        mask_exposure(job(masker, image(data)), masker)


def test_a_second_exposure_with_the_same_mask_name_is_refused(
    masker: Masker, image: WriteImage
) -> None:
    mask_exposure(job(masker, image(noise((40, 40)), "a.fits")), masker)
    with pytest.raises(SourceClashError, match=r"a\.masks\.fits, which is that of a\.fits: rename"):
        mask_exposure(job(masker, image(noise((40, 40)), "a.fit")), masker)


def test_an_exposure_that_changes_is_not_published(masker: Masker, image: WriteImage) -> None:
    path = image(noise((40, 40)))

    def write_to_it(_: Progress) -> None:
        with path.open("ab") as file:
            file.write(b"more")

    with pytest.raises(ExposureChangedError):
        mask_exposure(job(masker, path), masker, progress=write_to_it)
    assert list(path.parent.iterdir()) == [path]


@pytest.mark.parametrize("name", ["decam_desx_149774_40.fits.fz", "lco_0m4_kb29_banzai.fits.fz"])
def test_a_real_tile_compressed_exposure_is_masked(
    name: str, masker: Masker, tmp_path: Path, real: Callable[[str], Path]
) -> None:
    path = tmp_path / name
    path.symlink_to(real(name))
    masked = mask_exposure(job(masker, path), masker)
    with fits.open(path) as source, fits.open(masked.mask, checksum=True) as masks:
        assert len(masks) == len(source)
        np.testing.assert_array_equal(masks[1].data, masker(source[1].data))
