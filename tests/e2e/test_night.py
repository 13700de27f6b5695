"""Files are dropped into a watched folder; masks and records appear."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from worker.status import State

Real = Callable[[str], Path]

MAXIMASKD = Path(sys.executable).with_name("maximaskd")
#: Exposures that the published tool masks for comparison: cosmic rays, dead pixels, hot columns.
COMPARED = {
    "saao_ste3_a8280271.fits": "CR DCL",
    "ystar_saao_streak.fits": "DP",
    "nickel_series/d1083.fits": "CR HCL DCL SAT",
}
COMPACT = ("CR", "HCL", "DCL", "HP", "DP", "SAT")
#: Pixels of a compact class from which its F1 says something.
ENOUGH = 100


def drop(source: Path, incoming: Path) -> str:
    """Copy a file under its final name, as other programs do, and return that name."""
    shutil.copyfile(source, incoming / source.name)
    return source.name


@pytest.fixture(scope="module")
def published(real: Real, tmp_path_factory: pytest.TempPathFactory) -> dict[str, np.ndarray]:
    """Return the masks of the published command line, by file name."""
    folder = tmp_path_factory.mktemp("published")
    names = [drop(real(name), folder) for name in COMPARED]
    (folder / "all.list").write_text("".join(f"{folder / name}\n" for name in names))
    subprocess.run(
        [Path(sys.executable).with_name("maximask"), "all.list"],
        cwd=folder,
        check=True,
        capture_output=True,
        env=os.environ | {"TF_CPP_MIN_LOG_LEVEL": "3"},
    )
    return {name: fits.getdata(folder / name.replace(".fits", ".mask.fits")) for name in names}


def f1(ours: np.ndarray, theirs: np.ndarray) -> float:
    return 2 * (ours & theirs).sum() / (ours.sum() + theirs.sum())


@pytest.mark.timeout(900)
def test_the_wide_plan_gives_the_published_masks(
    night: Any, real: Real, published: dict[str, np.ndarray]
) -> None:
    names = [drop(real(name), night.incoming) for name in COMPARED]
    records = night.ended(*names, state=State.DONE)
    for name, record, expected in zip(names, records, COMPARED.values(), strict=True):
        with fits.open(record.mask) as file:
            header, ours = file[0].header, file[0].data.astype(bool)
        theirs = published[name].astype(bool)
        classes = [header[f"MMCLS{number}"] for number in range(1, 15)]
        compared = []
        for short, our, their in zip(classes, ours, theirs, strict=True):
            assert (our == their).mean() >= 0.995, (name, short)
            if short in COMPACT and their.sum() >= ENOUGH:
                compared.append(short)
                assert f1(our, their) >= 0.98, (name, short)
        assert " ".join(compared) == expected


@pytest.mark.timeout(900)
def test_the_reference_plan_gives_the_published_masks(
    real: Real, published: dict[str, np.ndarray], tmp_path: Path
) -> None:
    # In a process of its own: with OpenVINO beside TensorFlow, this one could fork no more.
    words = ["mask", "cpu", "--tiles", "reference", "--output-dir", str(tmp_path)]
    paths = [real(name) for name in COMPARED]
    subprocess.run([MAXIMASKD, *words, *paths], check=True, capture_output=True)
    for path in paths:
        ours = fits.getdata(tmp_path / f"{path.stem}.masks.fits").astype(bool)
        agreement = (ours == published[path.name].astype(bool)).mean((1, 2))
        assert agreement.min() >= 0.99999, path.name


def test_a_multi_extension_and_a_compressed_exposure_are_masked(night: Any, real: Real) -> None:
    names = [
        drop(real("lco_0m4_kb29_banzai.fits.fz"), night.incoming),
        drop(real("twomass_m17_K.fits.gz"), night.incoming),
    ]
    night.ended(*names, state=State.DONE)
    rows = night.json()
    for name, n_hdus in zip(names, (2, 1), strict=True):
        row = rows[name]
        assert row["hdus_done"] == row["hdus"] == n_hdus
        assert row["seconds"] > 0
        assert row["seen_at"] <= row["queued_at"] <= row["started_at"] <= row["finished_at"]
        assert 0 < row["fractions"]["BG"] < 1
        with fits.open(row["mask"], checksum=True) as masks:
            assert masks[0].header["MMKEY"] == row["key"]
    table = night.run("status").stdout
    assert "lco_0m4_kb29_banzai.fits.fz" in table
    assert "done" in table


def small_exposure(path: Path, seed: int) -> None:
    rng = np.random.default_rng(seed)
    fits.writeto(path, rng.normal(500, 12, (24, 20)).astype(np.float32))


@pytest.mark.timeout(900)
def test_two_hundred_files_at_once_are_all_masked_exactly_once(night: Any) -> None:
    folder = night.incoming / "burst"
    folder.mkdir()
    names = [f"burst/{number:03}.fits" for number in range(200)]
    for number, name in enumerate(names):
        small_exposure(night.incoming / name, number)
    records = night.ended(*names, state=State.DONE)
    assert {record.attempts for record in records} == {1}
    events = [event for event in night.status.events(count=100_000) if "/burst/" in event.path]
    done = [event.path for event in events if event.event == "done"]
    assert sorted(done) == sorted(str(night.incoming / name) for name in names)
    assert len([event for event in events if event.event == "running"]) == len(names)
    assert len(list(folder.glob("*.masks.fits"))) == len(names)
    assert not list(folder.glob(".*"))


def test_a_changed_file_is_masked_again_under_a_new_key(night: Any) -> None:
    path = night.incoming / "changing.fits"
    small_exposure(path, 1)
    (first,) = night.ended("changing.fits", state=State.DONE)
    path.unlink()
    small_exposure(path, 2)

    def masked_again() -> bool:
        record = night.record("changing.fits")
        return record is not None and record.key != first.key and record.state is State.DONE

    night.wait_for(masked_again)
    second = night.record("changing.fits")
    assert fits.getval(second.mask, "MMKEY") == second.key
    assert night.status.get(first.key) is None


def test_a_mask_that_is_removed_is_made_again(night: Any) -> None:
    small_exposure(night.incoming / "remove.fits", 3)
    (record,) = night.ended("remove.fits", state=State.DONE)
    record.mask.unlink()
    night.wait_for(record.mask.exists)


def test_a_file_renamed_to_its_final_name_is_masked(night: Any) -> None:
    hidden = night.incoming / ".renamed.fits.aB3xYz"
    small_exposure(night.incoming / "plain.part", 4)
    (night.incoming / "plain.part").rename(hidden)
    hidden.rename(night.incoming / "renamed.fits")
    night.ended("renamed.fits", state=State.DONE)
    assert night.status.current(hidden) is None
