"""What real observers tell of, in real directories."""

from __future__ import annotations

import errno
import logging
import os
import shutil
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

import pytest
from watchdog.events import FileSystemEvent
from watchdog.observers.inotify import InotifyObserver

import watcher.observer
from watcher.observer import SUPERVISION_S, DirectoryObserver

DEADLINE_S = 20.0
POLL_S = 0.05

Make = Callable[..., DirectoryObserver]


class Told:
    """The paths that observers told of; any thread may add to them."""

    def __init__(self) -> None:
        self._paths: list[Path] = []
        self._changed = threading.Condition()

    def __call__(self, path: Path) -> None:
        with self._changed:
            self._paths.append(path)
            self._changed.notify_all()

    def clear(self) -> None:
        with self._changed:
            self._paths.clear()

    def paths(self) -> set[Path]:
        with self._changed:
            return set(self._paths)

    def wait_for(self, *paths: Path) -> None:
        with self._changed:
            came = self._changed.wait_for(lambda: set(paths) <= set(self._paths), DEADLINE_S)
        assert came, f"told of {sorted(self.paths())}, not of {sorted(set(paths) - self.paths())}"


@pytest.fixture
def told() -> Told:
    return Told()


@pytest.fixture
def root(tmp_path: Path) -> Path:
    path = tmp_path / "incoming"
    path.mkdir()
    return path


@pytest.fixture
def make(root: Path, told: Told) -> Iterator[Make]:
    """Return a function that makes an observer, started, of the root; all are stopped."""
    made: list[DirectoryObserver] = []

    def observer(
        mode: Literal["auto", "native", "poll"] = "native",
        *,
        recursive: bool = True,
        place: Path = root,
    ) -> DirectoryObserver:
        made.append(
            DirectoryObserver(place, recursive=recursive, mode=mode, poll_s=POLL_S, notify=told)
        )
        made[-1].start()
        return made[-1]

    yield observer
    for one in made:
        one.stop()


both = pytest.mark.parametrize("mode", ["native", "poll"])


@both
def test_a_written_file_is_told_of(make: Make, root: Path, told: Told, mode: str) -> None:
    assert make(mode).kind == mode
    (root / "a b [é].fits").write_bytes(b"x")
    told.wait_for(root / "a b [é].fits")


@both
def test_a_file_that_grows_is_told_of_again(make: Make, root: Path, told: Told, mode: str) -> None:
    path = root / "a.fits"
    path.write_bytes(b"x")
    make(mode)
    with path.open("ab") as file:
        file.write(b"y")
    told.wait_for(path)


@both
def test_a_renamed_file_is_told_of_by_its_last_name(
    make: Make, root: Path, told: Told, mode: str
) -> None:
    (root / ".a.fits.Xy12Zq").write_bytes(b"x")
    make(mode)
    (root / ".a.fits.Xy12Zq").rename(root / "a.fits")
    told.wait_for(root / "a.fits")


@both
def test_a_file_that_is_moved_in_or_linked_is_told_of(
    make: Make, root: Path, told: Told, tmp_path: Path, mode: str
) -> None:
    make(mode)
    for name in ("moved.fits", "target.fits"):
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "moved.fits").rename(root / "moved.fits")
    (root / "hard.fits").hardlink_to(tmp_path / "target.fits")
    (root / "soft.fits").symlink_to(tmp_path / "target.fits")
    told.wait_for(root / "moved.fits", root / "hard.fits", root / "soft.fits")


@both
def test_every_file_of_a_directory_that_is_moved_in_is_told_of(
    make: Make, root: Path, told: Told, tmp_path: Path, mode: str
) -> None:
    make(mode)
    (tmp_path / "night" / "deep").mkdir(parents=True)
    (tmp_path / "night" / "a.fits").write_bytes(b"x")
    (tmp_path / "night" / "deep" / "b.fits").write_bytes(b"x")
    (tmp_path / "night").rename(root / "night")
    told.wait_for(root / "night" / "a.fits", root / "night" / "deep" / "b.fits")
    (root / "night" / "deep" / "c.fits").write_bytes(b"x")
    told.wait_for(root / "night" / "deep" / "c.fits")


@both
def test_a_file_in_a_new_directory_is_told_of_at_once(
    make: Make, root: Path, told: Told, mode: str
) -> None:
    make(mode)
    expected = []
    for index in range(20):
        path = root / f"{index}" / "x" / "a.fits"
        path.parent.mkdir(parents=True)
        path.write_bytes(b"x")
        expected.append(path)
    told.wait_for(*expected)


@both
def test_without_recursion_only_the_root_is_watched(
    make: Make, root: Path, told: Told, mode: str
) -> None:
    make(mode, recursive=False)
    (root / "deep").mkdir()
    (root / "deep" / "a.fits").write_bytes(b"x")
    (root / "last.fits").write_bytes(b"x")
    told.wait_for(root / "last.fits")
    assert root / "deep" / "a.fits" not in told.paths()


@both
def test_a_root_that_is_a_link_is_told_of_by_the_link(
    make: Make, root: Path, told: Told, tmp_path: Path, mode: str
) -> None:
    link = tmp_path / "link"
    link.symlink_to(root)
    make(mode, place=link)
    (root / "a.fits").write_bytes(b"x")
    told.wait_for(link / "a.fits")
    assert root / "a.fits" not in told.paths()


def test_links_that_go_round_do_not_catch_a_polling_observer(
    make: Make, root: Path, told: Told
) -> None:
    for name in ("one", "two"):
        (root / name).symlink_to(root)
    make("poll")
    (root / "a.fits").write_bytes(b"x")
    told.wait_for(root / "a.fits")
    assert root / "one" / "a.fits" not in told.paths()


def test_reading_is_no_event(make: Make, root: Path, told: Told) -> None:
    (root / "old.fits").write_bytes(b"x")
    make("native")
    (root / "old.fits").read_bytes()
    (root / "last.fits").write_bytes(b"x")
    told.wait_for(root / "last.fits")
    assert root / "old.fits" not in told.paths()


@both
def test_after_stop_nothing_is_told_of(make: Make, root: Path, told: Told, mode: str) -> None:
    n_threads = threading.active_count()
    observer = make(mode)
    observer.stop()
    (root / "a.fits").write_bytes(b"x")
    assert threading.active_count() == n_threads
    assert told.paths() == set()
    observer.stop()


@both
def test_a_missing_root_is_watched_once_it_appears(
    make: Make, tmp_path: Path, told: Told, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    later = tmp_path / "later"
    observer = make(mode, place=later)
    assert not observer.ensure(0.0)
    assert not observer.ensure(10.0)
    assert [record.getMessage() for record in caplog.records] == [
        f"not watching root={later} reason=it is not there; sweeps go on"
    ]
    later.mkdir()
    (later / "first.fits").write_bytes(b"x")
    assert observer.ensure(20.0)
    assert told.paths() == {later / "first.fits"}
    (later / "second.fits").write_bytes(b"x")
    told.wait_for(later / "second.fits")


@both
def test_a_root_that_went_away_and_came_back_is_watched_again(
    make: Make, root: Path, told: Told, caplog: pytest.LogCaptureFixture, mode: str
) -> None:
    observer = make(mode)
    shutil.rmtree(root)
    assert not observer.ensure(10.0)
    root.mkdir()
    with caplog.at_level(logging.INFO):
        assert observer.ensure(20.0)
    assert caplog.messages[-1] == f"watching again root={root} events={mode}"
    (root / "a.fits").write_bytes(b"x")
    told.wait_for(root / "a.fits")


@both
def test_a_root_that_was_replaced_is_watched_again_with_all_its_files(
    make: Make, root: Path, told: Told, tmp_path: Path, mode: str
) -> None:
    observer = make(mode)
    other = tmp_path / "other"
    other.mkdir()
    (other / "a.fits").write_bytes(b"x")
    root.rename(tmp_path / "aside")
    other.rename(root)
    told.clear()
    assert observer.ensure(10.0)
    assert root / "a.fits" in told.paths()
    (root / "b.fits").write_bytes(b"x")
    told.wait_for(root / "b.fits")


def test_an_observer_whose_thread_died_is_replaced(
    make: Make, root: Path, told: Told, caplog: pytest.LogCaptureFixture
) -> None:
    observer = make("poll")
    assert observer.ensure(0.0)
    (emitter,) = observer._observer.emitters
    emitter.stop()
    emitter.join(DEADLINE_S)
    assert observer.ensure(SUPERVISION_S / 2), "it looks no more often than it should"
    assert observer.ensure(SUPERVISION_S)
    assert caplog.messages[0].endswith("reason=the observer died; sweeps go on")
    (root / "a.fits").write_bytes(b"x")
    told.wait_for(root / "a.fits")


@pytest.mark.parametrize(
    ("number", "limit"),
    [
        (errno.ENOSPC, "fs.inotify.max_user_watches"),
        (errno.EMFILE, "fs.inotify.max_user_instances"),
    ],
)
def test_where_the_kernel_grants_no_watch_the_root_is_polled(
    make: Make,
    root: Path,
    told: Told,
    *,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
    number: int,
    limit: str,
) -> None:
    def refuse() -> None:
        raise OSError(number, "inotify limit reached")

    monkeypatch.setattr(watcher.observer, "Observer", refuse)
    assert make("auto").kind == "poll"
    assert caplog.messages == [
        f"polling root={root} reason=the kernel grants no more watches: raise {limit} with sysctl"
    ]
    (root / "a.fits").write_bytes(b"x")
    told.wait_for(root / "a.fits")
    caplog.clear()
    assert not make("native").ensure(0.0)
    assert caplog.messages == [
        f"not watching root={root} reason=inotify limit reached; sweeps go on"
    ]


def test_where_watches_run_out_below_the_root_it_is_polled(
    make: Make, root: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Limited(InotifyObserver):
        """Grants one observer of the root what it asks for, and no further one."""

        n_started = 0

        def start(self) -> None:
            Limited.n_started += 1
            if Limited.n_started > 1:
                raise OSError(errno.ENOSPC, "inotify watch limit reached")
            super().start()

    n_threads = threading.active_count()
    monkeypatch.setattr(watcher.observer, "Observer", Limited)
    observer = make("auto")
    assert observer.kind == "poll"
    (root / "a.fits").write_bytes(b"x")
    told.wait_for(root / "a.fits")
    observer.stop()
    assert threading.active_count() == n_threads


def test_a_share_is_polled_in_the_automatic_mode(
    make: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(watcher.observer, "tells_of_changes", lambda _path, *, below: not below)
    assert make("auto", recursive=True).kind == "poll"
    assert make("auto", recursive=False).kind == "native"
    assert make("native", recursive=True).kind == "native"


@both
def test_a_hundred_files_at_once_are_all_told_of(
    make: Make, root: Path, told: Told, mode: str
) -> None:
    make(mode)
    paths = [root / f"{index:03}.fits" for index in range(100)]
    for path in paths:
        path.write_bytes(b"x")
    told.wait_for(*paths)


def test_a_root_that_may_not_be_read_is_watched_once_it_may(
    make: Make,
    root: Path,
    told: Told,
    caplog: pytest.LogCaptureFixture,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Not by chmod: the superuser may read every directory.
    with monkeypatch.context() as patch:
        patch.setattr(os, "access", lambda path, _: path != root)
        observer = make("native")
    assert caplog.messages == [f"not watching root={root} reason=it may not be read; sweeps go on"]
    assert observer.ensure(0.0)
    (root / "a.fits").write_bytes(b"x")
    told.wait_for(root / "a.fits")


def test_an_error_in_the_receiver_does_not_end_the_watch_for_good(
    root: Path, told: Told, monkeypatch: pytest.MonkeyPatch
) -> None:
    died = threading.Event()
    monkeypatch.setattr(threading, "excepthook", lambda _: died.set())

    def receive(path: Path) -> None:
        if path.name == "bad.fits":
            raise ValueError(path)
        told(path)

    observer = DirectoryObserver(root, recursive=True, mode="native", poll_s=1.0, notify=receive)
    observer.start()
    try:
        (root / "bad.fits").write_bytes(b"x")
        assert died.wait(DEADLINE_S)
        (root / "bad.fits").unlink()
        deadline = time.monotonic() + DEADLINE_S
        while observer._observer.is_alive() and time.monotonic() < deadline:
            time.sleep(0.01)
        assert observer.ensure(10.0)
        (root / "a.fits").write_bytes(b"x")
        told.wait_for(root / "a.fits")
    finally:
        observer.stop()


def test_events_are_never_of_the_kinds_that_our_own_reading_makes() -> None:
    names = {event.__name__ for event in watcher.observer.EVENTS}
    assert all(issubclass(event, FileSystemEvent) for event in watcher.observer.EVENTS)
    assert names.isdisjoint({"FileOpenedEvent", "FileClosedNoWriteEvent"})
