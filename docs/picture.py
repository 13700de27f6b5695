"""Draws the README's picture: a folder of exposures in, `docs/masks.png` out.

Needs matplotlib beside the test environment: ``python docs/picture.py FOLDER``.
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib.pyplot as plt
import numpy as np
from astropy.io import fits
from astropy.visualization import ZScaleInterval
from matplotlib.colors import ListedColormap
from matplotlib.patches import Patch

from model.engine import Device
from model.masker import Masker

#: File, what it is, the rows and columns to show.
EXPOSURES = (
    ("hsc_trail_400.fits", "Hyper Suprime-Cam", np.s_[:, :]),
    ("vatt4k_trails_400.fits", "VATT4k", np.s_[:, :]),
    ("saao_ste3_a8280271.fits", "SAAO 1 m, STE3 (raw)", np.s_[120:520, 136:536]),
)
COLOURS = {
    "CR": "#e6194b",
    "TRL": "#4363d8",
    "SP": "#f58231",
    "DCL": "#911eb4",
    "OV": "#808000",
    "BBG": "#3cb44b",
}


def main(folder: Path) -> None:
    """Draw each exposure above its masks."""
    masker = Masker(device=Device.CPU)
    names = [mask_class.name for mask_class in masker.card.classes]
    figure, axes = plt.subplots(2, len(EXPOSURES), figsize=(9.6, 6.6), layout="constrained")
    for (file_name, title, cut), (above, below) in zip(EXPOSURES, axes.T, strict=True):
        plane = fits.getdata(folder / file_name).astype(float)
        masks = masker(plane)
        low, high = ZScaleInterval().get_limits(plane[cut])
        for axis in (above, below):
            axis.imshow(plane[cut], origin="lower", cmap="gray", vmin=low, vmax=high)
            axis.set_axis_off()
        above.set_title(title, fontsize=10)
        for name, colour in COLOURS.items():
            mask = np.ma.masked_equal(masks[names.index(name)][cut], 0)
            below.imshow(mask, origin="lower", cmap=ListedColormap([colour]), alpha=0.65)
    full_names = {c.name: c.full_name for c in masker.card.classes}
    patches = [Patch(color=colour, label=full_names[name]) for name, colour in COLOURS.items()]
    figure.legend(handles=patches, loc="outside lower center", ncols=len(patches), fontsize=8)
    figure.savefig(Path(__file__).parent / "masks.png", dpi=100)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
