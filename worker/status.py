"""Status in Redis: what happens to a file goes in, its record and the events come out.

Redis keys are known here, in `scripts` and in `board`, the reading half, and nowhere else. Every
change is one script: compare, write the hash, move the key between the night's sets, append the
event. A change whose reply was lost, so that the client sends it again, counts once.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

import redis

from worker.board import Board
from worker.identity import path_hash
from worker.record import TERMINAL, TRANSITIONS, Event, FileRecord, State, encode
from worker.scripts import SCRIPTS

__all__ = [
    "TERMINAL",
    "TRANSITIONS",
    "Begin",
    "Event",
    "FileRecord",
    "Outcome",
    "State",
    "Status",
]


class Outcome(StrEnum):
    """What became of the wish to begin."""

    STARTED = "started"
    BUSY = "busy"
    QUARANTINED = "quarantined"
    STALE = "stale"


@dataclass(frozen=True, slots=True)
class Begin:
    """
    The answer to `Status.begin`.

    Parameters
    ----------
    outcome : Outcome
        `STARTED`: the exposure is the caller's; `BUSY`: another holds a live lease; `QUARANTINED`:
        its attempts are used up; `STALE`: there is nothing to do, for it is finished, unknown,
        or no longer the current version of its path.
    attempt : int
        The attempt that has begun; in the other cases, the attempts so far.
    owner : str
        Who holds the lease, when busy.
    lease_until : float or None
        Until when, in seconds since 1970, when busy.
    """

    outcome: Outcome
    attempt: int = 0
    owner: str = ""
    lease_until: float | None = None


class Status(Board):
    """
    The records of all files on one server, to be read and changed.

    Parameters
    ----------
    client : redis.Redis
        A client as `worker.connection.connect` makes it.

    Notes
    -----
    `now`, in every method that has it, is the time in seconds since 1970; `time.time()` unless
    given. Further fields are those of `FileRecord`; an unknown name is a `TypeError`.
    """

    def __init__(self, client: redis.Redis) -> None:
        super().__init__(client)
        self._scripts = {name: client.register_script(text) for name, text in SCRIPTS.items()}

    def note(
        self,
        key: str,
        *,
        path: Path,
        root: Path,
        night: str,
        state: State,
        reason: str = "",
        size: int | None = None,
        mtime_ns: int | None = None,
        now: float | None = None,
        **fields: Any,
    ) -> bool:
        """
        Record that a file is not complete yet.

        Parameters
        ----------
        key : str
            Its arrival key.
        path, root : Path
            The file and its watched root.
        night : str
            Its night, `YYYY-MM-DD`.
        state : State
            `WAITING` or `INCOMPLETE`.
        reason : str, optional
            What it waits for.
        size, mtime_ns : int, optional
            As seen now. They tell a known version of the file from a new one.
        now : float, optional
            The time.
        **fields : Any
            Further fields.

        Returns
        -------
        bool
            Whether anything is new; if not, there is no event.

        Notes
        -----
        A file whose present version (size and mtime) has an exposure's record keeps it: a watcher
        that starts again does not take back what is done, nor forget attempts. A changed file
        supersedes that record. Without size and mtime, the record stays.
        """
        pairs = encode({"path": path, "root": root, "night": night, **fields}, place=True)
        version = ("" if size is None else size, "" if mtime_ns is None else mtime_ns)
        seen = (path_hash(path), state, *version, reason, night)
        return bool(self._call("note", key, now, *seen, pairs=pairs))

    def claim(self, key: str, fields: Mapping[str, Any], *, now: float | None = None) -> bool:
        """
        Take the right to enqueue an exposure: true for exactly one caller.

        Parameters
        ----------
        key : str
            The exposure's key.
        fields : mapping
            Fields of its record: `path`, `root` and `night`, and what else is known. `hdu` and the
            `output_dir` of `options` say whose record it supersedes.
        now : float, optional
            The time.

        Returns
        -------
        bool
            True where there is no record, or it is `seen`, `vanished`, a transient failure that is
            due, or running with an expired lease. Attempts go on counting. Any other record of
            the same path, HDU and output directory is superseded.
        """
        pairs = encode(fields, place=True)
        token = uuid.uuid4().hex
        return bool(self._call("claim", key, now, _pointer(fields), token, pairs=pairs))

    def unclaim(self, key: str, *, now: float | None = None) -> bool:
        """
        Give a claim back because the message could not be sent: queued to seen.

        Parameters
        ----------
        key : str
            The exposure's key.
        now : float, optional
            The time.

        Returns
        -------
        bool
            False where it is not queued; a worker may have it already.
        """
        return bool(self._call("unclaim", key, now))

    def begin(
        self,
        key: str,
        owner: str,
        *,
        lease_s: float,
        max_attempts: int,
        dead_owner: str = "",
        now: float | None = None,
        **fields: Any,
    ) -> Begin:
        """
        Begin an attempt: count it, lease the exposure, and only then let work start.

        Parameters
        ----------
        key : str
            The exposure's key.
        owner : str
            Who begins, as no other process is called.
        lease_s : float
            Seconds for which it is the owner's without `renew`.
        max_attempts : int
            Attempts after which it is quarantined instead; those that ended with a transient
            failure do not count.
        dead_owner : str, optional
            An owner that is known to be dead: its lease counts as expired.
        now : float, optional
            The time.
        **fields : Any
            Further fields, such as `worker`, `device`, `engine`, `message`.

        Returns
        -------
        Begin
            What became of it.
        """
        now = time.time() if now is None else now
        limits = (owner, f"{now + lease_s:.3f}", max_attempts, dead_owner)
        answer = self._call("begin", key, now, *limits, pairs=encode(fields))
        outcome, attempt, holder, lease = answer
        return Begin(Outcome(outcome), int(attempt), holder, float(lease) if lease else None)

    def renew(self, key: str, owner: str, *, lease_s: float, now: float | None = None) -> bool:
        """
        Prolong a lease.

        Parameters
        ----------
        key : str
            The exposure's key.
        owner : str
            Who began it.
        lease_s : float
            Seconds from now.
        now : float, optional
            The time.

        Returns
        -------
        bool
            False where it is not the owner's any more.
        """
        now = time.time() if now is None else now
        return bool(self._call("renew", key, now, owner, f"{now + lease_s:.3f}"))

    def progress(self, key: str, owner: str, **fields: Any) -> bool:
        """
        Note how far an attempt is, without an event.

        Parameters
        ----------
        key : str
            The exposure's key.
        owner : str
            Who began it.
        **fields : Any
            Such as `hdus`, `hdus_done`, `mpix`, `mpix_done`, `instrument`.

        Returns
        -------
        bool
            False where it is not the owner's any more.
        """
        return bool(self._call("progress", key, None, owner, pairs=encode(fields)))

    def finish(
        self, key: str, owner: str, state: State, *, now: float | None = None, **fields: Any
    ) -> bool:
        """
        End an attempt with its result.

        Parameters
        ----------
        key : str
            The exposure's key.
        owner : str
            Who began it.
        state : State
            `DONE`, `SKIPPED`, `FAILED` or `VANISHED`.
        now : float, optional
            The time.
        **fields : Any
            Such as `mask`, `fractions`, `seconds`, `reason`, `error`, `error_kind`, `retry_at`.

        Returns
        -------
        bool
            False where it is not the owner's any more: then nothing is written.

        Raises
        ------
        ValueError
            Where the state is not the end of an attempt.
        """
        if state not in TERMINAL:
            raise ValueError(f"an attempt does not end in the state {state}")
        return bool(self._call("finish", key, now, owner, state, pairs=encode(fields)))

    def release(self, key: str, owner: str, *, now: float | None = None) -> bool:
        """
        Hand a running exposure back to the queue; the attempt does not count.

        Parameters
        ----------
        key : str
            The exposure's key.
        owner : str
            Who began it.
        now : float, optional
            The time.

        Returns
        -------
        bool
            False where it is not the owner's any more.
        """
        return bool(self._call("release", key, now, owner))

    def rebuilt(self, key: str, fields: Mapping[str, Any], *, now: float | None = None) -> bool:
        """
        Record as done what its mask on disk shows to be done.

        Parameters
        ----------
        key : str
            The exposure's key.
        fields : mapping
            Fields of its record: `path`, `root`, `night`, `mask`, and what else the mask tells.
        now : float, optional
            The time.

        Returns
        -------
        bool
            False where there is a record; it stays as it is.
        """
        pairs = encode(fields, place=True)
        return bool(self._call("rebuilt", key, now, _pointer(fields), pairs=pairs))

    def vanish(self, key: str, reason: str, *, now: float | None = None) -> bool:
        """
        Record that the file went away before it was masked.

        Parameters
        ----------
        key : str
            The key.
        reason : str
            One sentence.
        now : float, optional
            The time.

        Returns
        -------
        bool
            False where there is no record, it is running (its worker will see), or the file was
            masked, skipped or quarantined before.
        """
        return bool(self._call("vanish", key, now, reason))

    def forget(self, key: str, *, now: float | None = None) -> bool:
        """
        Remove a record, so that its file can be claimed afresh, without earlier attempts.

        Parameters
        ----------
        key : str
            The key.
        now : float, optional
            The time.

        Returns
        -------
        bool
            False where there is none.
        """
        return bool(self._call("forget", key, now))

    def _call(
        self,
        name: str,
        key: str,
        now: float | None,
        *arguments: Any,
        pairs: Mapping[str, str] | None = None,
    ) -> Any:
        now = time.time() if now is None else now
        moment = datetime.fromtimestamp(now, UTC)
        iso = moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        flat = [part for pair in (pairs or {}).items() for part in pair]
        return self._scripts[name](args=[key, f"{now:.3f}", iso, *arguments, *flat])


def _pointer(fields: Mapping[str, Any]) -> str:
    output_dir = (fields.get("options") or {}).get("output_dir")
    return path_hash(fields["path"], hdu=fields.get("hdu"), output_dir=output_dir)
