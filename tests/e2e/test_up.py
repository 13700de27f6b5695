"""`maximaskd up`: the one-machine mode in a terminal, from its start to Ctrl-C."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pexpect
import pytest
from astropy.io import fits

MAXIMASKD = Path(sys.executable).with_name("maximaskd")
DEADLINE_S = 180.0


@dataclass(frozen=True)
class Machine:
    """An amateur's laptop: a folder, a state directory, a command."""

    incoming: Path
    state: Path
    environment: dict[str, str]

    def start(self, *words: str) -> pexpect.spawn:
        """Run `maximaskd up` in a terminal of 40 lines."""
        return pexpect.spawn(
            str(MAXIMASKD),
            ["up", str(self.incoming), *words],
            env=self.environment,
            dimensions=(40, 140),
            timeout=DEADLINE_S,
            encoding="utf-8",
            codec_errors="replace",
        )

    def status(self) -> dict[str, dict]:
        """Return what `maximaskd status --json` says, by file name."""
        done = subprocess.run(
            [MAXIMASKD, "status", "--json"],
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
        )
        rows = json.loads(done.stdout)["files"] if done.returncode == 0 else []
        return {Path(row["path"]).name: row for row in rows}

    def processes(self) -> list[str]:
        """Return the command lines of the processes that know of the state directory."""
        found = []
        for folder in Path("/proc").iterdir():
            if not folder.name.isdecimal() or int(folder.name) == os.getpid():
                continue
            try:
                about = (folder / "environ").read_bytes() + (folder / "cmdline").read_bytes()
                command = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode()
            except OSError:
                continue
            if os.fsencode(self.state) in about and command:
                found.append(command)
        return found

    def wait_for_states(self, **states: str) -> dict[str, dict]:
        """Wait until files, named without their suffix, are in these states."""
        end = time.monotonic() + DEADLINE_S
        while time.monotonic() < end:
            rows = self.status()
            by_stem = {name.partition(".")[0]: row["state"] for name, row in rows.items()}
            if all(by_stem.get(stem) == state for stem, state in states.items()):
                return rows
            time.sleep(0.2)
        raise AssertionError(f"{states} not within {DEADLINE_S} s: {rows}")


@pytest.fixture
def machine() -> Iterator[Machine]:
    with tempfile.TemporaryDirectory(prefix="up-") as folder:
        incoming, state = Path(folder) / "incoming", Path(folder) / "state"
        incoming.mkdir()
        kept = {
            name: text for name, text in os.environ.items() if not name.startswith("MAXIMASKD_")
        }
        environment = kept | {
            "MAXIMASKD_STATE_DIR": str(state),
            "MAXIMASKD_ARRIVAL_QUIET_S": "0.5",
            "MAXIMASKD_WATCH_SWEEP_S": "5",
            "TF_CPP_MIN_LOG_LEVEL": "3",
        }
        yield Machine(incoming, state, environment)


def stopped(up: pexpect.spawn) -> int:
    """Press Ctrl-C and return the exit status."""
    up.sendintr()
    up.expect(pexpect.EOF)
    up.close()
    assert up.signalstatus is None
    return up.exitstatus


def small_exposure(path: Path, side: int = 60) -> None:
    fits.writeto(path, np.random.default_rng(side).normal(500, 12, (side, side)).astype("f4"))


@pytest.mark.timeout(900)
def test_a_night_on_one_machine(machine: Machine, real: Callable[[str], Path]) -> None:
    up = machine.start()
    up.expect("maximaskd watches")
    mosaic = real("lco_0m4_kb29_banzai.fits.fz")
    shutil.copyfile(mosaic, machine.incoming / "packed.fits.fz")
    with fits.open(mosaic) as file:
        file.writeto(machine.incoming / "mosaic.fits", output_verify="silentfix")
    up.expect("HDU [01] of 2")
    rows = machine.wait_for_states(packed="done", mosaic="done")
    up.expect("2 done")
    for name in ("packed.fits.fz", "mosaic.fits"):
        assert Path(rows[name]["mask"]).exists()
        assert rows[name]["fractions"]["CR"] > 1e-4
        assert rows[name]["started_at"] < rows[name]["finished_at"]
    assert stopped(up) == 0
    assert machine.processes() == []
    assert "Traceback" not in (machine.state / "watcher.log").read_text()

    # The records and the queue outlive the night; nothing is masked again.
    masks = {path: path.stat().st_mtime_ns for path in machine.incoming.glob("*.masks.fits")}
    up = machine.start()
    up.expect("2 done")
    small_exposure(machine.incoming / "new.fits")
    rows = machine.wait_for_states(packed="done", mosaic="done", new="done")
    assert {row["attempts"] for row in rows.values()} == {1}
    assert all(path.stat().st_mtime_ns == before for path, before in masks.items())
    assert stopped(up) == 0


@pytest.mark.timeout(900)
def test_ctrl_c_hands_the_running_exposure_back_and_the_next_start_goes_on(
    machine: Machine,
) -> None:
    machine.environment["MAXIMASKD_WORKER_DRAIN_S"] = "0.5"
    up = machine.start()
    up.expect("maximaskd watches")
    small_exposure(machine.incoming / "large.fits", 2500)
    machine.wait_for_states(large="running")
    assert stopped(up) == 0
    assert machine.processes() == []
    assert not list(machine.incoming.glob(".*"))

    machine.environment["MAXIMASKD_WORKER_DRAIN_S"] = "30"
    up = machine.start()
    rows = machine.wait_for_states(large="done")
    assert rows["large.fits"]["attempts"] == 1
    assert stopped(up) == 0


@pytest.mark.timeout(300)
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGHUP])
def test_other_signals_end_it_as_ctrl_c_does(machine: Machine, number: int) -> None:
    process = subprocess.Popen(
        [MAXIMASKD, "up", machine.incoming],
        env=machine.environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    small_exposure(machine.incoming / "a.fits")
    machine.wait_for_states(a="done")
    process.send_signal(number)
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    assert "queued path=" in output
    assert "Traceback" not in output
    assert machine.processes() == []


@pytest.mark.timeout(300)
def test_a_worker_that_cannot_work_ends_it_with_its_reason(machine: Machine) -> None:
    machine.environment["MAXIMASKD_WORKER_DEVICE"] = "gpu"
    done = subprocess.run(
        [MAXIMASKD, "up", machine.incoming],
        env=machine.environment | {"CUDA_VISIBLE_DEVICES": "-1"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 1
    assert "no GPU is visible" in done.stderr
    assert "Traceback" not in done.stderr
    assert machine.processes() == []


def test_a_second_one_with_the_same_state_is_refused(machine: Machine) -> None:
    up = machine.start()
    up.expect("maximaskd watches")
    second = subprocess.run(
        [MAXIMASKD, "up", machine.incoming],
        env=machine.environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert second.returncode == 1
    assert "Another `maximaskd up` uses the state directory" in second.stderr
    assert stopped(up) == 0


@pytest.mark.parametrize(
    ("variables", "words", "code", "sentence"),
    [
        ({}, ["up"], 2, "No directory to watch"),
        ({}, ["watch"], 2, "No directory to watch"),
        ({"MAXIMASKD_STATE_DIR": "with a space"}, ["up", "."], 1, "has a space"),
        ({"MAXIMASKD_STATE_DIR": "long" * 30}, ["up", "."], 1, "too long a name"),
        ({"MAXIMASKD_STATE_DIR": "/dev/null/state"}, ["up", "."], 1, "Not a directory"),
        ({"MAXIMASKD_MASK_PRESET": "none"}, ["up", "."], 1, "There is no preset 'none'"),
        ({"MAXIMASKD_MASK_CLASSES": '["XX"]'}, ["up", "."], 1, "no class of preset"),
        ({"MAXIMASKD_STATE_DIRR": "x"}, ["status"], 1, "did you mean MAXIMASKD_STATE_DIR?"),
        ({"MAXIMASKD_REDIS_URL": "redis://:s3cret@127.0.0.1:1/0"}, ["status"], 4, "No Redis"),
        ({}, ["status"], 4, "No Redis or Valkey server at unix://"),
    ],
)
def test_a_wrong_start_is_refused_in_one_sentence(
    machine: Machine, variables: dict[str, str], words: list[str], code: int, sentence: str
) -> None:
    done = subprocess.run(
        [MAXIMASKD, *words],
        env=machine.environment | variables,
        capture_output=True,
        text=True,
        check=False,
        cwd=machine.incoming,
        timeout=60,
    )
    assert done.returncode == code
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr
    assert "s3cret" not in done.stderr
