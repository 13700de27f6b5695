"""Checksums of what is written piece by piece, beside astropy's."""

from __future__ import annotations

import numpy as np
import pytest
from astropy.io import fits

from worker.checksum import Checksum


@pytest.mark.parametrize("seed", range(4))
def test_pieces_of_any_length_have_the_checksum_of_the_whole(seed: int) -> None:
    rng = np.random.default_rng(seed)
    content = rng.integers(0, 256, 5000, np.uint8)
    expected = fits.PrimaryHDU(content).add_datasum()
    checksum = Checksum()
    for piece in np.split(content, np.sort(rng.integers(0, 5000, 40))):
        checksum.add(piece.tobytes())
    assert checksum.total == int(expected)


@pytest.mark.parametrize("content", [b"", bytes(2880), b"\xff" * 2880, b"\xff\xff\xff\xfe\x01"])
def test_zeros_and_ones_have_the_checksums_of_astropy(content: bytes) -> None:
    checksum = Checksum()
    checksum.add(memoryview(content))
    hdu = fits.ImageHDU(np.frombuffer(content, np.uint8))
    assert checksum.total == int(hdu.add_datasum())


def test_the_spelling_is_that_of_astropy() -> None:
    for number in range(300):
        hdu = fits.PrimaryHDU(header=fits.Header({"NUMBER": number, "DATASUM": "7"}))
        hdu.add_checksum("when")
        expected = hdu.header["CHECKSUM"]
        hdu.header["CHECKSUM"] = "0" * 16
        checksum = Checksum(int(hdu.header["DATASUM"]))
        checksum.add(hdu.header.tostring().encode())
        assert checksum.encode() == expected
