"""The installed package: everything that it needs is in the wheel, nothing that it does not."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]
PARTS = ("settings", "model", "worker", "watcher", "pyproject.toml", "README.md", "LICENSE")


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Build the wheel from a copy of the sources, and return where it is unpacked."""
    source = tmp_path_factory.mktemp("source")
    for name in PARTS:
        path = REPOSITORY / name
        if path.is_dir():
            shutil.copytree(path, source / name, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(path, source)
    subprocess.run(
        [sys.executable, "-m", "pip", "wheel", "--no-deps", "--no-build-isolation", "-w", ".", "."],
        cwd=source,
        check=True,
        capture_output=True,
    )
    (wheel,) = source.glob("*.whl")
    folder = tmp_path_factory.mktemp("installed")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder)
    return folder


def test_the_wheel_holds_the_preset_with_its_notice(installed: Path) -> None:
    preset = installed / "model" / "presets" / "maximask-1.4"
    assert sorted(path.name for path in preset.iterdir()) == ["LICENSE", "card.toml", "weights.npz"]
    packages = {path.parts[-2] for path in installed.glob("*/__init__.py")}
    assert packages == {"settings", "model", "worker", "watcher"}


def test_celery_finds_the_application_of_the_installed_package(
    installed: Path, tmp_path: Path
) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "celery", "-A", "worker", "report"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": str(installed), "MAXIMASKD_REDIS_URL": "redis://none:1/0"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert "task_acks_late: True" in done.stdout
    assert "@none:1/0'" in done.stdout
