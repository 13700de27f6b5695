"""Reading exposures."""

from __future__ import annotations

import gzip
import hashlib
import os
import pickle
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from worker.exposure import (
    Exposure,
    ExposureChangedError,
    ExposureError,
    ExposureUnavailableError,
    HduAction,
    parse_path,
    plane_problem,
)

WriteImage = Callable[..., Path]


def only_plane(path: Path) -> np.ndarray:
    with Exposure(path) as exposure:
        (plane,) = exposure.planes(0)
        return plane[:, :]


def test_every_hdu_has_a_plan(mosaic: Path) -> None:
    with Exposure(mosaic) as exposure:
        plans = [(plan.action, plan.name, plan.shape) for plan in exposure.plans]
        assert exposure.instrument == "TestCam"
        assert exposure.mpix == pytest.approx((60 * 40 + 50 * 70) / 1e6)
    assert plans == [
        (HduAction.COPY, "PRIMARY", ()),
        (HduAction.MASK, "CCD1", (60, 40)),
        (HduAction.COPY, "CAT", ()),
        (HduAction.MASK, "CCD2", (50, 70)),
    ]


@pytest.mark.parametrize(
    ("stored", "cards", "expected"),
    [
        (np.array([[0, 65535], [7, 8]], np.uint16), {}, [[0, 65535], [7, 8]]),
        (np.array([[1, 2], [3, 4]], ">f8"), {}, [[1, 2], [3, 4]]),
        (np.array([[1, 2], [3, 4]], np.int32), {}, [[1, 2], [3, 4]]),
        (np.array([[1, 2], [3, 4]], np.uint8), {}, [[1, 2], [3, 4]]),
        (np.array([[1, 2], [3, 4]], np.int16), {"BSCALE": 0.5, "BZERO": 10.0}, None),
        (np.array([[1, -9], [3, 4]], np.int16), {"BLANK": -9}, [[1, np.nan], [3, 4]]),
    ],
)
def test_pixel_values_are_adu_in_float32(
    stored: np.ndarray, cards: dict[str, float], expected: list | None, tmp_path: Path
) -> None:
    path = tmp_path / "a.fits"
    hdu = fits.PrimaryHDU(stored)
    if "BSCALE" in cards:
        # Written as raw numbers with the scale beside them.
        hdu.writeto(path)
        with fits.open(path, mode="update", do_not_scale_image_data=True) as file:
            file[0].header.update(cards)
        expected = [[10.5, 11], [11.5, 12]]
    else:
        hdu.header.update(cards)
        hdu.writeto(path)
    plane = only_plane(path)
    assert plane.dtype == np.dtype("=f4")
    np.testing.assert_array_equal(plane, np.array(expected, np.float32))


def test_a_cube_gives_each_channel(image: WriteImage) -> None:
    cube = np.arange(4 * 5 * 6, dtype=np.int16).reshape(4, 5, 6)
    with Exposure(image(cube)) as exposure:
        assert exposure.plans[0].action is HduAction.MASK
        planes = [plane[:, :] for plane in exposure.planes(0)]
    np.testing.assert_array_equal(np.stack(planes), cube)


@pytest.mark.parametrize(
    ("shape", "action", "reason"),
    [
        ((1, 500), HduAction.SKIP, "500 x 1 pixels is too small"),
        ((500, 1), HduAction.SKIP, "1 x 500 pixels is too small"),
        ((500,), HduAction.COPY, "1 dimensions"),
        ((2, 2, 5, 5), HduAction.COPY, "4 dimensions"),
        ((2, 2), HduAction.MASK, ""),
    ],
)
def test_images_that_are_no_planes_are_not_masked(
    shape: tuple[int, ...], action: HduAction, reason: str, image: WriteImage
) -> None:
    with Exposure(image(np.ones(shape, np.float32))) as exposure:
        assert exposure.plans[0].action is action
        assert reason in exposure.plans[0].reason


def test_an_image_without_pixels_is_not_masked(image: WriteImage) -> None:
    with Exposure(image(None)) as exposure:
        assert exposure.plans[0].reason == "it has no data"


def test_one_hdu_may_be_asked_for(mosaic: Path) -> None:
    with Exposure(mosaic, hdu=3) as exposure:
        assert [plan.name for plan in exposure.plans] == ["CCD2"]


@pytest.mark.parametrize(
    ("hdu", "sentence"),
    [(9, "has no HDU 9: the last of its 4 is 3"), (2, r"HDU 2 .* cannot be masked \(it is no im")],
)
def test_an_hdu_that_cannot_be_masked_is_refused(mosaic: Path, hdu: int, sentence: str) -> None:
    with pytest.raises(ExposureError, match=sentence):
        Exposure(mosaic, hdu=hdu)


def test_an_extension_is_copied_byte_by_byte(mosaic: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.fits.gz"
    packed.write_bytes(gzip.compress(mosaic.read_bytes()))
    content = mosaic.read_bytes()
    with Exposure(mosaic) as exposure, Exposure(packed) as same:
        raw = exposure.raw(2)
        assert same.raw(2) == raw
    assert raw.startswith(b"XTENSION= 'BINTABLE'")
    assert len(raw) % 2880 == 0
    assert raw in content


def test_the_checksum_is_that_of_the_file(mosaic: Path) -> None:
    with Exposure(mosaic) as exposure:
        assert exposure.sha256 == hashlib.sha256(mosaic.read_bytes()).hexdigest()


def test_a_file_that_changes_while_it_is_read_is_noticed(mosaic: Path) -> None:
    with Exposure(mosaic) as exposure:
        exposure.check_unchanged()
        os.utime(mosaic, ns=(1, 1))
        with pytest.raises(ExposureChangedError, match="written to while it was masked"):
            exposure.check_unchanged()


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "is empty"),
        (b"not at all", "is not FITS"),
        (
            b"SIMPLE  =                    T".ljust(2880),
            "truncated: HDU 0 breaks off in its header",
        ),
        (gzip.compress(b"hello"), "is not FITS"),
        (gzip.compress(bytes(5000))[:-20], "gzip stream"),
    ],
)
def test_a_broken_file_is_refused_in_one_sentence(
    content: bytes, sentence: str, tmp_path: Path
) -> None:
    path = tmp_path / "broken.fits"
    path.write_bytes(content)
    with pytest.raises(ExposureError, match=sentence) as caught:
        Exposure(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def test_a_truncated_file_is_refused(mosaic: Path) -> None:
    mosaic.write_bytes(mosaic.read_bytes()[:10_000])
    with pytest.raises(ExposureError, match="truncated: HDU 1 has"):
        Exposure(mosaic)


def test_a_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "x.fits").mkdir()
    with pytest.raises(ExposureError, match="is a directory"):
        Exposure(tmp_path / "x.fits")


def test_a_missing_file_may_come_back(tmp_path: Path) -> None:
    with pytest.raises(ExposureUnavailableError, match="tried again later"):
        Exposure(tmp_path / "gone.fits")


def test_a_file_without_read_permission_is_refused(
    mosaic: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", denied)
    with pytest.raises(ExposureError, match="give it read permission"):
        Exposure(mosaic)


def test_a_file_that_shrinks_while_its_planes_are_read_has_changed(image: WriteImage) -> None:
    path = image(np.ones((400, 50), np.float32))
    with Exposure(path) as exposure:
        (plane,) = exposure.planes(0)
        assert plane[0:10, :].all()
        os.truncate(path, 2880 + 200 * 50 * 4)
        with pytest.raises(ExposureChangedError, match="was written to while it was masked"):
            plane[300:310, :]


@pytest.mark.parametrize("packing", ["plain", "gzip", "rice"])
def test_any_window_of_a_plane_is_that_of_the_array(packing: str, tmp_path: Path) -> None:
    path = tmp_path / ("a.fits.gz" if packing == "gzip" else "a.fits")
    array = np.random.default_rng(5).normal(900, 9, (3, 70, 50)).astype(np.uint16)
    hdu = fits.CompImageHDU(array) if packing == "rice" else fits.ImageHDU(array)
    fits.HDUList([fits.PrimaryHDU(), hdu]).writeto(path)
    with Exposure(path) as exposure:
        planes = list(exposure.planes(1))
        for window in (np.s_[10:30, 5:9], np.s_[12:20, :], np.s_[0:70, 0:1], np.s_[65:99, 40:99]):
            for plane, expected in zip(planes, array, strict=True):
                np.testing.assert_array_equal(plane[window], expected[window])


@pytest.mark.parametrize("name", ["a b.fits", "a[1].fits", "nuit d'été ☆.fits", "b'\udcff.fits"])
def test_odd_names_are_read(name: str, tmp_path: Path, image: WriteImage) -> None:
    path = image(np.arange(12, dtype=np.float32).reshape(3, 4), "plain.fits").rename(
        tmp_path / name
    )
    assert only_plane(path).shape == (3, 4)


@pytest.mark.parametrize("name", ["amateur_m34_16bit.fit", "keck_nirc2_hd1160_raw.fits"])
def test_real_exposures_that_break_rules_are_read(name: str, real: Callable[[str], Path]) -> None:
    with Exposure(real(name)) as exposure:
        (plane,) = exposure.planes(0)
        assert len(exposure.plans) == 1
        assert plane_problem(plane) is None
        assert isinstance(exposure.instrument, str)


@pytest.mark.parametrize(
    ("plane", "problem"),
    [
        (np.zeros((3, 3)), "all pixels are 0"),
        (np.full((3, 3), np.nan), "no pixel is a number"),
        (np.full((3, 3), 7.5), "all pixels are 7.5"),
        (np.array([[1, np.nan], [1, 2]]), None),
    ],
)
def test_a_plane_that_holds_nothing_is_told(plane: np.ndarray, problem: str | None) -> None:
    assert plane_problem(plane.astype(np.float32)) == problem


def test_the_notation_for_one_hdu_is_cfitsios(tmp_path: Path) -> None:
    assert parse_path("a.fits[12]") == (Path("a.fits"), 12)
    assert parse_path("a.fits") == (Path("a.fits"), None)
    assert parse_path("a.fits[x]") == (Path("a.fits[x]"), None)
    (tmp_path / "a.fits[1]").touch()
    assert parse_path(str(tmp_path / "a.fits[1]")) == (tmp_path / "a.fits[1]", None)


def test_errors_survive_pickling() -> None:
    error = pickle.loads(pickle.dumps(ExposureError("a sentence")))  # noqa: S301 (our own bytes)
    assert str(error) == "a sentence"


def test_doubles_beyond_float32_are_infinite(image: WriteImage) -> None:
    plane = only_plane(image(np.array([[1e300, -1e300], [1, np.nan]])))
    np.testing.assert_array_equal(plane, np.array([[np.inf, -np.inf], [1, np.nan]], np.float32))


def test_a_tile_that_cannot_be_decompressed_is_told(tmp_path: Path) -> None:
    path = tmp_path / "a.fits.fz"
    plane = np.random.default_rng(1).normal(100, 3, (64, 64)).astype(np.int16)
    packed = fits.CompImageHDU(plane, compression_type="RICE_1")
    fits.HDUList([fits.PrimaryHDU(), packed]).writeto(path)
    with fits.open(path, disable_image_compression=True) as file:
        place = file[1].fileinfo()["datLoc"]
        heap = place + file[1].header["NAXIS1"] * file[1].header["NAXIS2"]
        n_bytes = file[1].header["PCOUNT"]
    content = bytearray(path.read_bytes())
    # A difference of bit length 0 everywhere: the first tile ends before its bytes do.
    content[heap : heap + n_bytes] = bytes(n_bytes)
    path.write_bytes(content)
    with Exposure(path) as exposure, pytest.raises(ExposureError, match="decompression"):
        list(exposure.planes(1))


def test_random_groups_are_no_array(tmp_path: Path) -> None:
    path = tmp_path / "groups.fits"
    visibilities = np.ones((3, 1, 1, 1, 30, 2), np.float32)
    groups = fits.GroupData(visibilities, bitpix=-32, parnames=["U"], pardata=[np.arange(3.0)])
    image = fits.ImageHDU(np.ones((8, 9), np.float32))
    fits.HDUList([fits.GroupsHDU(groups), image]).writeto(path)
    with Exposure(path) as exposure:
        actions = [plan.action for plan in exposure.plans]
        assert exposure.data(0) is None
    assert actions == [HduAction.COPY, HduAction.MASK]
