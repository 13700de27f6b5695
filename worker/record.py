"""What is known of one file: its state, its typed record, the events of its life."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any

__all__ = ["TERMINAL", "TRANSITIONS", "Event", "FileRecord", "State", "encode"]


class State(StrEnum):
    """Where a file stands on its way to a mask."""

    SEEN = "seen"
    WAITING = "waiting"
    QUEUED = "queued"
    RUNNING = "running"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    QUARANTINED = "quarantined"
    INCOMPLETE = "incomplete"
    VANISHED = "vanished"


#: States in which nothing happens by itself any more; a failure that is transient comes back
#: from here when its time has come.
TERMINAL = frozenset(
    {State.DONE, State.SKIPPED, State.FAILED, State.QUARANTINED, State.VANISHED},
)

#: Every change of state that exists, from what (None: no record) to what. The scripts in Redis
#: are built from this table and refuse all others.
TRANSITIONS: Mapping[State | None, frozenset[State]] = {
    None: frozenset({State.WAITING, State.INCOMPLETE, State.QUEUED, State.DONE, State.SKIPPED}),
    State.SEEN: frozenset({State.QUEUED, State.RUNNING, State.QUARANTINED, State.VANISHED}),
    State.WAITING: frozenset({State.WAITING, State.INCOMPLETE, State.VANISHED}),
    State.INCOMPLETE: frozenset({State.WAITING, State.INCOMPLETE, State.VANISHED}),
    State.QUEUED: frozenset({State.SEEN, State.RUNNING, State.QUARANTINED, State.VANISHED}),
    State.RUNNING: frozenset(
        {
            State.QUEUED,
            State.RUNNING,
            State.DONE,
            State.SKIPPED,
            State.FAILED,
            State.QUARANTINED,
            State.VANISHED,
        }
    ),
    State.DONE: frozenset(),
    State.SKIPPED: frozenset({State.WAITING}),
    State.FAILED: frozenset({State.QUEUED, State.VANISHED}),
    State.QUARANTINED: frozenset(),
    State.VANISHED: frozenset({State.QUEUED, State.WAITING, State.INCOMPLETE}),
}


@dataclass(frozen=True, slots=True, kw_only=True)
class FileRecord:
    """
    The record of one version of one file under one configuration.

    Parameters
    ----------
    key : str
        Its key (`worker.identity`), also the id of its Celery task.
    path, root : Path
        The file and the watched root that it was found under.
    hdu : int or None
        The one HDU asked for; None for the whole file.
    night : str
        The night it belongs to, `YYYY-MM-DD`.
    state : State
        Where it stands.
    reason : str
        One sentence on why, for every state that needs one.
    error, error_kind : str
        Class of the error, and `permanent` or `transient`; both empty without an error.
    attempts : int
        Attempts begun, the running one included; those handed back do not count.
    queue, message : str
        Celery's queue and the id of the message.
    worker, owner, device, engine : str
        Who works or worked on it (`host:pid`), who holds the lease, and with what.
    instrument : str
        Instrument in the header.
    mask : Path or None
        The mask file.
    size, mtime_ns : int or None
        Bytes, and time of the last change in nanoseconds since 1970.
    configuration, preset : str
        Hash of the configuration, name of the preset.
    class_files : mapping of str to str
        Paths of the class files that were followed, by their names.
    options : mapping
        What was asked for beyond the settings (`worker.overlay`); empty for a watcher's.
    seen_at, queued_at, started_at, finished_at : str
        UTC, ISO 8601 with milliseconds; empty where it has not come to that.
    seconds : float or None
        How long the last attempt took.
    hdus, hdus_done : int or None
        Planes to mask, planes masked.
    mpix, mpix_done : float or None
        The same in millions of pixels.
    fractions : dict of str to float
        Masked fraction of the pixels by class.
    track : float or None
        Probability of a tracking error, where it was asked for.
    retry_at, lease_until : float or None
        Seconds since 1970 when a transient failure is due again, and when the lease ends.
    """

    key: str
    path: Path
    root: Path
    hdu: int | None = None
    night: str
    state: State
    reason: str = ""
    error: str = ""
    error_kind: str = ""
    attempts: int = 0
    queue: str = ""
    worker: str = ""
    device: str = ""
    engine: str = ""
    instrument: str = ""
    mask: Path | None = None
    size: int | None = None
    mtime_ns: int | None = None
    configuration: str = ""
    preset: str = ""
    class_files: Mapping[str, str] = field(default_factory=dict)
    options: Mapping[str, Any] = field(default_factory=dict)
    seen_at: str = ""
    queued_at: str = ""
    started_at: str = ""
    finished_at: str = ""
    seconds: float | None = None
    hdus: int | None = None
    hdus_done: int | None = None
    mpix: float | None = None
    mpix_done: float | None = None
    fractions: Mapping[str, float] = field(default_factory=dict)
    track: float | None = None
    retry_at: float | None = None
    lease_until: float | None = None
    owner: str = ""
    message: str = ""

    @property
    def is_submission(self) -> bool:
        """Whether it was asked for with options of its own: no watcher asks so."""
        return self.hdu is not None or bool(self.options)

    @property
    def is_apart(self) -> bool:
        """Whether its mask is another than the whole file's: one HDU's, or in a named directory."""
        return self.hdu is not None or bool(self.options.get("output_dir"))

    @classmethod
    def from_redis(cls, values: Mapping[str, str]) -> FileRecord:
        """
        Read a record from its hash.

        Parameters
        ----------
        values : mapping of str to str
            The hash; an empty text is a value that is not known, fields that are not ours are
            passed over.

        Returns
        -------
        FileRecord
            The typed record.
        """
        return cls(
            **{
                name: PARSERS.get(name, str)(text)
                for name, text in values.items()
                if text != "" and name in FIELDS
            },
        )

    def as_dict(self) -> dict[str, Any]:
        """
        Return the record as JSON can hold it.

        Returns
        -------
        dict
            Every field by name; paths and the state as text, what is not known as None or "".
        """
        values = {one.name: getattr(self, one.name) for one in dataclasses.fields(self)}
        return {
            name: str(value) if isinstance(value, Path) else value for name, value in values.items()
        } | {
            "state": self.state.value,
            "fractions": dict(self.fractions),
            "class_files": dict(self.class_files),
            "options": dict(self.options),
        }


@dataclass(frozen=True, slots=True, kw_only=True)
class Event:
    """
    One entry of the event stream.

    Parameters
    ----------
    id : str
        Its place in the stream; give the last one to read on from there.
    event : str
        The new state, or `superseded` or `forgotten`.
    key, night, path, mask, reason : str
        As in the record at that moment.
    attempts : int
        As in the record.
    track : float or None
        As in the record.
    ts : str
        When, UTC, ISO 8601 with milliseconds.
    schema : int
        Version of this layout.
    """

    id: str
    event: str
    key: str
    night: str
    path: str
    mask: str
    reason: str
    attempts: int
    track: float | None
    ts: str
    schema: int

    @classmethod
    def from_redis(cls, entry_id: str, values: Mapping[str, str]) -> Event:
        """
        Read an event from its stream entry.

        Parameters
        ----------
        entry_id : str
            The entry's id.
        values : mapping of str to str
            The entry's fields.

        Returns
        -------
        Event
            The typed event.
        """
        known = {name: values.get(name, "") for name in cls.__slots__ if name != "id"}
        numbers = {name: int(known.pop(name) or 0) for name in ("attempts", "schema")}
        track = known.pop("track")
        return cls(id=entry_id, track=float(track) if track else None, **known, **numbers)  # type: ignore[arg-type]

    def as_dict(self) -> dict[str, Any]:
        """
        Return the event as JSON can hold it.

        Returns
        -------
        dict
            Every field by name.
        """
        return dataclasses.asdict(self)


def encode(values: Mapping[str, Any], *, place: bool = False) -> dict[str, str]:
    """
    Spell fields of a record as Redis holds them.

    Parameters
    ----------
    values : mapping
        Values by the names of `FileRecord`; None is written as "", which is "not known".
    place : bool, optional
        Whether they say where the record belongs, by `path`, `root` and `night`: all three then,
        else none.

    Returns
    -------
    dict of str to str
        The fields to write.

    Raises
    ------
    TypeError
        Where a name is none of a record's, is one that only `worker.status` itself writes, or
        is missing.
    """
    if wrong := set(values) - (WRITABLE | PLACE if place else WRITABLE):
        raise TypeError(f"not fields of a record that a caller writes here: {sorted(wrong)}")
    if place and (missing := PLACE - set(values)):
        raise TypeError(f"a record needs these fields too: {sorted(missing)}")
    return {name: _text(value) for name, value in values.items()}


def _text(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, Mapping):
        return json.dumps(dict(value), sort_keys=True)
    return str(value)


FIELDS = frozenset(one.name for one in dataclasses.fields(FileRecord))

#: Fields that say where a record belongs; the sets and the path's key depend on them.
PLACE = frozenset({"path", "root", "night"})

#: Fields that callers may set at any time; the others follow from what happens.
WRITABLE = FIELDS - PLACE - {"key", "state", "attempts", "owner", "lease_until"}

PARSERS: Mapping[str, Callable[[str], Any]] = {
    "path": Path,
    "root": Path,
    "mask": Path,
    "state": State,
    "fractions": json.loads,
    "class_files": json.loads,
    "options": json.loads,
    **dict.fromkeys(("hdu", "attempts", "size", "mtime_ns", "hdus", "hdus_done"), int),
    **dict.fromkeys(("seconds", "track", "mpix", "mpix_done", "retry_at", "lease_until"), float),
}
