"""The planes that benchmarks run on: a name or a shape in, a plane in ADU out."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy as np
from astropy.io import fits

__all__ = ["REAL_PLANES", "real_plane", "real_planes", "sky"]

#: Where the real exposures are.
FOLDER = Path(os.environ.get("REAL_EXPOSURES", Path(__file__).parents[3] / "shared" / "real"))
#: File and HDU of a plane of each instrument.
REAL_PLANES = (
    ("nickel_series/d1047.fits", 0),
    ("nickel_series/d1059.fits", 0),
    ("nickel_series/d1083.fits", 0),
    ("saao_ste3_a8280271.fits", 0),
    ("apogee_eso085_aligned.fit", 0),
    ("panoptes_dslr_bayer.fits", 0),
    ("lco_0m4_kb29_banzai.fits.fz", 1),
    ("decam_desx_149774_40.fits.fz", 1),
    ("ctio4m_spec_bias.fits.fz", 1),
    ("microobs_orion_1.fits", 0),
    ("ystar_saao_streak.fits", 0),
    ("twomass_m17_K.fits.gz", 0),
    ("amateur_m34_16bit.fit", 0),
    ("keck_nirc2_hd1160_raw.fits", 0),
    ("vatt4k_trails_400.fits", 0),
)


def sky(ny: int, nx: int | None = None) -> np.ndarray:
    """
    Make a plane of sky with stars, cosmic rays and bad columns.

    Parameters
    ----------
    ny, nx : int
        Its sides in pixels; a square if only one is given.

    Returns
    -------
    ndarray, shape (ny, nx), float32
        In ADU, the same each time.
    """
    nx = nx or ny
    rng = np.random.default_rng(1)
    plane = rng.normal(1000, 30, (ny, nx)).astype(np.float32)
    y, x = np.mgrid[-8:9, -8:9]
    star = np.exp(-(y**2 + x**2) / 8).astype(np.float32)
    n_objects = max(1, ny * nx // 20_000)
    for top, left in zip(
        rng.integers(0, ny - 17, n_objects), rng.integers(0, nx - 17, n_objects), strict=True
    ):
        plane[top : top + 17, left : left + 17] += star * rng.exponential(3000)
        plane[top + 3, left : left + rng.integers(2, 9)] += 2000
    plane[:, rng.integers(0, nx, max(1, nx // 500))] -= 400
    return plane


def real_plane(name: str, hdu: int) -> np.ndarray:
    """
    Read a plane of a real exposure.

    Parameters
    ----------
    name : str
        Its path in the folder of real exposures.
    hdu : int
        Number of the HDU.

    Returns
    -------
    ndarray, shape (ny, nx)
        As the file holds it.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        with fits.open(FOLDER / name, ignore_missing_end=True) as file:
            return file[hdu].data


def real_planes() -> Iterator[tuple[str, np.ndarray]]:
    """
    Read a plane of each instrument that is at hand.

    Yields
    ------
    tuple of str and ndarray
        Path in the folder of real exposures, and the plane.
    """
    for name, hdu in REAL_PLANES:
        if (FOLDER / name).exists():
            yield name, real_plane(name, hdu)
