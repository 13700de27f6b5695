"""Waits until files have arrived: paths to look at in, reports on them out.

A file has arrived when its size, time of change and inode have rested for a while and its bytes
hold every HDU that they declare. Neither is enough alone: a copy that pauses rests, and a file
that grows by whole HDUs is valid FITS at every step.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum
from math import inf
from pathlib import Path
from stat import S_ISREG

from settings.schema import ArrivalSettings
from worker.completeness import Completeness, Verdict, check_complete

__all__ = ["ArrivalReport", "ArrivalState", "Arrivals"]

#: Quiet times after which a file that lacks only its final padding is taken as it is. Software that
#: never writes the padding exists; a copy that pauses within the last block is rare and short.
PADDING_QUIET_TIMES = 3
#: Seconds between two looks at a file that rests without being whole or readable. Events and sweeps
#: say earlier that it changed; this is for changes that neither shows, such as rights.
LOOK_AGAIN_S = 10.0
#: Files whose bytes are checked in one tick, so that the loop stays responsive in a full directory.
CHECKS_A_TICK = 16

_Signature = tuple[int, int, int, int]


class ArrivalState(StrEnum):
    """What is known of a file that arrives."""

    WAITING = "waiting"
    COMPLETE = "complete"
    INCOMPLETE = "incomplete"
    UNREADABLE = "unreadable"
    VANISHED = "vanished"


@dataclass(frozen=True, slots=True)
class ArrivalReport:
    """
    One file's new state.

    Parameters
    ----------
    path : Path
        The file.
    state : ArrivalState
        `WAITING`: it is still arriving; `COMPLETE`; `INCOMPLETE`: it is not whole and has not
        changed for long; `UNREADABLE`; `VANISHED`: it went away before it was complete. Complete
        and vanished files are not looked at any more; the others are.
    reason : str
        One sentence; empty where the file is whole in every respect.
    size : int or None
        Its bytes when it was last looked at; None where that has never worked.
    mtime_ns : int or None
        Its time of change in nanoseconds since 1970, likewise.
    """

    path: Path
    state: ArrivalState
    reason: str
    size: int | None
    mtime_ns: int | None


@dataclass(slots=True)
class _Arrival:
    """A file in the table: `since` is when it was first seen as its signature says."""

    path: Path
    due: float
    signature: _Signature | None = None
    since: float = 0.0
    verdict: Completeness | None = None
    reported: tuple[ArrivalState, str] | None = None


class Arrivals:
    """
    The files that are arriving.

    Parameters
    ----------
    settings : ArrivalSettings
        How long files must rest.
    check : callable, optional
        Tells from a path whether the bytes are whole; raises `OSError` where it cannot read them.
    stat : callable, optional
        Looks a path up, as `os.stat` does.

    Notes
    -----
    Times are seconds of a clock that only goes forward, given by the caller; the files' own times
    are compared with nothing but themselves, so neither a clock that is set nor a server whose
    clock is off does harm. A file that has long been at rest waits for one quiet time like others.

    `look` may be called from any thread: it puts the path under a lock into a dictionary, in which
    the many events of one long copy are one entry. All else belongs to the thread that ticks.
    """

    def __init__(
        self,
        settings: ArrivalSettings,
        *,
        check: Callable[[Path], Completeness] = check_complete,
        stat: Callable[[Path], os.stat_result] = os.stat,
    ) -> None:
        self._settings, self._check, self._stat = settings, check, stat
        self._table: dict[Path, _Arrival] = {}
        self._looks: dict[Path, float] = {}
        self._lock = threading.Lock()
        self._reports: list[ArrivalReport] = []

    def look(self, path: Path, now: float) -> None:
        """
        Ask for a look at a path: an event or a sweep has shown it.

        Parameters
        ----------
        path : Path
            An exposure by its name.
        now : float
            From when on the look is due.
        """
        with self._lock:
            self._looks.setdefault(path, now)

    def next_due(self, now: float) -> float:
        """
        Say when a tick is worth while.

        Parameters
        ----------
        now : float
            The clock's time.

        Returns
        -------
        float
            Seconds from now; infinite where nothing is arriving.
        """
        with self._lock:
            dues = [*self._looks.values(), *(arrival.due for arrival in self._table.values())]
        return max(min(dues, default=inf) - now, 0.0)

    def tick(self, now: float) -> list[ArrivalReport]:
        """
        Look at every file whose look is due.

        Parameters
        ----------
        now : float
            The clock's time.

        Returns
        -------
        list of ArrivalReport
            What is new, in the order in which the looks were due. A waiting file is reported
            when it is first seen, and again when its bytes say what is missing.

        Notes
        -----
        The bytes are checked once for each change of the file, and only when it rests; of many
        files that are due at once, the last ones wait for the next tick.
        """
        self._take_looks()
        due = [arrival for arrival in self._table.values() if arrival.due <= now]
        n_checks = 0
        for arrival in sorted(due, key=lambda arrival: arrival.due):
            # What waits for a check is looked up when its turn comes, not at every tick until then.
            if n_checks >= CHECKS_A_TICK and self._needs_check(arrival, now):
                continue
            if not self._is_seen(arrival, now):
                continue
            if self._needs_check(arrival, now):
                n_checks += 1
                if n_checks > CHECKS_A_TICK or not self._is_checked(arrival, now):
                    continue
            self._judge(arrival, now)
        reports, self._reports = self._reports, []
        return reports

    def _take_looks(self) -> None:
        with self._lock:
            looks, self._looks = self._looks, {}
        for path, when in looks.items():
            arrival = self._table.setdefault(path, _Arrival(path, due=when))
            arrival.due = min(arrival.due, when)

    def _needs_check(self, arrival: _Arrival, now: float) -> bool:
        """Tell whether the bytes are to be checked, as far as the last look at the file shows."""
        rested = arrival.signature is not None and now - arrival.since >= self._settings.quiet_s
        return rested and arrival.verdict is None

    def _is_seen(self, arrival: _Arrival, now: float) -> bool:
        """Look the file up, and note whether it changed."""
        signature = self._signature(arrival, now)
        if signature is None:
            return False
        if signature != arrival.signature:
            arrival.signature, arrival.since, arrival.verdict = signature, now, None
            if arrival.reported and arrival.reported[0] is not ArrivalState.WAITING:
                arrival.reported = None
        return True

    def _signature(self, arrival: _Arrival, now: float) -> _Signature | None:
        try:
            stat = self._stat(arrival.path)
        except OSError as error:
            self._cannot_read(arrival, now, error)
            return None
        if not S_ISREG(stat.st_mode):
            # To open a FIFO would block; and what replaced a file that was reported has removed it.
            self._vanish(arrival)
            return None
        return stat.st_size, stat.st_mtime_ns, stat.st_ino, stat.st_dev

    def _is_checked(self, arrival: _Arrival, now: float) -> bool:
        """Check the bytes, and say whether the verdict is that on the file as it stands."""
        try:
            verdict = self._check(arrival.path)
        except OSError as error:
            self._cannot_read(arrival, now, error)
            return False
        signature = self._signature(arrival, now)
        if signature is None:
            return False
        if signature != arrival.signature:
            # It moved under the check, which may have taken long: `now` is old by that much, so
            # the quiet time starts at the next tick.
            arrival.signature, arrival.due = None, now
            return False
        arrival.verdict = verdict
        return True

    def _judge(self, arrival: _Arrival, now: float) -> None:
        """Report what the resting time and the verdict make of the file, and say when to look."""
        quiet_s, verdict, since = self._settings.quiet_s, arrival.verdict, arrival.since
        if verdict is None:
            arrival.due = since + quiet_s
            if arrival.reported is None:
                reason = f"{arrival.path} has not been unchanged for {quiet_s:g} s."
                self._report(arrival, ArrivalState.WAITING, reason)
            return
        match verdict.verdict:
            # No further byte makes a FITS file of what is none: the worker says so at once.
            case Verdict.COMPLETE | Verdict.NOT_FITS:
                whole_at = since
            case Verdict.PADDING_MISSING:
                whole_at = since + PADDING_QUIET_TIMES * quiet_s
            case _:
                whole_at = inf
        given_up_at = since + self._settings.incomplete_s
        if now >= whole_at:
            del self._table[arrival.path]
            self._report(arrival, ArrivalState.COMPLETE, verdict.reason)
        elif whole_at < inf:
            arrival.due = whole_at
        elif now >= given_up_at:
            arrival.due = now + LOOK_AGAIN_S
            self._report(arrival, ArrivalState.INCOMPLETE, verdict.reason)
        else:
            arrival.due = min(now + LOOK_AGAIN_S, given_up_at)
            self._report(arrival, ArrivalState.WAITING, verdict.reason)

    def _cannot_read(self, arrival: _Arrival, now: float, error: OSError) -> None:
        if isinstance(error, FileNotFoundError | NotADirectoryError):
            self._vanish(arrival)
            return
        remedy = (
            "let the watcher" if isinstance(error, PermissionError) else "the watcher will try to"
        )
        reason = f"{arrival.path} cannot be read ({error.strerror or error}): {remedy} read it."
        # The same file is checked again: what denies the reading need not show in its signature.
        arrival.due, arrival.verdict = now + LOOK_AGAIN_S, None
        self._report(arrival, ArrivalState.UNREADABLE, reason)

    def _vanish(self, arrival: _Arrival) -> None:
        del self._table[arrival.path]
        if arrival.reported is not None:
            reason = f"{arrival.path} went away before it was complete."
            self._report(arrival, ArrivalState.VANISHED, reason)

    def _report(self, arrival: _Arrival, state: ArrivalState, reason: str) -> None:
        if arrival.reported != (state, reason):
            arrival.reported = (state, reason)
            size, mtime_ns = arrival.signature[:2] if arrival.signature else (None, None)
            self._reports.append(ArrivalReport(arrival.path, state, reason, size, mtime_ns))
