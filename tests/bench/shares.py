"""Measures where the time of an exposure goes: one exposure in, seconds by kind of work out."""

from __future__ import annotations

import cProfile
import pstats
import tempfile
from pathlib import Path

from astropy.io import fits

from model.engine import Device
from model.masker import Masker
from model.openvino_engine import OpenVinoEngine
from model.probability import make_recipe
from model.tiles import TilePlan
from settings.schema import MaskSettings
from tests.bench.planes import sky
from tests.bench.report import Table
from worker.masking import Job, mask_exposure

__all__ = ["measure"]

SIDE = 4096
#: Functions whose whole time, with all that they call, is one kind of work: file and name.
KINDS = {
    "network": (("openvino_engine.py", "__call__"),),
    "reading and its checksum": (
        ("exposure.py", "__init__"),
        ("exposure.py", "planes"),
        ("hashlib.py", "file_digest"),
    ),
    "background and normalisation": (
        ("normalise.py", "normalise_plane"),
        ("background.py", "normalise"),
    ),
    "thresholds": (("planes.py", "put"), ("planes.py", "finish"), ("planes.py", "count")),
    "writing": (("product.py", "append_masks"), ("product.py", "publish")),
}


def measure() -> Table:
    """
    Mask one exposure under a profiler.

    Returns
    -------
    Table
        Seconds and shares; what is left over is the rest.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.fits"
        fits.PrimaryHDU(sky(SIDE).astype("int16")).writeto(path)
        masker = Masker(device=Device.CPU)
        target = path.with_name("a.masks.fits")
        recipe = make_recipe(masker.card, MaskSettings())
        job = Job(path, None, target, recipe, TilePlan.WIDE, "key", "configuration", {}, 1)
        mask_exposure(job, masker)
        profile = cProfile.Profile()
        profile.runcall(mask_exposure, job, masker)
    stats = pstats.Stats(profile).stats  # type: ignore[attr-defined] # not in the types
    spent = {
        kind: sum(
            cumulative
            for (file, _line, name), (_, _, _, cumulative, _) in stats.items()
            if (Path(file).name, name) in functions
        )
        for kind, functions in KINDS.items()
    }
    total = max(cumulative for _, _, _, cumulative, _ in stats.values())
    spent["the rest"] = total - sum(spent.values())
    without = 1 - spent["network"] / total
    return Table(
        title=f"Where the time of an exposure goes, {SIDE} x {SIDE}",
        note=f"int16, 14 masks, `wide`, {OpenVinoEngine.__name__}; everything but the network: "
        f"{100 * without:.1f} %.",
        head=["", "seconds", "share"],
        rows=[
            [kind, f"{seconds:.2f}", f"{100 * seconds / total:.1f} %"]
            for kind, seconds in spent.items()
        ],
        figures={"shares: 1 / part without the network": 1 / without},
    )
