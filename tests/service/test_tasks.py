"""The task: who may work on an exposure, and how every end of it is recorded."""

from __future__ import annotations

import dataclasses
import os
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import billiard.common
import numpy as np
import pytest
import redis
from astropy.io import fits

from model.engine import Device
from model.tracking import Tracker
from settings.errors import TransientError
from settings.sources import Settings, load
from worker import preload, tasks
from worker.identity import exposure_key
from worker.lease import Lease, is_dead_here, owner_name
from worker.preload import Preloaded, here, released, wants_gpu
from worker.record import FileRecord
from worker.status import Outcome, State, Status

KEY = "0123456789abcdef0123456789abcdef"


@pytest.fixture(scope="module")
def network() -> Preloaded:
    """Return what a worker's process loads, once for all tests."""
    return Preloaded.load(device=Device.CPU, worker_pid=os.getppid())


@pytest.fixture
def loaded(network: Preloaded, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> Preloaded:
    """Put a worker's process into this one, on an empty server."""
    loaded = dataclasses.replace(network, status=Status(client))
    monkeypatch.setattr(preload._Process, "preloaded", loaded)
    return loaded


def configured(loaded: Preloaded, monkeypatch: pytest.MonkeyPatch, **worker: object) -> Preloaded:
    """Give the worker other settings."""
    settings: Settings = load(flags={"worker": worker})
    changed = dataclasses.replace(loaded, settings=settings)
    monkeypatch.setattr(preload._Process, "preloaded", changed)
    return changed


@pytest.fixture
def exposure(tmp_path: Path) -> Path:
    path = tmp_path / "a.fits"
    fits.writeto(path, np.random.default_rng(1).normal(90, 4, (40, 50)).astype(np.float32))
    return path


def claim(loaded: Preloaded, path: Path, key: str = KEY) -> None:
    fields = {"path": path, "root": path.parent, "night": "2026-11-23"}
    assert loaded.status.claim(key, fields)


def key_of(loaded: Preloaded, path: Path, **options: Any) -> str:
    """Return the key of a submission."""
    stat = path.stat()
    return exposure_key(
        path.parent,
        path,
        size=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        configuration=loaded.configurations.of(path, path.parent).hash,
        **options,
    )


def run(loaded: Preloaded, path: Path, key: str = KEY, **options: object) -> FileRecord:
    """Run the task as a worker does, and return the record."""
    configuration = loaded.configurations.of(path, path.parent).hash
    wishes = {"root": str(path.parent), "configuration": configuration, "hdu": None}
    tasks.mask_exposure_task.run(str(path), key, wishes | options)
    record = loaded.status.get(key)
    assert record is not None
    return record


def test_a_masked_exposure_is_done(loaded: Preloaded, exposure: Path) -> None:
    claim(loaded, exposure)
    record = run(loaded, exposure)
    assert record.state is State.DONE
    assert record.attempts == 1
    assert record.mask == exposure.with_name("a.masks.fits")
    assert (record.hdus, record.hdus_done) == (1, 1)
    assert record.mpix == record.mpix_done == 0.002
    assert record.device == "cpu"
    assert record.owner == loaded.owner
    assert fits.getval(record.mask, "MMKEY") == KEY
    assert fits.getval(record.mask, "MMTRY") == 1


def test_the_engine_of_the_settings_runs_the_network_and_stands_in_record_and_header(
    loaded: Preloaded, exposure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MAXIMASKD_WORKER_ENGINE", "keras")
    keras = Preloaded.load(device=Device.CPU, worker_pid=1)
    keras = dataclasses.replace(keras, status=loaded.status)
    for process, key, engine in ((keras, KEY, "tensorflow 2."), (loaded, KEY[::-1], "openvino 20")):
        monkeypatch.setattr(preload._Process, "preloaded", process)
        claim(process, exposure, key)
        record = run(process, exposure, key)
        assert record.engine.startswith(engine)
        assert fits.getval(record.mask, "MMENGINE") == record.engine


def test_a_tracking_error_is_told_in_record_event_and_header(
    loaded: Preloaded, exposure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plane = np.random.default_rng(1).normal(90, 4, (400, 410)).astype(np.float32)
    fits.writeto(exposure, plane, overwrite=True)
    loaded = dataclasses.replace(loaded, tracker=Tracker())
    monkeypatch.setattr(preload._Process, "preloaded", loaded)
    claim(loaded, exposure)
    record = run(loaded, exposure)
    assert record.track is not None
    assert 0 <= record.track <= 1
    assert fits.getval(record.mask, "MMTRACK") == pytest.approx(record.track, abs=1e-6)
    last = list(loaded.status.events())[-1]
    assert (last.event, last.track) == ("done", record.track)


@pytest.mark.parametrize("place", ["own", "root"])
def test_class_files_of_the_exposures_directory_and_its_root_stand_in_the_header(
    place: str, loaded: Preloaded, exposure: Path
) -> None:
    root, night = exposure.parent, exposure.parent / "night"
    night.mkdir()
    exposure = exposure.rename(night / "a.fits")
    names = [mask_class.name for mask_class in loaded.masker.card.classes]
    text = "".join(f"{name} 0.2\n" for name in names)
    priors = root / "classes.priors"
    priors.write_text(text)
    nearest = (night if place == "own" else root) / "classes.thresh"
    (root / "classes.thresh").write_text(text.replace("0.2", "0.3"))
    nearest.write_text(text)
    claim(loaded, exposure)
    configuration = loaded.configurations.of(exposure, root).hash
    record = run(loaded, exposure, root=str(root), configuration=configuration)
    assert record.state is State.DONE, record.reason
    header = fits.getheader(record.mask)
    assert header["MMFLAGSF"] == "default"
    assert header["MMPRIORF"] == str(priors)
    assert header["MMTHRESF"] == str(nearest)
    for number in range(1, 15):
        assert (header[f"MMPRI{number}"], header[f"MMTHR{number}"]) == (0.2, 0.2)


def test_a_malformed_class_file_fails_the_exposure_with_its_sentence(
    loaded: Preloaded, exposure: Path
) -> None:
    path = exposure.with_name("classes.priors")
    path.write_text("CR 2\n")
    claim(loaded, exposure)
    record = run(loaded, exposure)
    assert (record.state, record.error) == (State.FAILED, "ClassFileError")
    assert record.reason.startswith(f"{path} has no line for HCL DCL HP")
    assert sorted(exposure.parent.iterdir()) == [exposure, path]


def test_a_message_that_comes_twice_is_done_once(loaded: Preloaded, exposure: Path) -> None:
    claim(loaded, exposure)
    first = run(loaded, exposure)
    assert run(loaded, exposure) == first


def test_a_message_without_record_does_nothing(loaded: Preloaded, exposure: Path) -> None:
    tasks.mask_exposure_task.run(
        str(exposure), KEY, {"root": "/", "configuration": "", "hdu": None}
    )
    assert loaded.status.get(KEY) is None
    assert list(exposure.parent.iterdir()) == [exposure]


def test_one_hdu_can_be_asked_for(loaded: Preloaded, exposure: Path) -> None:
    key = key_of(loaded, exposure, hdu=0)
    claim(loaded, exposure, key)
    assert run(loaded, exposure, key, hdu=0).mask == exposure.with_name("a.masks0.fits")


def test_a_submitted_file_that_changed_is_not_masked_under_its_old_key(
    loaded: Preloaded, exposure: Path
) -> None:
    key = key_of(loaded, exposure, hdu=0)
    os.utime(exposure, ns=(1, 1))
    claim(loaded, exposure, key)
    record = run(loaded, exposure, key, hdu=0)
    assert (record.state, record.error) == (State.FAILED, "OutdatedError")
    assert "has changed since it was submitted: submit it again" in record.reason


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"mask": {"format": "bitmsk"}}, "option mask.format: Input should be 'masks'"),
        ({"mask": {"formt": "bitmask"}}, "option mask.formt: Extra inputs are not permitted"),
        ({"mask": {"compress": "rice", "format": "probabilities"}}, "RICE would round"),
        ({"mask": {"preset": "nowhere"}}, "There is no preset 'nowhere'"),
        ({"mask": {"format": "bitmask"}}, "was made with other mask settings"),
        ({"mask": [1]}, "option mask: Input should be a valid dictionary"),
        ({"batch_size": 0}, "option batch_size: Input should be greater than"),
        ({"output_dir": "masks"}, "option output_dir: Value error, it must be absolute"),
        ({"hdu": -1}, "option hdu: Input should be greater than"),
        ({"root": None}, "option root: Input is not a valid path"),
        ({"colour": "red"}, "option colour: Extra inputs are not permitted"),
    ],
)
def test_a_forged_message_fails_with_what_is_wrong_in_it(
    options: dict[str, object], sentence: str, loaded: Preloaded, exposure: Path
) -> None:
    claim(loaded, exposure)
    record = run(loaded, exposure, **options)
    assert (record.state, record.error_kind) == (State.FAILED, "permanent")
    assert sentence in record.reason
    assert list(exposure.parent.iterdir()) == [exposure]


def test_masks_go_nowhere_outside_the_roots(
    loaded: Preloaded, exposure: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    root = tmp_path / "root"
    root.mkdir()
    (root / "link").symlink_to(tmp_path / "elsewhere")
    inside = exposure.rename(root / "a.fits")
    settings = load(flags={"root": {"directories": [str(root)]}})
    rooted = dataclasses.replace(loaded, settings=settings)
    monkeypatch.setattr(preload._Process, "preloaded", rooted)
    for number, place in enumerate(("/tmp", f"{root}/../elsewhere", f"{root}/link/deeper")):  # noqa: S108
        key = f"{number:032x}"
        claim(loaded, inside, key)
        record = run(loaded, inside, key, output_dir=place)
        assert (record.state, record.error) == (State.FAILED, "PlaceError")
        assert "lies under none of the watched roots" in record.reason
    assert not (tmp_path / "elsewhere").exists()


def test_a_mask_in_a_named_directory_overwrites_no_other_exposures(
    loaded: Preloaded, exposure: Path, tmp_path: Path
) -> None:
    out, other = tmp_path / "out", tmp_path / "other" / exposure.name
    other.parent.mkdir()
    other.write_bytes(exposure.read_bytes())
    ends = []
    for path in (exposure, other):
        key = key_of(loaded, path, output_dir=out)
        claim(loaded, path, key)
        ends.append(run(loaded, path, key, output_dir=str(out)))
    assert [end.state for end in ends] == [State.DONE, State.FAILED]
    assert f"{out / 'a.masks.fits'}, which is that of {exposure}" in ends[1].reason
    assert fits.getval(out / "a.masks.fits", "MMKEY") == ends[0].key


def test_a_path_that_climbs_out_of_its_root_is_refused(
    loaded: Preloaded, exposure: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(flags={"root": {"directories": [str(tmp_path / "root")]}})
    rooted = dataclasses.replace(loaded, settings=settings)
    monkeypatch.setattr(preload._Process, "preloaded", rooted)
    climbing = tmp_path / "root" / ".." / exposure.name
    claim(loaded, climbing)
    assert "lies under none of the watched roots" in run(loaded, climbing).reason


def test_an_exposure_that_went_away_has_vanished(loaded: Preloaded, exposure: Path) -> None:
    claim(loaded, exposure)
    exposure.unlink()
    record = run(loaded, exposure)
    assert record.state is State.VANISHED
    assert "went away before it was masked" in record.reason


def test_other_mask_settings_than_the_watchers_are_refused(
    loaded: Preloaded, exposure: Path
) -> None:
    claim(loaded, exposure)
    record = run(loaded, exposure, configuration="another")
    assert record.state is State.FAILED
    assert record.error == "ConfigurationError"
    assert "give watcher and worker the same settings" in record.reason


def test_a_path_outside_all_roots_is_refused(
    loaded: Preloaded, exposure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(flags={"root": {"directories": ["/data"]}})
    elsewhere = dataclasses.replace(loaded, settings=settings)
    monkeypatch.setattr(preload._Process, "preloaded", elsewhere)
    claim(loaded, exposure)
    record = run(loaded, exposure)
    assert record.state is State.FAILED
    assert "lies under none of the watched roots" in record.reason


def test_a_transient_failure_is_due_again_later_each_time_by_twice_as_much(
    loaded: Preloaded, exposure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object, **__: object) -> None:
        raise TransientError("The disk is full: it is tried again later.")

    monkeypatch.setattr(tasks, "mask_exposure", full)
    claim(loaded, exposure)
    for attempt, delay in ((1, 60), (2, 120)):
        before = time.time()
        record = run(loaded, exposure)
        assert (record.state, record.error_kind) == (State.FAILED, "transient")
        assert record.error == "TransientError"
        assert record.attempts == attempt
        assert record.retry_at == pytest.approx(before + delay, abs=10)
        fields = {"path": exposure, "root": exposure.parent, "night": "2026-11-23"}
        assert not loaded.status.claim(KEY, fields)
        assert loaded.status.claim(KEY, fields, now=record.retry_at)


def test_a_lack_of_memory_passes(
    loaded: Preloaded, exposure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def too_large(*_: object, **__: object) -> None:
        raise MemoryError

    monkeypatch.setattr(tasks, "mask_exposure", too_large)
    claim(loaded, exposure)
    record = run(loaded, exposure)
    assert (record.error, record.error_kind) == ("MemoryError", "transient")
    assert "needs more memory than is free" in record.reason


def test_an_exposure_that_takes_too_long_fails_with_its_limit(
    loaded: Preloaded, exposure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def slow(*_: object, **__: object) -> None:
        raise tasks.SoftTimeLimitExceeded

    monkeypatch.setattr(tasks, "mask_exposure", slow)
    claim(loaded, exposure)
    record = run(loaded, exposure)
    assert record.state is State.FAILED
    assert "took longer than 1800 s" in record.reason


def test_an_unforeseen_error_fails_the_file_and_not_the_worker(
    loaded: Preloaded, exposure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ZeroDivisionError("a fault of ours")

    monkeypatch.setattr(tasks, "mask_exposure", broken)
    claim(loaded, exposure)
    record = run(loaded, exposure)
    assert (record.state, record.error) == (State.FAILED, "ZeroDivisionError")
    assert "report it" in record.reason
    assert "Traceback" not in record.reason


def test_a_read_only_directory_fails_with_what_to_do(
    loaded: Preloaded, exposure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def denied(*_: object, **__: object) -> None:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "touch", denied)
    claim(loaded, exposure)
    record = run(loaded, exposure)
    assert (record.state, record.error) == (State.FAILED, "MaskFileUnwritableError")
    assert "root.output_root" in record.reason


def test_an_output_root_takes_the_masks_of_read_only_data(
    loaded: Preloaded, exposure: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = load(flags={"root": {"output_root": str(tmp_path / "masks")}})
    mirrored = dataclasses.replace(loaded, settings=settings)
    monkeypatch.setattr(preload._Process, "preloaded", mirrored)
    claim(loaded, exposure)
    record = run(loaded, exposure)
    assert record.state is State.DONE
    assert record.mask == tmp_path / "masks" / exposure.parent.name / "a.masks.fits"
    assert record.mask.exists()
    assert not exposure.with_name("a.masks.fits").exists()


def test_the_exposure_of_a_dead_process_of_this_host_is_taken_over_at_once(
    loaded: Preloaded, exposure: Path
) -> None:
    with subprocess.Popen([sys.executable, "-c", ""]) as ended:
        pass
    dead = f"{socket.gethostname()}:1:{ended.pid}"
    claim(loaded, exposure)
    loaded.status.begin(KEY, dead, lease_s=3600, max_attempts=9)
    record = run(loaded, exposure)
    assert (record.state, record.attempts) == (State.DONE, 2)


def test_a_lease_of_another_host_is_waited_for_to_its_end(
    loaded: Preloaded, exposure: Path
) -> None:
    claim(loaded, exposure)
    loaded.status.begin(KEY, "elsewhere:1:2", lease_s=1.0, max_attempts=9)
    record = run(loaded, exposure)
    assert (record.state, record.attempts) == (State.DONE, 2)


def test_an_exposure_whose_lease_is_renewed_is_left_to_its_owner(
    loaded: Preloaded, exposure: Path
) -> None:
    claim(loaded, exposure)
    loaded.status.begin(KEY, "elsewhere:1:2", lease_s=1.5, max_attempts=9)
    with Lease(loaded.status, KEY, "elsewhere:1:2", lease_s=1.5):
        record = run(loaded, exposure)
    assert (record.state, record.owner, record.attempts) == (State.RUNNING, "elsewhere:1:2", 1)


def test_an_exposure_that_ends_no_attempt_is_quarantined(
    loaded: Preloaded, exposure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = configured(loaded, monkeypatch, max_attempts=2)
    claim(loaded, exposure)
    for process in (2, 3):
        loaded.status.begin(KEY, f"elsewhere:1:{process}", lease_s=0, max_attempts=9)
    record = run(loaded, exposure)
    assert record.state is State.QUARANTINED
    assert "2 attempts ended without a result" in record.reason


def test_a_worker_that_lost_its_lease_drops_the_result(
    loaded: Preloaded, exposure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    loaded = configured(loaded, monkeypatch, lease_s=1.0)
    original = tasks.mask_exposure

    def interrupted(*args: object, **kwargs: object) -> object:
        loaded.status.begin(KEY, "other:1:2", lease_s=600, max_attempts=9, dead_owner=loaded.owner)
        time.sleep(1.0)
        return original(*args, **kwargs)

    monkeypatch.setattr(tasks, "mask_exposure", interrupted)
    claim(loaded, exposure)
    record = run(loaded, exposure)
    assert (record.state, record.owner) == (State.RUNNING, "other:1:2")
    assert not exposure.with_name("a.masks.fits").exists()


def test_a_stopped_worker_hands_back_what_its_processes_had_begun(
    loaded: Preloaded, exposure: Path
) -> None:
    claim(loaded, exposure)
    host = socket.gethostname()
    loaded.status.begin(KEY, f"{host}:77:78", lease_s=600, max_attempts=3)
    assert released(loaded.status, 7) == 0
    assert released(loaded.status, 77) == 1
    record = loaded.status.get(KEY)
    assert (record.state, record.attempts) == (State.QUEUED, 0)
    begun = loaded.status.begin(KEY, "x", lease_s=1, max_attempts=1)
    assert begun.outcome is Outcome.STARTED


@pytest.mark.parametrize("swallowed_in", ["a failure", "the work"])
def test_a_stop_that_a_library_swallowed_is_no_failure_of_the_exposure(
    swallowed_in: str, loaded: Preloaded, exposure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    original = tasks.mask_exposure

    def interrupted(*args: object, **kwargs: object) -> object:
        # billiard's handler notes the signal before it raises; Keras passes over what is raised.
        monkeypatch.setattr(billiard.common, "_should_have_exited", [True])
        if swallowed_in == "a failure":
            raise ValueError("None values not supported")
        return original(*args, **kwargs)

    monkeypatch.setattr(tasks, "mask_exposure", interrupted)
    claim(loaded, exposure)
    with pytest.raises(SystemExit):
        run(loaded, exposure)
    assert released(loaded.status, os.getppid()) == 1
    assert not exposure.with_name("a.masks.fits").exists()


def test_a_time_limit_that_a_library_swallowed_is_still_kept(
    loaded: Preloaded, exposure: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_: object, **__: object) -> None:
        raise ValueError("None values not supported")

    monkeypatch.setattr(tasks, "mask_exposure", broken)
    monkeypatch.setattr(tasks._Reporter, "is_overdue", True)
    claim(loaded, exposure)
    assert "took longer than 1800 s" in run(loaded, exposure).reason


def test_owners_elsewhere_are_never_known_to_be_dead() -> None:
    assert not is_dead_here("elsewhere:1:999999999")
    assert not is_dead_here(f"{socket.gethostname()}:1:x")
    assert not is_dead_here(owner_name(1))
    assert not is_dead_here(f"{socket.gethostname()}:1:1")


def test_a_process_that_loaded_nothing_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(preload._Process, "preloaded", None)
    with pytest.raises(RuntimeError, match="celery -A worker worker"):
        here()


@pytest.mark.parametrize(
    ("device", "queues", "expected"),
    [
        ("auto", ["cpu", "cpu.backlog"], False),
        ("auto", ["gpu", "cpu"], True),
        ("cpu", ["gpu"], False),
        ("gpu", ["cpu"], True),
    ],
)
def test_a_worker_wants_a_gpu_by_its_queues_unless_told(
    device: str, queues: list[str], expected: bool
) -> None:
    assert wants_gpu(queues, load(flags={"worker": {"device": device}})) is expected
