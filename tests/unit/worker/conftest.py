"""Exposures of every kind, made for the tests of the FITS side."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.wcs import WCS


def sky(shape: tuple[int, ...], seed: int = 1) -> np.ndarray:
    """Return noise around 1000 ADU, float32."""
    return np.random.default_rng(seed).normal(1000, 30, shape).astype(np.float32)


def celestial(crval: float = 150.0) -> fits.Header:
    """Return a header with a tangential projection."""
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval = [crval, 2.0]
    wcs.wcs.crpix = [20.5, 30.5]
    wcs.wcs.cd = [[-1e-4, 1e-6], [1e-6, 1e-4]]
    return wcs.to_header()


@pytest.fixture
def mosaic(tmp_path: Path) -> Path:
    """Return an exposure with an empty primary HDU, two images and a table between them."""
    primary = fits.PrimaryHDU()
    primary.header["INSTRUME"] = "TestCam"
    primary.header["NEXTEND"] = 3
    table = fits.BinTableHDU.from_columns(
        [fits.Column("NAME", "5A", array=["alpha", "beta"])], name="CAT"
    )
    path = tmp_path / "mosaic.fits"
    fits.HDUList(
        [
            primary,
            fits.ImageHDU(sky((60, 40)), header=celestial(), name="CCD1"),
            table,
            fits.ImageHDU(sky((50, 70), 2).astype(np.uint16), header=celestial(151), name="CCD2"),
        ]
    ).writeto(path)
    return path


@pytest.fixture
def image(tmp_path: Path) -> Callable[..., Path]:
    """Return a function that writes one image as the primary HDU."""

    def write(data: np.ndarray | None, name: str = "image.fits", **cards: object) -> Path:
        path = tmp_path / name
        fits.PrimaryHDU(data, header=fits.Header(cards)).writeto(path)
        return path

    return write
