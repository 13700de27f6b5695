"""What a sweep decides about each file."""

from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path

import pytest

from watcher.sweep import Action, decide, vanished
from worker.status import FileRecord, State

NOW = 1_000_000.0
CONFIGURATION = "c0ffee"


@pytest.fixture
def exposure(tmp_path: Path) -> Path:
    path = tmp_path / "a.fits"
    path.write_bytes(b"x" * 100)
    os.utime(path, ns=(5, 7_000_000_000))
    return path


@pytest.fixture
def record(exposure: Path) -> FileRecord:
    return FileRecord(
        key="k",
        path=exposure,
        root=exposure.parent,
        night="2026-11-23",
        state=State.QUEUED,
        size=100,
        mtime_ns=7_000_000_000,
        configuration=CONFIGURATION,
    )


def action(record: FileRecord | None, path: Path) -> Action:
    return decide(path, path.parent, record, configuration=CONFIGURATION, now=NOW).action


def test_an_unknown_file_is_looked_at(exposure: Path) -> None:
    assert action(None, exposure) is Action.LOOK


@pytest.mark.parametrize(
    ("state", "expected"),
    [
        (State.QUEUED, Action.NOTHING),
        (State.SKIPPED, Action.NOTHING),
        (State.QUARANTINED, Action.NOTHING),
        (State.FAILED, Action.NOTHING),
        (State.SEEN, Action.OFFER),
        (State.VANISHED, Action.OFFER),
        (State.WAITING, Action.LOOK),
        (State.INCOMPLETE, Action.LOOK),
    ],
)
def test_an_unchanged_file_follows_its_state(
    record: FileRecord, exposure: Path, state: State, expected: Action
) -> None:
    assert action(replace(record, state=state), exposure) is expected


@pytest.mark.parametrize("state", State)
def test_a_changed_file_is_looked_at_in_every_state(
    record: FileRecord, exposure: Path, state: State
) -> None:
    assert action(replace(record, state=state, size=99), exposure) is Action.LOOK
    assert action(replace(record, state=state, mtime_ns=8), exposure) is Action.LOOK


def test_another_configuration_masks_anew(record: FileRecord, exposure: Path) -> None:
    assert action(replace(record, state=State.DONE, configuration="old"), exposure) is Action.LOOK


def test_a_transient_failure_comes_back_when_it_is_due(record: FileRecord, exposure: Path) -> None:
    failed = replace(record, state=State.FAILED, error_kind="transient", retry_at=NOW)
    assert action(failed, exposure) is Action.OFFER
    assert action(replace(failed, retry_at=NOW + 1), exposure) is Action.NOTHING
    assert action(replace(failed, error_kind="permanent"), exposure) is Action.NOTHING


def test_a_running_exposure_is_free_when_its_lease_is_over(
    record: FileRecord, exposure: Path
) -> None:
    running = replace(record, state=State.RUNNING, lease_until=NOW + 1)
    assert action(running, exposure) is Action.NOTHING
    assert action(replace(running, lease_until=NOW), exposure) is Action.OFFER


def test_a_mask_that_was_removed_is_made_again(record: FileRecord, exposure: Path) -> None:
    mask = exposure.with_name("a.masks.fits")
    done = replace(record, state=State.DONE, mask=mask)
    assert action(done, exposure) is Action.MASK_AGAIN
    mask.touch()
    assert action(done, exposure) is Action.NOTHING


def test_only_unfinished_files_under_readable_roots_vanish(
    record: FileRecord, exposure: Path
) -> None:
    root = exposure.parent
    gone = replace(record, path=root / "gone.fits")
    records = [
        record,
        gone,
        replace(gone, key="done", state=State.DONE),
        replace(gone, key="running", state=State.RUNNING),
        replace(gone, key="elsewhere", root=root / "unmounted"),
    ]
    assert list(vanished(records, {exposure}, {root})) == [gone]
    assert list(vanished(records, {exposure}, {root}, {root})) == []
