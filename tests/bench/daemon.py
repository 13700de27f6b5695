"""Measures the daemon's own cost: n tiny exposures in, milliseconds an exposure out."""

from __future__ import annotations

import argparse
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from statistics import median

import numpy as np
from astropy.io import fits

from tests.bench.clock import seconds
from tests.bench.report import Table
from tests.bench.system import System, environment, start_system
from tests.bench.throughput import N_DROPS, drop_at_once, drop_singly, waiting_ms
from tests.bench.tiny import blank_exposure, noisy_exposure, write_tiny_preset
from worker.record import State

__all__ = ["measure"]

#: Seconds that a command and a start may take.
MOST_COMMAND_S, MOST_START_S = 0.4, 4.0
#: Runs of a command and of a start, of which the median counts; passes through the tiny network.
N_RUNS, N_STARTS, N_PASSES = 7, 3, 50
#: One masked exposure for so many skipped ones: they take longer.
SKIPPED_PER_MASKED = 10

_LOAD = "from model.masker import Masker; Masker()"


def measure(n_files: int = 10_000) -> Table:
    """
    Run the real parts on exposures that cost the network nothing.

    Parameters
    ----------
    n_files : int, optional
        Exposures.

    Returns
    -------
    Table
        Milliseconds an exposure, by part; seconds that starting takes.
    """
    n_masked = max(n_files // SKIPPED_PER_MASKED, 1)
    quiet = {"MAXIMASKD_ARRIVAL_QUIET_S": "0"}
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        home = Path(folder)
        with start_system(home / "skipped", **quiet) as system:
            worker_s = system.worker_s
            skipped_alone = drop_singly(system, blank_exposure(), State.SKIPPED)
            help_s, status_s = _command_s(system, "--help"), _command_s(system, "status")
            skipped = drop_at_once(system, blank_exposure(), n_files, State.SKIPPED)
            long_status_s = _command_s(system, "status")
        preset = home / "tiny"
        write_tiny_preset(preset)
        with start_system(home / "masked", MAXIMASKD_MASK_PRESET=str(preset), **quiet) as system:
            masked_alone = drop_singly(system, noisy_exposure(), State.DONE)
            masked = drop_at_once(system, noisy_exposure(), n_masked, State.DONE)
        network_cpu_ms = _network_cpu_ms(preset, home)
    load_s = median(seconds(_load) for _ in range(N_STARTS))
    command, start = f"<= {MOST_COMMAND_S:g} s", f"<= {MOST_START_S:g} s"
    alone = "from claim to record, queue empty, median"
    return Table(
        title="The daemon's own cost",
        note="Exposures of 16 x 16 pixels are moved into one watched directory at once; server, "
        "watcher and worker are processes of their own, as in `maximaskd up`, and the quiet time "
        "is 0. Skipped exposures are blank: they take the whole way but for the network and the "
        "publication. Masked ones pass through a network of one filter a layer; the "
        f"{network_cpu_ms:.1f} ms of processor time that it takes with the background, measured "
        "alone, are subtracted where it says so. What else the machine does counts in all figures, "
        "least in those of processor time.",
        head=["", "measured", "reach"],
        rows=[
            *skipped.rows("skipped"),
            [f"skipped: {alone}", f"{waiting_ms(skipped_alone):.0f} ms", ""],
            *masked.rows("masked", network_cpu_ms=network_cpu_ms),
            [f"masked: {alone}", f"{waiting_ms(masked_alone):.0f} ms", ""],
            ["`maximaskd --help`", f"{help_s:.2f} s", command],
            [f"`maximaskd status`, {N_DROPS} records", f"{status_s:.2f} s", command],
            [f"`maximaskd status`, {n_files + N_DROPS} records", f"{long_status_s:.2f} s", ""],
            ["a worker, from its start until it is warm", f"{worker_s:.1f} s", start],
            ["Python, from its start until a `Masker` is warm", f"{load_s:.1f} s", start],
        ],
        figures={
            "daemon: skipped exposures per s": n_files / skipped.total_s,
            "daemon: skipped exposures per s of processor": n_files / sum(skipped.cpu_s.values()),
            "daemon: masked exposures per s": n_masked / masked.total_s,
            "daemon: help commands per s": 1 / help_s,
            "daemon: status commands per s": 1 / status_s,
            "daemon: worker starts per s": 1 / worker_s,
            "daemon: masker starts per s": 1 / load_s,
        },
    )


def _command_s(system: System, *words: str) -> float:
    def run() -> None:
        subprocess.run(
            [sys.executable, "-m", "watcher.cli", *words],
            env=system.variables,
            check=True,
            capture_output=True,
        )

    return median(seconds(run) for _ in range(N_RUNS))


def _load() -> None:
    subprocess.run([sys.executable, "-c", _LOAD], env=environment(), check=True)


def _network_cpu_ms(preset: Path, folder: Path) -> float:
    """Return the processor time of what is left of the network, all threads of this process."""
    from model.engine import Device
    from model.masker import Masker

    masker = Masker(str(preset), device=Device.CPU)
    path = folder / "plane.fits"
    path.write_bytes(noisy_exposure())
    plane = fits.getdata(path).astype(np.float32)
    started = time.process_time()
    for _ in range(N_PASSES):
        masker(plane)
    return 1e3 * (time.process_time() - started) / N_PASSES


if __name__ == "__main__":
    parser = argparse.ArgumentParser(prog="python -m tests.bench.daemon", description=__doc__)
    parser.add_argument("n_files", nargs="?", type=int, default=10_000, help="exposures")
    print(measure(parser.parse_args().n_files).markdown())
