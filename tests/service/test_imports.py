"""The house: which package may import which, and what an import may load."""

from __future__ import annotations

import subprocess
import sys

import pytest

HEAVY = ("tensorflow", "keras", "jax", "openvino", "torch")
#: What only the commands need that do something.
OF_COMMANDS = ("pydantic", "redis", "celery", "rich.console", "numpy", "astropy")


@pytest.mark.parametrize(
    "program",
    [
        "import settings, settings.sources, settings.logs",
        "import model, model.card, model.engine, model.probability, model.tiles",
        "import worker; worker.app; import worker.tasks, worker.preload, worker.masking",
        "import watcher, watcher.cli, watcher.local, watcher.loop, watcher.submission",
    ],
)
def test_no_import_outside_a_workers_process_loads_tensorflow(program: str) -> None:
    loaded = f"import sys; print([name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run(
        [sys.executable, "-c", f"{program}; {loaded}"], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "[]"


def test_the_help_of_the_command_loads_nothing_that_it_does_not_need() -> None:
    done = subprocess.run(
        [sys.executable, "-X", "importtime", "-m", "watcher.cli", "--help"],
        capture_output=True,
        text=True,
        check=True,
    )
    assert "Mask contaminants" in done.stdout
    imported = {line.rpartition("|")[2].strip() for line in done.stderr.splitlines()}
    assert imported.isdisjoint((*HEAVY, *OF_COMMANDS))
    assert "click" in imported


def test_import_of_the_worker_package_loads_no_celery() -> None:
    program = "import sys, worker; print('celery' in sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True
    )
    assert done.stdout.strip() == "False"
