"""The watcher: events and sweeps in, tasks and records out, one step at a time."""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Collection
from pathlib import Path

import redis

from settings.logs import get_logger
from settings.schema import SettingsTree
from watcher.arrival import ArrivalReport, Arrivals, ArrivalState
from watcher.intake import Intake, QueueUnreachableError
from watcher.night import night_of_file
from watcher.observer import DirectoryObserver
from watcher.selection import Selection, walk
from watcher.sweep import Action, decide, vanished
from worker.class_files import CLASS_FILES
from worker.completeness import check_complete
from worker.identity import arrival_key
from worker.places import root_of
from worker.status import FileRecord, State, Status

__all__ = ["Watcher"]

logger = get_logger(__name__)

#: Seconds between two attempts while the server does not answer.
SERVER_RETRY_S = 2.0
#: Seconds until a file that could not be looked at is looked at again.
OUT_OF_REACH_S = 10.0
#: Most seconds between two steps, so that a stop is noticed soon.
LONGEST_STEP_S = 0.5

_STATES = {ArrivalState.WAITING: State.WAITING, ArrivalState.INCOMPLETE: State.INCOMPLETE}


class Watcher:
    """
    Watches directories until it is told to stop.

    Parameters
    ----------
    settings : SettingsTree
        The settings: roots, selection, arrival.
    intake : Intake
        Where complete exposures go.
    clock : callable, optional
        Seconds that only go forward.

    Notes
    -----
    `step` does all the work in the caller's thread. The observers' threads only say which path to
    look at.
    """

    def __init__(
        self,
        settings: SettingsTree,
        intake: Intake,
        *,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._settings, self._intake, self._clock = settings, intake, clock
        self._status: Status = intake.status
        self._roots = settings.root.directories
        self._selection = Selection(settings.watch)
        self._arrivals = Arrivals(settings.arrival, check=check_complete)
        self._observers = [
            DirectoryObserver(
                root,
                recursive=settings.root.recursive,
                mode=settings.watch.events,
                poll_s=settings.watch.poll_s,
                notify=self._notice,
            )
            for root in self._roots
        ]
        self._pending: deque[ArrivalReport] = deque()
        self._backlog: set[Path] = set()
        self._next_sweep: float | None = None
        self._sweep_soon = False
        self._silent_until = 0.0

    def run(self, stop: threading.Event) -> None:
        """
        Watch until the event is set.

        Parameters
        ----------
        stop : threading.Event
            Set by whoever wants the watcher to end.
        """
        self.start()
        try:
            while not stop.wait(self.step(self._clock())):
                pass
        finally:
            self.stop()

    def start(self) -> None:
        """Start the observers; a root that is not there yet is waited for."""
        for observer in self._observers:
            observer.start()
            logger.info("watching root=%s events=%s", observer.root, observer.kind)

    def stop(self) -> None:
        """Stop the observers."""
        for observer in self._observers:
            observer.stop()

    def step(self, now: float) -> float:
        """
        Do what is due.

        Parameters
        ----------
        now : float
            The clock's time.

        Returns
        -------
        float
            Seconds until the next step is worth while.
        """
        for observer in self._observers:
            observer.ensure(now)
        self._pending.extend(self._arrivals.tick(now))
        if now < self._silent_until:
            return min(self._silent_until - now, LONGEST_STEP_S)
        try:
            if self._next_sweep is None or now >= self._next_sweep or self._sweep_soon:
                self._sweep_soon = False
                self._sweep(now)
                self._next_sweep = now + self._settings.watch.sweep_s
            while self._pending:
                self._handle(self._pending[0])
                self._pending.popleft()
        except (QueueUnreachableError, redis.RedisError) as error:
            if not self._silent_until:
                logger.warning("server silent reason=%s; nothing is lost, trying again", error)
            self._silent_until = now + SERVER_RETRY_S
            return LONGEST_STEP_S
        if self._silent_until:
            logger.info("server answers again")
            self._silent_until = 0.0
        return max(0.0, min(LONGEST_STEP_S, self._next_sweep - now, self._arrivals.next_due(now)))

    def _notice(self, path: Path) -> None:
        if path.name in CLASS_FILES:
            # Which exposures it made fail, or concerns otherwise, their records say.
            self._sweep_soon = True
            return
        root = self._root_of(path)
        if root is not None and self._selection.is_exposure(path, root):
            self._arrivals.look(path, self._clock())

    def _root_of(self, path: Path) -> Path | None:
        return root_of(path, self._roots)

    def _handle(self, report: ArrivalReport) -> None:
        path, root = report.path, self._root_of(report.path)
        if root is None:
            return
        match report.state:
            case ArrivalState.COMPLETE:
                self._offer(path, root)
            case ArrivalState.VANISHED:
                self._status.vanish(
                    arrival_key(root, path), f"{path} went away before it was complete."
                )
                self._backlog.discard(path)
            case _:
                state = _STATES.get(report.state, State.INCOMPLETE)
                version = {"size": report.size, "mtime_ns": report.mtime_ns}
                self._note(path, root, state, report.reason, **version)

    def _offer(self, path: Path, root: Path) -> None:
        try:
            if not self._is_submitted(path):
                self._intake.offer(path, root, backlog=path in self._backlog)
        except FileNotFoundError:
            self._status.vanish(arrival_key(root, path), f"{path} went away before it was queued.")
        except OSError as error:
            # A share that stumbles: the file starts anew, and is reported for as long as it lasts.
            logger.warning("not queued path=%s reason=%s", path, error)
            self._arrivals.look(path, self._clock() + OUT_OF_REACH_S)
            return
        self._backlog.discard(path)

    def _is_submitted(self, path: Path) -> bool:
        """Tell whether the file, as it stands, is masked as somebody asked for by hand."""
        record = self._status.current(path)
        if record is None or not record.is_submission:
            return False
        stat = path.stat()
        return (record.size, record.mtime_ns) == (stat.st_size, stat.st_mtime_ns)

    def _note(
        self, path: Path, root: Path, state: State, reason: str, **version: int | None
    ) -> None:
        """Record the state of what is not queued, and log it where it is new."""
        night = night_of_file(path, self._settings.site.longitude_deg).isoformat()
        if self._status.note(
            arrival_key(root, path),
            path=path,
            root=root,
            night=night,
            state=state,
            reason=reason,
            **version,
        ):
            logger.info("%s path=%s reason=%s", state, path, reason)

    def _note_no_files(self, root: Path) -> None:
        """Record what has an exposure's name without being a file, so that its owner sees why."""
        for path, kind in self._selection.no_files.items():
            if self._root_of(path) == root:
                reason = f"{path} {kind}, not an exposure: only files are masked."
                self._note(path, root, State.SKIPPED, reason)

    def _sweep(self, now: float) -> None:
        records = self._status.records()
        by_path = {record.path: record for record in records if not record.is_apart}
        readable = [root for root in self._roots if root.is_dir()]
        found: dict[Path, Path] = {}
        for root in readable:
            for path in walk(root, self._selection, recursive=self._settings.root.recursive):
                if self._root_of(path) == root:
                    found[path] = root
            self._note_no_files(root)
        n_new = sum(self._swept(path, root, by_path, now) for path, root in found.items())
        for record in records:
            if record.is_submission and (record.is_apart or record.path not in found):
                self._resend(record, readable)
        for record in vanished(records, found, readable, self._selection.passed_over):
            self._status.vanish(record.key, f"{record.path} went away before it was masked.")
        logger.info("swept roots=%d files=%d new=%d", len(readable), len(found), n_new)

    def _swept(self, path: Path, root: Path, by_path: dict[Path, FileRecord], now: float) -> bool:
        record = by_path.get(path)
        try:
            configuration = self._intake.configurations.of(path, root)
            decision = decide(path, root, record, configuration=configuration.hash)
            submitted = record if record and record.is_submission else None
            match decision.action:
                case Action.NOTHING:
                    return False
                case Action.OFFER if submitted:
                    return self._intake.offer_again(submitted)
                case Action.OFFER:
                    return self._intake.offer(path, root).is_sent
                case Action.MASK_AGAIN:
                    self._status.forget(decision.key)
                    if submitted:
                        return self._intake.offer_again(submitted)
        except OSError:
            # Gone or out of reach since the walk; the next sweep sees it if it comes back.
            return False
        if self._next_sweep is None:
            self._backlog.add(path)
        self._arrivals.look(path, now)
        return True

    def _resend(self, record: FileRecord, roots: Collection[Path]) -> None:
        """Send again what was asked for by hand and no walk of the roots finds, where it is due."""
        if record.state is State.DONE or root_of(record.path, roots) is None:
            return
        try:
            action = decide(record.path, record.root, record, configuration="").action
        except OSError:
            return
        if action is Action.OFFER:
            self._intake.offer_again(record)
