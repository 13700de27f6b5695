"""Pixel masks: every format and layout of a mask file read back as booleans."""

from __future__ import annotations

import errno
import gzip
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from model.preset import read_card
from worker.pixel_mask import PixelMaskError, PixelMaskUnavailableError, read_pixel_mask
from worker.product import Compression

WriteMasks = Callable[..., None]
CLASSES = read_card("maximask-1.4").classes
INDEX = {mask_class.name: mask_class.index for mask_class in CLASSES}
NOTHING = np.zeros((14, 0, 0))


def planes(seed: int, shape: tuple[int, ...] = (14, 30, 20)) -> np.ndarray:
    """Return random masks of all classes."""
    return np.random.default_rng(seed).random(shape) < 0.1


ONE, TWO = planes(1), planes(2, (14, 25, 35))


def compressions(product_format: str) -> list[Compression]:
    """Return how a format can be compressed."""
    lossy = {Compression.RICE} if product_format == "probabilities" else set()
    return [compress for compress in Compression if compress not in lossy]


EVERY_KIND = [
    pytest.param(product_format, compress, id=f"{product_format}-{compress}")
    for product_format in ("masks", "probabilities", "bitmask")
    for compress in compressions(product_format)
]


@pytest.mark.parametrize(("product_format", "compress"), EVERY_KIND)
def test_masks_of_extensions_are_read(
    product_format: str, compress: Compression, write_masks: WriteMasks, tmp_path: Path
) -> None:
    path = tmp_path / "a.masks.fits"
    write_masks(
        path,
        {0: NOTHING, 1: ONE, 2: TWO},
        headers={1: fits.Header({"EXTNAME": "CCD1"}), 2: fits.Header({"EXTNAME": "CCD2"})},
        format=product_format,
        compress=compress,
    )
    for hdu, masks in ((1, ONE), ("CCD1", ONE), (2, TWO), (" ccd2", TWO)):
        mask = read_pixel_mask(path, classes=["CR", "BBG"], hdu=hdu)
        assert mask.dtype == np.bool_
        np.testing.assert_array_equal(mask, masks[INDEX["CR"]] | masks[INDEX["BBG"]])
    np.testing.assert_array_equal(
        read_pixel_mask(str(path), classes="SAT", hdu=2), TWO[INDEX["SAT"]]
    )


@pytest.mark.parametrize(("product_format", "compress"), EVERY_KIND)
def test_a_primary_hdu_has_its_number_wherever_its_masks_stand(
    product_format: str, compress: Compression, write_masks: WriteMasks, tmp_path: Path
) -> None:
    path = tmp_path / "a.masks.fits"
    write_masks(path, {0: ONE, 1: TWO}, format=product_format, compress=compress)
    with fits.open(path) as file:
        assert len(file) == (2 if compress is Compression.NONE else 3)
    for hdu, masks in ((0, ONE), (1, TWO)):
        mask = read_pixel_mask(path, classes=("DCL",), hdu=hdu)
        np.testing.assert_array_equal(mask, masks[INDEX["DCL"]])


@pytest.mark.parametrize(("product_format", "compress"), EVERY_KIND)
def test_a_cube_gives_a_mask_for_each_channel(
    product_format: str, compress: Compression, write_masks: WriteMasks, tmp_path: Path
) -> None:
    cube = planes(3, (4, 14, 12, 9))
    path = tmp_path / "a.masks.fits"
    write_masks(path, {0: cube}, format=product_format, compress=compress)
    mask = read_pixel_mask(path, classes=["CR", "P", "CR"])
    np.testing.assert_array_equal(mask, cube[:, INDEX["CR"]] | cube[:, INDEX["P"]])


def test_the_masks_of_one_hdu_have_its_number(write_masks: WriteMasks, tmp_path: Path) -> None:
    path = tmp_path / "a.masks3.fits"
    write_masks(path, {3: ONE}, headers={3: fits.Header({"EXTNAME": "CCD3"})})
    for hdu in (None, 3, "CCD3"):
        np.testing.assert_array_equal(
            read_pixel_mask(path, classes=["CR"], hdu=hdu), ONE[INDEX["CR"]]
        )
    with pytest.raises(PixelMaskError, match=r"no masks of HDU 0: use one of 3 \(CCD3\)"):
        read_pixel_mask(path, classes=["CR"], hdu=0)


def test_without_a_number_an_hdu_has_its_place(write_masks: WriteMasks, tmp_path: Path) -> None:
    path = tmp_path / "a.masks.fits"
    write_masks(path, {0: NOTHING, 1: ONE})
    fits.delval(path, "MMHDU", ext=1)
    np.testing.assert_array_equal(read_pixel_mask(path, classes="CR", hdu=1), ONE[0])


def test_a_gzipped_mask_file_is_read(write_masks: WriteMasks, tmp_path: Path) -> None:
    path = tmp_path / "a.masks.fits"
    write_masks(path, {0: ONE})
    packed = tmp_path / "a.masks.fits.gz"
    packed.write_bytes(gzip.compress(path.read_bytes()))
    np.testing.assert_array_equal(read_pixel_mask(packed, classes=["HP"]), ONE[INDEX["HP"]])


def test_probabilities_are_cut_at_the_thresholds_of_the_header(
    write_masks: WriteMasks, tmp_path: Path
) -> None:
    threshold = np.array([0.25, 0.75], np.float32)
    values = np.zeros((14, 2, 4))
    for index in (0, 1):
        low, high = np.nextafter(threshold[index], np.float32([0, 1]))
        values[index] = [[low, threshold[index], high, np.nan], [0, 0.3, 1, 0.8]]
    path = tmp_path / "a.masks.fits"
    write_masks(
        path,
        {0: values},
        format="probabilities",
        prior_modif=False,
        thresholds={"CR": 0.25, "HCL": 0.75},
    )
    rare = read_pixel_mask(path, classes=["CR"])
    np.testing.assert_array_equal(rare, [[False, False, True, False], [False, True, True, True]])
    often = read_pixel_mask(path, classes=["HCL"])
    np.testing.assert_array_equal(often, [[False, False, True, False], [False, False, True, True]])


@pytest.mark.parametrize("product_format", ["masks", "bitmask"])
def test_names_of_2018_are_known_where_the_file_has_them(
    product_format: str, write_masks: WriteMasks, tmp_path: Path
) -> None:
    masks = np.zeros((14, 30, 20))
    masks[INDEX["HCL"], :, 4] = 1
    masks[INDEX["HCL"], 7] = 1
    masks[INDEX["TRL"]] = ONE[0]
    path = tmp_path / "a.masks.fits"
    write_masks(path, {0: masks}, format=product_format, vocabulary="2018")
    column = np.zeros((30, 20), bool)
    column[:, 4] = True
    np.testing.assert_array_equal(read_pixel_mask(path, classes=["HC"]), column)
    np.testing.assert_array_equal(read_pixel_mask(path, classes=["STL"]), ONE[0])
    with pytest.raises(PixelMaskError, match="no masks of class 'HCL': use CR HC BC BL HP BP"):
        read_pixel_mask(path, classes=["HCL"])
    write_masks(path, {0: masks}, format=product_format)
    with pytest.raises(PixelMaskError, match="no masks of class 'STL': use CR HCL DCL HP"):
        read_pixel_mask(path, classes=["CR", "STL"])


def test_only_the_classes_in_the_file_can_be_chosen(
    write_masks: WriteMasks, tmp_path: Path
) -> None:
    path = tmp_path / "a.masks.fits"
    write_masks(path, {0: ONE}, classes=("CR", "SAT"))
    np.testing.assert_array_equal(read_pixel_mask(path, classes=["SAT"]), ONE[INDEX["SAT"]])
    with pytest.raises(
        PixelMaskError, match=r"HDU 0 in .*a\.masks\.fits has no masks of class 'TRL': use CR SAT"
    ):
        read_pixel_mask(path, classes=["TRL"])
    with pytest.raises(PixelMaskError, match=r"No class .* is asked for: name one or more of CR"):
        read_pixel_mask(path, classes=[])


def test_a_bit_mask_has_no_background(write_masks: WriteMasks, tmp_path: Path) -> None:
    path = tmp_path / "a.masks.fits"
    write_masks(path, {0: ONE}, format="bitmask")
    with pytest.raises(PixelMaskError, match=r"no bit for class 'BG' \(clean pixels are 0\)"):
        read_pixel_mask(path, classes=["BG"])


def test_probabilities_without_a_threshold_are_not_cut(
    write_masks: WriteMasks, tmp_path: Path
) -> None:
    path = tmp_path / "a.masks.fits"
    write_masks(path, {0: ONE}, format="probabilities")
    fits.delval(path, "MMTHR2")
    np.testing.assert_array_equal(read_pixel_mask(path, classes=["CR"]), ONE[0])
    with pytest.raises(PixelMaskError, match="without a threshold for class 'HCL'"):
        read_pixel_mask(path, classes=["HCL"])


def test_an_hdu_must_be_named_where_there_are_several(
    write_masks: WriteMasks, tmp_path: Path
) -> None:
    path = tmp_path / "a.masks.fits"
    twins = {number: fits.Header({"EXTNAME": "SCI"}) for number in (1, 2)}
    write_masks(path, {0: NOTHING, 1: ONE, 2: TWO}, headers=twins)
    with pytest.raises(
        PixelMaskError, match=r"masks of 2 HDUs: give hdu .* of 1 \(SCI\), 2 \(SCI\)"
    ):
        read_pixel_mask(path, classes=["CR"])
    with pytest.raises(PixelMaskError, match="masks of 2 HDUs named 'SCI': give hdu the number"):
        read_pixel_mask(path, classes=["CR"], hdu="SCI")
    for absent in (0, 3, "CCD"):
        with pytest.raises(PixelMaskError, match=f"no masks of HDU {absent!r}: use one of 1"):
            read_pixel_mask(path, classes=["CR"], hdu=absent)


def test_a_file_that_is_no_mask_file_is_refused(mosaic: Path, tmp_path: Path) -> None:
    with pytest.raises(PixelMaskError, match=r"mosaic\.fits is no mask file of maximaskd"):
        read_pixel_mask(mosaic, classes=["CR"], hdu=1)
    text = tmp_path / "notes.txt"
    text.write_text("clouds after midnight")
    (tmp_path / "empty.fits").touch()
    for path in (text, tmp_path / "empty.fits"):
        with pytest.raises(PixelMaskError, match=rf"{path.name} .*\. Name a whole mask file"):
            read_pixel_mask(path, classes=["CR"])
    for path in (tmp_path / "nothing.fits", tmp_path):
        with pytest.raises(PixelMaskError, match=rf"{path.name} cannot be read \("):
            read_pixel_mask(path, classes=["CR"])


@pytest.mark.parametrize(("product_format", "compress"), EVERY_KIND)
def test_a_mask_file_that_was_cut_short_is_refused(
    product_format: str, compress: Compression, write_masks: WriteMasks, tmp_path: Path
) -> None:
    path = tmp_path / "a.masks.fits"
    write_masks(path, {0: planes(4, (14, 99, 98))}, format=product_format, compress=compress)
    os.truncate(path, path.stat().st_size - 2 * 2880)
    with pytest.raises(PixelMaskError, match=r"a\.masks\.fits .*Name a whole mask file"):
        read_pixel_mask(path, classes=["BBG"])


def test_a_format_of_unknown_name_is_broken(write_masks: WriteMasks, tmp_path: Path) -> None:
    path = tmp_path / "a.masks.fits"
    write_masks(path, {0: ONE})
    fits.setval(path, "MMFORMAT", value="odd")
    with pytest.raises(PixelMaskError, match=r"is broken .*'odd'"):
        read_pixel_mask(path, classes=["CR"])


def test_a_share_that_went_away_may_come_back(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))

    monkeypatch.setattr(Path, "open", fail)
    with pytest.raises(PixelMaskUnavailableError, match="cannot be read now"):
        read_pixel_mask(tmp_path / "a.masks.fits", classes=["CR"])


def test_reading_a_pixel_mask_loads_no_tensorflow(write_masks: WriteMasks, tmp_path: Path) -> None:
    path = tmp_path / "a.masks.fits"
    write_masks(path, {0: ONE})
    program = (
        "import sys; from worker.pixel_mask import read_pixel_mask; "
        f"print(read_pixel_mask({str(path)!r}, classes='CR').sum(), "
        "[name for name in ('tensorflow', 'keras') if name in sys.modules])"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.split() == [str(ONE[0].sum()), "[]"]
