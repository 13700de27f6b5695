"""Compares the disk with the records: a file and its record in, what is to be done out."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from worker.status import FileRecord, State

__all__ = ["Action", "Decision", "decide", "vanished"]


class Action(StrEnum):
    """What a sweep wants done with a file."""

    NOTHING = "nothing"
    LOOK = "look"
    OFFER = "offer"
    MASK_AGAIN = "mask again"


@dataclass(frozen=True)
class Decision:
    """
    One file and what is to be done with it.

    Parameters
    ----------
    path, root : Path
        The file and its watched root.
    action : Action
        `LOOK`: watch it until it is complete; `OFFER`: it is known to be complete, queue it;
        `MASK_AGAIN`: its mask is gone, forget the record and look.
    key : str
        Key of its record, empty without one.
    """

    path: Path
    root: Path
    action: Action
    key: str = ""


#: States in which the record of an unchanged file rests.
_RESTING = frozenset({State.QUEUED, State.SKIPPED, State.QUARANTINED})


def decide(
    path: Path,
    root: Path,
    record: FileRecord | None,
    *,
    configuration: str,
    now: float | None = None,
) -> Decision:
    """
    Decide what is to be done with a file that a sweep has found.

    Parameters
    ----------
    path, root : Path
        The file and its watched root.
    record : FileRecord, optional
        The record of its present version, if there is one.
    configuration : str
        Hash of all that decides about a mask.
    now : float, optional
        Seconds since 1970.

    Returns
    -------
    Decision
        What is to be done.

    Raises
    ------
    OSError
        Where the file cannot be looked at.

    Notes
    -----
    A submission keeps the options that it was asked for with: that its configuration is not the
    watcher's is no reason to mask the file again.
    """
    now = time.time() if now is None else now
    stat = path.stat()
    if record is None:
        return Decision(path, root, Action.LOOK)
    changed = (record.size, record.mtime_ns) != (stat.st_size, stat.st_mtime_ns)
    other = record.configuration not in {"", configuration} and not record.is_submission
    if changed or other:
        return Decision(path, root, Action.LOOK, record.key)
    return Decision(path, root, _action(record, now), record.key)


def _action(record: FileRecord, now: float) -> Action:
    match record.state:
        case State.DONE:
            gone = record.mask is not None and not os.path.lexists(record.mask)
            return Action.MASK_AGAIN if gone else Action.NOTHING
        case State.FAILED:
            due = record.error_kind == "transient" and (record.retry_at or 0) <= now
            return Action.OFFER if due else Action.NOTHING
        case State.RUNNING:
            return Action.OFFER if (record.lease_until or 0) <= now else Action.NOTHING
        case State.SEEN | State.VANISHED:
            return Action.OFFER
        case state if state in _RESTING:
            return Action.NOTHING
        case _:
            return Action.LOOK


def vanished(
    records: Iterable[FileRecord],
    found: Collection[Path],
    roots: Collection[Path],
    passed_over: Collection[Path] = (),
) -> Iterator[FileRecord]:
    """
    Find the records of unfinished files that a complete sweep has not found, and that are gone.

    Parameters
    ----------
    records : iterable of FileRecord
        All records.
    found : collection of Path
        The files that the sweep has found.
    roots : collection of Path
        The roots that are there.
    passed_over : collection of Path, optional
        Directories that could not be read: nothing is known of the files below them.

    Yields
    ------
    FileRecord
        Records of files that went away before they were masked.
    """
    unfinished = {State.SEEN, State.WAITING, State.INCOMPLETE, State.QUEUED, State.FAILED}
    for record in records:
        if record.state not in unfinished or record.root not in roots or record.path in found:
            continue
        if any(record.path.is_relative_to(directory) for directory in passed_over):
            continue
        # What was submitted need not be what a sweep looks for.
        if not os.path.isfile(record.path):  # noqa: PTH113 (which raises nothing)
            yield record
