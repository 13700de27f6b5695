"""Notices what happens in a root: a directory in, the paths of files that may be new out.

Events make the watcher quick, sweeps make it complete: events are lost where a queue in the kernel
overflows, where a file system sends none, and while nothing watches. So an observer never has to be
right, but it has to come back: a root can vanish, return as another directory, or be unreadable.
"""

from __future__ import annotations

import errno
import os
import threading
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Literal

from watchdog.events import (
    DirCreatedEvent,
    DirMovedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileCreatedEvent,
    FileModifiedEvent,
    FileMovedEvent,
    FileSystemEvent,
    FileSystemEventHandler,
)
from watchdog.observers import Observer
from watchdog.observers.api import BaseObserver
from watchdog.observers.polling import PollingObserverVFS

from settings.logs import get_logger
from watcher.file_system import tells_of_changes

__all__ = ["DirectoryObserver", "Kind"]

logger = get_logger(__name__)

Kind = Literal["native", "poll"]

#: What the kernel is asked for. Reading is left out, or every check of ours would be an event.
EVENTS: list[type[FileSystemEvent]] = [
    FileCreatedEvent,
    FileModifiedEvent,
    FileAttribEvent,
    FileClosedEvent,
    FileMovedEvent,
    DirCreatedEvent,
    DirMovedEvent,
]
#: The kernel's limits by the error that tells of them.
LIMITS = {
    errno.ENOSPC: "fs.inotify.max_user_watches",
    errno.EMFILE: "fs.inotify.max_user_instances",
}
#: Seconds between two looks at whether all is well.
SUPERVISION_S = 2.0
#: Seconds that a stopping observer is waited for; its threads do not outlive the process.
STOP_S = 5.0


class DirectoryObserver:
    """
    Tells of every file in a root that may be new.

    Parameters
    ----------
    root : Path
        The watched root, which may be a link and need not be there yet.
    recursive : bool
        Whether directories below it are watched too.
    mode : {"auto", "native", "poll"}
        Where events come from; `auto`: from the kernel, unless the file system of the root or of a
        mount below it sends none, or the kernel grants no more watches.
    poll_s : float
        Seconds between two polls.
    notify : callable
        Takes each path, in a thread of the observer's. It is called often and for any file.

    Notes
    -----
    Links to directories are not followed here; the sweep does it.
    """

    def __init__(
        self,
        root: Path,
        *,
        recursive: bool,
        mode: Literal["auto", "native", "poll"],
        poll_s: float,
        notify: Callable[[Path], None],
    ) -> None:
        self.root = root
        self._recursive, self._mode, self._poll_s, self._notify = recursive, mode, poll_s, notify
        self._kind: Kind = "poll" if mode == "poll" else "native"
        self._observer: BaseObserver | None = None
        self._identity: tuple[int, int] | None = None
        self._told = ""
        self._next_look = 0.0

    @property
    def kind(self) -> Kind:
        """
        Return where events come from at present.

        Returns
        -------
        {"native", "poll"}
            The kernel, or comparisons of listings.
        """
        return self._kind

    def start(self) -> None:
        """Start to watch; where that fails, it is logged and `ensure` tries again."""
        self._begin()

    def stop(self) -> None:
        """Stop to watch."""
        observer, self._observer = self._observer, None
        self._identity = None
        if observer is not None:
            _stop(observer)

    def ensure(self, now: float) -> bool:
        """
        See to it that the root is watched.

        Parameters
        ----------
        now : float
            Seconds of a clock that only goes forward; calls that follow too soon do nothing.

        Returns
        -------
        bool
            Whether it is watched.

        Notes
        -----
        After an interruption every file is told of, since some may have come meanwhile.
        """
        if now < self._next_look:
            return self._observer is not None
        self._next_look = now + SUPERVISION_S
        if self._observer is not None:
            identity = _identity(self.root)
            if identity == self._identity and _is_alive(self._observer):
                return True
            if identity is not None:
                replaced = identity != self._identity
                self._warn("it is another directory now" if replaced else "the observer died")
            self.stop()
        if not self._begin():
            return False
        for path in _files_below(self.root, recursive=self._recursive):
            self._notify(path)
        return True

    def _begin(self) -> bool:
        identity = _identity(self.root)
        if identity is None or not os.access(self.root, os.R_OK | os.X_OK):
            # The kernel's watch of a directory that may not be read stays silent without an error.
            self._warn("it is not there" if identity is None else "it may not be read")
            return False
        try:
            self._observer = self._started()
        except OSError as error:
            self._warn(error.strerror or str(error))
            return False
        self._identity = identity
        if self._told:
            logger.info("watching again root=%s events=%s", self.root, self._kind)
            self._told = ""
        return True

    def _started(self) -> BaseObserver:
        """Return a running observer of the kind that the root needs."""
        silent = self._mode == "auto" and not tells_of_changes(self.root, below=self._recursive)
        self._kind = "poll" if silent or self._mode == "poll" else "native"
        try:
            return self._started_as(self._kind)
        except OSError as error:
            if self._mode != "auto" or self._kind == "poll" or error.errno not in LIMITS:
                raise
            self._kind = "poll"
            logger.warning(
                "polling root=%s reason=the kernel grants no more watches: raise %s with sysctl",
                self.root,
                LIMITS[error.errno],
            )
            return self._started_as("poll")

    def _started_as(self, kind: Kind) -> BaseObserver:
        # A link as such never changes: what it points to is watched, and told of by its own name.
        real = os.path.realpath(self.root)
        handler = _Handler(self.root, Path(real), recursive=self._recursive, notify=self._notify)
        if kind == "poll":
            # Without following links, which might go round in a circle.
            return _start(
                PollingObserverVFS(os.lstat, os.scandir, polling_interval=self._poll_s),
                handler,
                real,
                recursive=self._recursive,
            )
        # A directory made within a new one can be found twice, by its parent's listing and by its
        # own event. The library then replaces a callback by itself and warns of it; where warnings
        # are errors, that would end its thread.
        warnings.filterwarnings("ignore", "Callback with id", RuntimeWarning)
        observer = _start(Observer(), handler, real, recursive=self._recursive)
        if self._recursive:
            # The library is silent when the watches ran out below the root; another one shows it.
            try:
                _stop(_start(Observer(), FileSystemEventHandler(), real, recursive=False))
            except OSError as error:
                if error.errno == errno.ENOSPC:
                    _stop(observer)
                    raise
        return observer

    def _warn(self, reason: str) -> None:
        if self._told != reason:
            self._told = reason
            logger.warning("not watching root=%s reason=%s; sweeps go on", self.root, reason)


class _Handler(FileSystemEventHandler):
    """Translates events into paths below the root as the user named it."""

    def __init__(
        self, root: Path, real: Path, *, recursive: bool, notify: Callable[[Path], None]
    ) -> None:
        self._root, self._real, self._recursive, self._notify = root, real, recursive, notify

    def dispatch(self, event: FileSystemEvent) -> None:
        """Tell of the file, or of every file in a directory that has come."""
        moved = isinstance(event, FileMovedEvent | DirMovedEvent)
        path = Path(os.fsdecode(event.dest_path if moved else event.src_path))
        if path == self._real or not path.is_relative_to(self._real):
            return
        path = self._root / path.relative_to(self._real)
        if not event.is_directory:
            self._notify(path)
        elif self._recursive:
            # What was moved in with it, or written before its watch stood, has no event of its own.
            for file in _files_below(path, recursive=True):
                self._notify(file)


def _start(
    observer: BaseObserver, handler: FileSystemEventHandler, path: str, *, recursive: bool
) -> BaseObserver:
    try:
        observer.schedule(handler, path, recursive=recursive, event_filter=EVENTS)
        observer.start()
    except OSError:
        _stop(observer)
        raise
    return observer


def _stop(observer: BaseObserver) -> None:
    observer.stop()
    if observer.is_alive():
        observer.join(STOP_S)


def _is_alive(observer: BaseObserver) -> bool:
    threads: list[object] = [observer, *observer.emitters]
    # The thread that reads from the kernel has no public name.
    threads.append(getattr(observer, "_inotify_fd", None))
    return bool(observer.emitters) and all(
        thread.is_alive() for thread in threads if isinstance(thread, threading.Thread)
    )


def _identity(root: Path) -> tuple[int, int] | None:
    try:
        stat = root.stat()
    except OSError:
        return None
    return (stat.st_dev, stat.st_ino) if root.is_dir() else None


def _files_below(directory: Path, *, recursive: bool) -> Iterator[Path]:
    for folder, _, names in os.walk(directory):
        yield from (Path(folder) / name for name in sorted(names))
        if not recursive:
            return
