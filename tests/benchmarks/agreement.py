"""Reports how far the wide plan agrees with the reference plan on real exposures: `make agreement`.

The reference plan repeats the published package tile by tile, and the tests show that its masks are
the package's; it stands for it here because it is quicker. Shown are classes with at least 100
pixels in the reference: part of all pixels that agree, and F1.
"""

from __future__ import annotations

import os
import sys
import warnings
from pathlib import Path

from astropy.io import fits

from model.engine import Device
from model.masker import Masker
from model.tiles import TilePlan

#: File and HDU of a plane of each instrument.
PLANES = (
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
COMPACT = ("CR", "HCL", "DCL", "HP", "DP", "SAT")
ENOUGH = 100


def main(folder: Path) -> None:
    """Print a line a plane, and the lowest figures of all."""
    warnings.simplefilter("ignore")
    masker = Masker(device=Device.CPU)
    agreements, compact = [], []
    for name, hdu in PLANES:
        with fits.open(folder / name, ignore_missing_end=True) as file:
            plane = file[hdu].data
        wide, reference = (masker(plane, tiles=plan).astype(bool) for plan in TilePlan)
        shown = []
        for mask_class, ours, theirs in zip(masker.card.classes, wide, reference, strict=True):
            agreement = float((ours == theirs).mean())
            agreements.append(agreement)
            n_pixels = int(theirs.sum())
            if n_pixels >= ENOUGH:
                f1 = 2 * (ours & theirs).sum() / (ours.sum() + n_pixels)
                compact += [f1] if mask_class.name in COMPACT else []
                shown.append(f"{mask_class.name} {n_pixels} px {100 * agreement:.2f} % F1 {f1:.3f}")
        print(f"{name}: {'; '.join(shown)}")
    print(f"lowest agreement of all classes and planes: {100 * min(agreements):.2f} %")
    print(f"lowest F1 of {' '.join(COMPACT)}, {ENOUGH} pixels or more: {min(compact):.3f}")


if __name__ == "__main__":
    main(Path(sys.argv[1] if len(sys.argv) > 1 else os.environ["REAL_EXPOSURES"]))
