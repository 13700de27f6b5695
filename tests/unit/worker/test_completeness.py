"""Whether the bytes of a file hold what they declare."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from worker.completeness import BLOCK, Verdict, check_complete

REAL = [
    ("decam_desx_149774_40.fits.fz", Verdict.COMPLETE, 4),
    ("lco_0m4_kb29_banzai.fits.fz", Verdict.COMPLETE, 4),
    ("twomass_m17_K.fits.gz", Verdict.COMPLETE, 1),
    ("keck_nirc2_hd1160_raw.fits", Verdict.COMPLETE, 1),
    ("amateur_m34_16bit.fit", Verdict.PADDING_MISSING, 1),
    ("vatt4k_trails_400.fits", Verdict.EXTENSIONS_MISSING, 1),
]


@pytest.mark.parametrize(("name", "verdict", "n_hdus"), REAL)
def test_real_exposures_are_what_they_are(
    name: str, verdict: Verdict, n_hdus: int, real: Callable[[str], Path]
) -> None:
    found = check_complete(real(name))
    assert (found.verdict, found.n_hdus) == (verdict, n_hdus)
    assert bool(found.reason) is (verdict is not Verdict.COMPLETE)


def test_a_file_is_complete_only_with_its_last_byte(mosaic: Path, tmp_path: Path) -> None:
    content = mosaic.read_bytes()
    assert check_complete(mosaic).verdict is Verdict.COMPLETE
    cut = tmp_path / "cut.fits"
    rng = np.random.default_rng(3)
    with fits.open(mosaic) as file:
        places = [hdu.fileinfo() for hdu in file]
    hdu_ends = [place["datLoc"] + place["datSpan"] for place in places]
    somewhere = rng.integers(1, len(content), 60).tolist()
    for length in sorted({1, 79, 80, BLOCK - 1, *somewhere, *hdu_ends[:-1]}):
        cut.write_bytes(content[:length])
        found = check_complete(cut).verdict
        # At the end of an HDU only NEXTEND tells; within the last block only padding is missing.
        expected = {Verdict.EXTENSIONS_MISSING} if length in hdu_ends else {Verdict.SHORT}
        if any(0 < end - length < BLOCK for end in hdu_ends):
            expected |= {Verdict.PADDING_MISSING, Verdict.EXTENSIONS_MISSING}
        assert found in expected, length


def test_a_file_at_full_size_that_is_still_zeros_is_no_fits(tmp_path: Path) -> None:
    path = tmp_path / "preallocated.fits"
    path.write_bytes(bytes(10 * BLOCK))
    assert check_complete(path).verdict is Verdict.NOT_FITS


def test_gzip_is_known_by_its_bytes_and_checked_to_its_end(mosaic: Path, tmp_path: Path) -> None:
    packed = tmp_path / "packed.fits"
    content = gzip.compress(mosaic.read_bytes())
    packed.write_bytes(content)
    assert check_complete(packed).verdict is Verdict.COMPLETE
    for length in (len(content) // 2, len(content) - 1):
        packed.write_bytes(content[:length])
        assert check_complete(packed).verdict is Verdict.SHORT
    damaged = bytearray(content)
    damaged[-6] ^= 1
    packed.write_bytes(damaged)
    assert check_complete(packed).verdict is Verdict.SHORT


def test_an_empty_file_is_empty(tmp_path: Path) -> None:
    path = tmp_path / "empty.fits"
    path.touch()
    assert check_complete(path).verdict is Verdict.EMPTY


@pytest.mark.parametrize("content", [b"hello", b"\0" * 5000, b"XTENSION= 'IMAGE   '"])
def test_other_bytes_are_not_fits(content: bytes, tmp_path: Path) -> None:
    path = tmp_path / "other.fits"
    path.write_bytes(content)
    assert check_complete(path).verdict is Verdict.NOT_FITS


def test_a_header_without_its_size_is_not_fits(tmp_path: Path) -> None:
    path = tmp_path / "odd.fits"
    cards = [b"SIMPLE  =                    T", b"BITPIX  =                  sixteen", b"END"]
    path.write_bytes(b"".join(card.ljust(80) for card in cards).ljust(BLOCK))
    found = check_complete(path)
    assert found.verdict is Verdict.NOT_FITS
    assert "does not declare its size (without NAXIS)" in found.reason


def test_special_records_after_the_last_hdu_do_not_matter(mosaic: Path) -> None:
    with mosaic.open("ab") as file:
        file.write(b"\xff" * 1234)
    assert check_complete(mosaic).verdict is Verdict.COMPLETE


def test_random_groups_have_their_own_length(tmp_path: Path) -> None:
    path = tmp_path / "groups.fits"
    groups = fits.GroupData(sky_groups(), bitpix=-32, parnames=["U"], pardata=[np.arange(3.0)])
    fits.GroupsHDU(groups).writeto(path)
    assert check_complete(path).verdict is Verdict.COMPLETE
    path.write_bytes(path.read_bytes()[: 2 * BLOCK - 2000])
    assert check_complete(path).verdict in {Verdict.SHORT, Verdict.PADDING_MISSING}


def sky_groups() -> np.ndarray:
    return np.ones((3, 1, 1, 1, 300, 2), np.float32)


def test_a_file_that_cannot_be_opened_raises_as_the_system_does(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        check_complete(tmp_path / "nothing.fits")


@pytest.mark.parametrize("n_more", [1, 5, 8, 9, 80])
def test_an_extension_that_has_just_been_begun_is_missed(
    n_more: int, image: Callable[..., Path]
) -> None:
    path = image(np.ones((4, 4), np.float32))
    whole = path.read_bytes()
    path.write_bytes(whole + b"XTENSION= 'IMAGE   '".ljust(80)[:n_more])
    found = check_complete(path)
    assert (found.verdict, found.n_hdus) == (Verdict.SHORT, 1)


@pytest.mark.parametrize("value", [b"'3'", b"3.", b"many"])
def test_an_announcement_that_is_no_number_announces_nothing(
    value: bytes, image: Callable[..., Path]
) -> None:
    path = image(np.ones((4, 4), np.float32), NEXTEND=3)
    assert check_complete(path).verdict is Verdict.EXTENSIONS_MISSING
    number = b"NEXTEND =" + b"3".rjust(21)
    content = path.read_bytes()
    assert number in content
    path.write_bytes(content.replace(number, b"NEXTEND =" + value.rjust(21)))
    assert check_complete(path).verdict is Verdict.COMPLETE


def test_one_byte_of_gzip_is_not_yet_anything_else(tmp_path: Path) -> None:
    path = tmp_path / "begun.fits.gz"
    path.write_bytes(gzip.compress(b"")[:1])
    assert check_complete(path).verdict is Verdict.SHORT
