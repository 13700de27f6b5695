"""The watcher's loop on a real server, step by step, with a sender that only takes notes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis
from astropy.io import fits
from kombu.exceptions import OperationalError

from model.preset import read_card
from model.probability import make_recipe
from settings.schema import MaskSettings
from settings.sources import load
from watcher.intake import Intake, QueueUnreachableError
from watcher.loop import Watcher
from watcher.paths import Target
from watcher.submission import Submission
from worker.class_files import Configurations
from worker.connection import connect
from worker.header import Provenance
from worker.overlay import Overlay
from worker.product import MaskFile
from worker.status import FileRecord, State, Status

CONFIGURATIONS = Configurations(MaskSettings(), read_card("maximask-1.4"))
CONFIGURATION = CONFIGURATIONS.of(Path("/nowhere/a.fits")).hash


@dataclass
class Sender:
    """Takes tasks as Celery does, or fails as it does without its server."""

    sent: list[tuple[str, str, Mapping[str, Any], str]] = field(default_factory=list)
    down: bool = False

    def __call__(self, path: str, key: str, options: Mapping[str, Any], queue: str) -> None:
        if self.down:
            raise OperationalError("connection refused")
        self.sent.append((path, key, options, queue))


@dataclass
class Bench:
    """A watcher that is stepped by hand."""

    root: Path
    status: Status
    sender: Sender
    make: Callable[[], Watcher]
    now: float = 1000.0

    def step(self, watcher: Watcher, times: int = 4) -> None:
        """Let time pass, more than a quiet time, less than a sweep."""
        for _ in range(times):
            watcher.step(self.now)
            self.now += 1.0

    @property
    def sent(self) -> list[tuple[str, str]]:
        """The names and queues of what was sent."""
        return [(Path(path).name, queue) for path, _, _, queue in self.sender.sent]


@pytest.fixture
def bench(tmp_path: Path, client: redis.Redis) -> Bench:
    root = tmp_path / "incoming"
    root.mkdir()
    settings = load(
        flags={
            "root": {"directories": [str(root)]},
            "arrival": {"quiet_s": 2, "incomplete_s": 20},
            "watch": {"sweep_s": 10},
        }
    )
    status, sender = Status(client), Sender()
    intake = Intake(settings, CONFIGURATIONS, "maximask-1.4", status, sender)
    return Bench(root, status, sender, lambda: Watcher(settings, intake))


def write(path: Path, seed: int = 0) -> Path:
    path.parent.mkdir(exist_ok=True)
    fits.writeto(path, np.random.default_rng(seed).normal(9, 2, (20, 30)).astype("f4"))
    return path


def test_what_lay_there_before_goes_to_the_backlog_and_what_comes_later_does_not(
    bench: Bench,
) -> None:
    write(bench.root / "old.fits")
    watcher = bench.make()
    bench.step(watcher)
    assert bench.sent == [("old.fits", "cpu.backlog")]
    write(bench.root / "new.fits")
    bench.step(watcher, 20)
    assert bench.sent[1:] == [("new.fits", "cpu")]
    path, key, options, _ = bench.sender.sent[0]
    assert path == str(bench.root / "old.fits")
    assert options == {"root": str(bench.root), "configuration": CONFIGURATION, "hdu": None}
    record = bench.status.get(key)
    assert (record.state, record.queue, record.message) == (State.QUEUED, "cpu.backlog", key)


def test_sweeps_and_restarts_send_nothing_twice(bench: Bench) -> None:
    for name in ("a.fits", "b.fits"):
        write(bench.root / name)
    for _ in range(3):
        bench.step(bench.make(), 30)
    assert sorted(bench.sent) == [("a.fits", "cpu.backlog"), ("b.fits", "cpu.backlog")]


def test_the_record_says_which_class_files_count_and_follows_them(bench: Bench) -> None:
    names = [mask_class.name for mask_class in read_card("maximask-1.4").classes]
    thresholds = bench.root / "classes.thresh"
    thresholds.write_text("".join(f"{name} 0.2\n" for name in names))
    path = write(bench.root / "night" / "a.fits")
    watcher = bench.make()
    bench.step(watcher)
    first = bench.status.current(path)
    assert first.class_files == {"classes.thresh": str(thresholds)}
    hand = path.with_name("classes.priors")
    hand.write_text("CR 1\n")
    bench.step(watcher, 20)
    broken = bench.status.current(path)
    assert broken.class_files == {"classes.priors": str(hand), "classes.thresh": str(thresholds)}
    hand.write_text("".join(f"{name} 0.3\n" for name in names))
    bench.step(watcher, 20)
    mended = bench.status.current(path)
    assert mended.class_files == broken.class_files
    assert len({first.configuration, broken.configuration, mended.configuration}) == 3
    assert [name for name, _ in bench.sent] == ["a.fits"] * 3


def test_a_changed_file_is_sent_again(bench: Bench) -> None:
    path = write(bench.root / "a.fits")
    watcher = bench.make()
    bench.step(watcher)
    path.unlink()
    write(path, seed=1)
    bench.step(watcher, 20)
    assert [name for name, _ in bench.sent] == ["a.fits", "a.fits"]
    keys = [key for _, key, _, _ in bench.sender.sent]
    assert keys[0] != keys[1]
    assert bench.status.get(keys[0]) is None


def test_nothing_is_lost_while_the_queue_does_not_answer(
    bench: Bench, caplog: pytest.LogCaptureFixture
) -> None:
    bench.sender.down = True
    write(bench.root / "a.fits")
    watcher = bench.make()
    bench.step(watcher, 8)
    assert bench.status.current(bench.root / "a.fits").state is State.SEEN
    assert bench.sent == []
    bench.sender.down = False
    bench.step(watcher, 8)
    assert [name for name, _ in bench.sent] == ["a.fits"]
    warnings = [r for r in caplog.records if "server silent" in r.getMessage()]
    assert len(warnings) == 1


def test_nothing_is_lost_while_the_status_does_not_answer(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(bench.root / "a.fits")
    watcher = bench.make()

    def silent(*_: object, **__: object) -> None:
        raise redis.ConnectionError("refused")

    with monkeypatch.context() as patched:
        patched.setattr(Status, "records", silent)
        bench.step(watcher, 5)
        assert bench.sent == []
    bench.step(watcher, 12)
    assert [name for name, _ in bench.sent] == ["a.fits"]


def publish(path: Path, key: str) -> Path:
    """Write a mask file as a worker does, and return it."""
    card = read_card("maximask-1.4")
    provenance = Provenance(
        key=key,
        configuration=CONFIGURATION,
        preset=card.name,
        preset_sha256=card.sha256,
        source=path.name,
        source_sha256="",
        device="cpu",
        engine="",
        tiles="wide",
        attempt=1,
        versions={},
    )
    target = path.with_name("a.masks.fits")
    recipe = make_recipe(card, MaskSettings())
    with MaskFile(target, provenance=provenance, recipe=recipe) as mask_file:
        mask_file.append_masks(np.zeros((14, 20, 30), np.uint8), fits.Header())
        mask_file.publish()
    return target


def test_a_published_mask_on_disk_is_done_even_if_the_server_forgot(bench: Bench) -> None:
    path = write(bench.root / "a.fits")
    bench.step(bench.make())
    (_, key, _, _) = bench.sender.sent[0]
    target = publish(path, key)
    bench.status.client.flushall()
    bench.step(bench.make())
    record = bench.status.get(key)
    assert (record.state, record.mask) == (State.DONE, target)
    assert len(bench.sent) == 1


def test_a_worker_that_died_after_publishing_does_not_leave_a_record_that_runs_for_ever(
    bench: Bench,
) -> None:
    path = write(bench.root / "a.fits")
    watcher = bench.make()
    bench.step(watcher)
    (_, key, _, _) = bench.sender.sent[0]
    bench.status.begin(key, "killed", lease_s=0, max_attempts=3)
    publish(path, key)
    bench.step(watcher, 12)
    assert len(bench.sent) == 2
    assert bench.status.get(key).state is State.QUEUED


def test_a_transient_failure_is_sent_again_when_it_is_due(bench: Bench) -> None:
    write(bench.root / "a.fits")
    watcher = bench.make()
    bench.step(watcher)
    (_, key, _, _) = bench.sender.sent[0]
    bench.status.begin(key, "w", lease_s=60, max_attempts=3)
    due = time.time() + 2
    bench.status.finish(key, "w", State.FAILED, error_kind="transient", retry_at=due)
    bench.step(watcher, 12)
    assert len(bench.sent) == 1
    time.sleep(max(due - time.time(), 0) + 0.1)
    bench.step(watcher, 12)
    assert len(bench.sent) == 2


def test_a_file_that_goes_away_before_it_is_masked_has_vanished(bench: Bench) -> None:
    path = write(bench.root / "a.fits")
    watcher = bench.make()
    bench.step(watcher)
    path.unlink()
    bench.step(watcher, 12)
    record = bench.status.records(state=State.VANISHED)[0]
    assert record.path == path
    assert "went away before it was masked" in record.reason


def test_a_file_that_goes_away_while_it_waits_has_vanished(bench: Bench) -> None:
    path = bench.root / "a.fits"
    path.write_bytes(b"SIMPLE")
    watcher = bench.make()
    bench.step(watcher)
    assert bench.status.current(path).state is State.WAITING
    path.unlink()
    bench.step(watcher, 12)
    assert bench.status.records(state=State.VANISHED)[0].path == path


def test_a_short_file_is_incomplete_after_a_while(bench: Bench) -> None:
    path = bench.root / "a.fits"
    path.write_bytes(b"SIMPLE  =                    T")
    watcher = bench.make()
    bench.step(watcher, 30)
    record = bench.status.current(path)
    assert record.state is State.INCOMPLETE
    assert "truncated" in record.reason


def test_a_directory_with_the_name_of_an_exposure_is_skipped_with_a_reason(bench: Bench) -> None:
    (bench.root / "x.fits").mkdir()
    bench.step(bench.make())
    record = bench.status.current(bench.root / "x.fits")
    assert record.state is State.SKIPPED
    assert "is a directory, not an exposure" in record.reason


def test_a_root_that_is_not_there_is_waited_for(bench: Bench) -> None:
    bench.root.rmdir()
    watcher = bench.make()
    watcher.start()
    try:
        bench.step(watcher)
        write(bench.root / "a.fits")
        bench.step(watcher, 20)
    finally:
        watcher.stop()
    assert [name for name, _ in bench.sent] == ["a.fits"]


def test_a_share_that_stumbles_is_asked_again(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    write(bench.root / "a.fits")
    watcher = bench.make()
    with monkeypatch.context() as patched:

        def stumble(*_: object, **__: object) -> None:
            raise OSError(5, os.strerror(5))

        patched.setattr(Intake, "offer", stumble)
        bench.step(watcher, 6)
    assert bench.sent == []
    later = time.monotonic() + 30
    watcher.step(later)
    watcher.step(later + 3)
    watcher.step(later + 6)
    assert [name for name, _ in bench.sent] == ["a.fits"]


def test_the_intake_says_which_server_is_silent(bench: Bench, tmp_path: Path) -> None:
    path = write(bench.root / "a.fits")
    settings = load(flags={"root": {"directories": [str(bench.root)]}})
    nowhere = Status(connect(f"unix://{tmp_path}/none.sock"))
    intake = Intake(settings, CONFIGURATIONS, "p", nowhere, bench.sender)
    with pytest.raises(QueueUnreachableError, match="status server does not answer"):
        intake.offer(path, bench.root)


# What was submitted by hand


@dataclass
class Hand:
    """Submits as the command does."""

    bench: Bench

    def submit(self, path: Path, *, hdu: int | None = None, **options: Any) -> FileRecord:
        """Queue an exposure with options of its own, and return its record."""
        overlay = Overlay(**options)
        mask = overlay.over(MaskSettings())
        intake = Intake(
            load(flags={"root": {"directories": [str(self.bench.root)]}}),
            Configurations(mask, read_card(mask.preset)),
            "maximask-1.4",
            self.bench.status,
            self.bench.sender,
        )
        (submitted,) = Submission(intake, overlay, sleep=lambda _: None).send([Target(path, hdu)])
        assert submitted.result == "queued", submitted.reason
        record = self.bench.status.get(submitted.key)
        assert record is not None
        return record

    def end(self, record: FileRecord, state: State, **fields: Any) -> None:
        """Let a worker end it."""
        assert self.bench.status.begin(record.key, "w", lease_s=60, max_attempts=3).attempt
        assert self.bench.status.finish(record.key, "w", state, **fields)


@pytest.fixture
def hand(bench: Bench) -> Hand:
    return Hand(bench)


BITMASK = {"mask": {"format": "bitmask"}}


@pytest.mark.parametrize("first", ["watched", "submitted"])
def test_a_submission_replaces_the_watchers_record_and_is_left_alone(
    first: str, bench: Bench, hand: Hand
) -> None:
    path = write(bench.root / "a.fits")
    watcher = bench.make()
    if first == "watched":
        bench.step(watcher)
    else:
        # It has been seen and waits for its quiet time when it is submitted.
        bench.step(watcher, 1)
    n_sent = len(bench.sent)
    record = hand.submit(path, **BITMASK)
    bench.step(watcher, 30)
    bench.step(bench.make(), 30)
    assert bench.status.records() == [record]
    assert len(bench.sent) == n_sent + 1
    mask = path.with_name("a.masks.fits")
    mask.touch()
    hand.end(record, State.DONE, mask=mask)
    bench.step(watcher, 30)
    assert len(bench.sent) == n_sent + 1


def test_a_submitted_file_that_changes_is_masked_as_the_watcher_does(
    bench: Bench, hand: Hand
) -> None:
    path = write(bench.root / "a.fits")
    record = hand.submit(path, **BITMASK)
    watcher = bench.make()
    bench.step(watcher)
    path.unlink()
    write(path, seed=1)
    bench.step(watcher, 20)
    (watched,) = bench.status.records()
    assert (watched.configuration, watched.is_submission) == (CONFIGURATION, False)
    assert watched.key != record.key


@pytest.mark.parametrize(
    "wish", [BITMASK, {"hdu": 0}, {"hdu": 0, **BITMASK}, {"batch_size": 2}, {"output_dir": "out"}]
)
@pytest.mark.parametrize("name", ["a.fits", "folder/a.tmp"])
def test_a_submission_is_sent_again_as_it_was_asked_for(
    wish: dict[str, Any], name: str, bench: Bench, hand: Hand
) -> None:
    if "output_dir" in wish:
        wish = {"output_dir": bench.root / "out"}
    path = write(bench.root / name)
    record = hand.submit(path, **wish)
    # A watcher that finds the file, and nothing of its own to do, or never looks at such names.
    watcher = bench.make()
    bench.step(watcher)
    hand.end(record, State.FAILED, error_kind="transient", retry_at=time.time() + 3600)
    n_sent = len(bench.sender.sent)
    bench.step(watcher, 30)
    assert len(bench.sender.sent) == n_sent
    bench.status.client.hset(f"maximask:file:{record.key}", "retry_at", "1")
    bench.step(watcher, 30)
    first = next(sent for sent in bench.sender.sent if sent[1] == record.key)
    assert bench.sender.sent[n_sent:] == [first]
    again = bench.status.get(record.key)
    assert (again.state, again.options, again.hdu) == (State.QUEUED, record.options, record.hdu)


def test_a_submitted_mask_that_is_removed_is_made_again_as_it_was_asked_for(
    bench: Bench, hand: Hand
) -> None:
    path = write(bench.root / "a.fits")
    record = hand.submit(path, **BITMASK)
    hand.end(record, State.DONE, mask=path.with_name("a.masks.fits"))
    bench.step(bench.make(), 12)
    assert [key for _, key, _, _ in bench.sender.sent] == [record.key] * 2
    assert bench.sender.sent[0] == bench.sender.sent[1]


def test_a_submitted_file_that_no_sweep_looks_for_vanishes_only_when_it_is_gone(
    bench: Bench, hand: Hand
) -> None:
    path = write(bench.root / "a.tmp")
    record = hand.submit(path)
    watcher = bench.make()
    bench.step(watcher, 12)
    assert bench.status.get(record.key).state is State.QUEUED
    path.unlink()
    bench.step(watcher, 12)
    assert bench.status.get(record.key).state is State.VANISHED


def test_a_submission_whose_server_falls_silent_can_be_repeated(bench: Bench, hand: Hand) -> None:
    path = write(bench.root / "a.fits")
    bench.sender.down = True
    with pytest.raises(QueueUnreachableError):
        hand.submit(path, hdu=0)
    bench.sender.down = False
    assert hand.submit(path, hdu=0).attempts == 0
