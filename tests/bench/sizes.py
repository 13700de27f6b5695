"""Measures cost against plane size and batch: sizes in, rates and peak memory out.

Each plane is masked in a process of its own, from its file to the published mask file, so that the
peak memory is that of a worker that meets such a plane.
"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path

from astropy.io import fits

from tests.bench.planes import sky
from tests.bench.report import Table

__all__ = ["measure_batches", "measure_sizes"]

SIDES = (512, 1024, 2048, 4096, 8192, 10240)
BATCHES = (1, 2, 4, 8, 16)
BATCH_SIDE = 4096
PROGRAM = """
import json, re, sys, time
from pathlib import Path
from model.engine import Device
from model.masker import Masker
from model.probability import make_recipe
from model.tiles import TilePlan
from settings.schema import MaskSettings
from worker.masking import Job, mask_exposure
path, batch_size = Path(sys.argv[1]), int(sys.argv[2])
masker = Masker(device=Device.CPU, batch_size=batch_size)
job = Job(path, None, path.with_name("a.masks.fits"), make_recipe(masker.card, MaskSettings()),
          TilePlan.WIDE, "key", "configuration", {}, 1)
started = time.perf_counter()
mask_exposure(job, masker)
seconds = time.perf_counter() - started
# The kernel's own count of this program: that of getrusage begins with what its parent had.
peak = re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1]
print(json.dumps([seconds, int(peak) / 1e6]))
"""


def measure_sizes() -> Table:
    """
    Mask planes of all sizes, of 16-bit integers, in fresh processes.

    Returns
    -------
    Table
        Seconds, rate and peak memory by size.
    """
    rows, figures = [], {}
    for side in SIDES:
        seconds, peak = _mask(side, 8)
        mpix = side * side / 1e6
        rows.append([f"{side} x {side}", f"{mpix:.2f}", f"{seconds:.2f}", f"{mpix / seconds:.3f}"])
        rows[-1].append(f"{peak:.2f}")
        figures[f"size: {side} x {side}, 1 / GB of peak memory"] = 1 / peak
    return Table(
        title="From file to published mask file, by plane size",
        note="A fresh process for each, model loaded before; int16 planes, 14 masks, `wide`.",
        head=["plane", "Mpix", "seconds", "Mpix/s", "peak memory, GB"],
        rows=rows,
        figures=figures,
    )


def measure_batches() -> Table:
    """
    Mask one plane with all batch sizes, in fresh processes.

    Returns
    -------
    Table
        Rate and peak memory by batch size.
    """
    rows = []
    for batch_size in BATCHES:
        seconds, peak = _mask(BATCH_SIDE, batch_size)
        rate = BATCH_SIDE**2 / 1e6 / seconds
        rows.append([str(batch_size), f"{rate:.3f}", f"{peak:.2f}"])
    return Table(
        title=f"By batch size, {BATCH_SIDE} x {BATCH_SIDE}",
        head=["batch size", "Mpix/s", "peak memory, GB"],
        rows=rows,
    )


def _mask(side: int, batch_size: int) -> tuple[float, float]:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.fits"
        fits.PrimaryHDU(sky(side).astype("int16")).writeto(path)
        answer = subprocess.run(
            [sys.executable, "-c", PROGRAM, str(path), str(batch_size)],
            capture_output=True,
            text=True,
            check=True,
        )
    seconds, peak = json.loads(answer.stdout.splitlines()[-1])
    return seconds, peak
