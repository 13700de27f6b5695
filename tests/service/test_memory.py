"""How much memory the masking of a large plane takes, beside that of the network."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

SIDE = 4000
#: Bytes a pixel: 2 of masks, and what does not grow with the plane. Masks of a byte a class are 14.
MOST_BYTES = 8
PROGRAM = """
import re, sys
from pathlib import Path
import numpy as np
import model.masker
from model.engine import Device, Precision
from model.probability import make_recipe
from model.tiles import TilePlan
from settings.schema import MaskSettings
from worker.masking import Job, mask_exposure
from worker.product import mask_path


class NoNetwork:
    device, name, precision = Device.CPU, "none", Precision.FLOAT32

    def __call__(self, planes, rows, columns):
        shape = len(planes), 14, rows.n_decoded, columns.n_decoded
        return np.broadcast_to(np.float32(0.5), shape)


def peak():
    # The kernel's own count of this program: that of getrusage begins with what its parent had.
    return 1024 * int(re.search(r"VmHWM:\\s+(\\d+) kB", Path("/proc/self/status").read_text())[1])


model.masker.make_engine = lambda *_, **__: NoNetwork()
masker = model.masker.Masker()
path = Path(sys.argv[1])
job = Job(
    path=path, hdu=None, target=mask_path(path), recipe=make_recipe(masker.card, MaskSettings()),
    tiles=TilePlan.WIDE, key="0" * 32, configuration="0" * 16, versions={}, attempt=1,
)
before = peak()
print(mask_exposure(job, masker).mpix, peak() - before)
"""


@pytest.mark.parametrize("dtype", ["int16", "float32"])
def test_neither_the_plane_nor_its_masks_are_held_in_memory(dtype: str, tmp_path: Path) -> None:
    path = tmp_path / "a.fits"
    row = np.random.default_rng(1).normal(1000, 30, SIDE).astype(dtype)
    fits.writeto(path, np.tile(row, (SIDE, 1)))
    answer = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(path)], capture_output=True, text=True, check=True
    )
    mpix, growth = map(float, answer.stdout.split())
    assert mpix == SIDE * SIDE / 1e6
    assert growth < MOST_BYTES * SIDE * SIDE
