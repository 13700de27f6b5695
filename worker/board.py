"""What is known of the files: records, counts and events, read from Redis and never written."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import cast

import redis

from worker.identity import path_hash
from worker.record import Event, FileRecord, State
from worker.scripts import EVENTS, FILE, NIGHT, NIGHTS, SCRIPTS

__all__ = ["Board"]

#: Records read in one round trip.
CHUNK = 1000
#: The server may hold a reply back for so long, well below the client's own time limit.
BLOCK_MAX_MS = 20_000


class Board:
    """
    The records of all files on one server, to be read.

    Parameters
    ----------
    client : redis.Redis
        A client as `worker.connection.connect` makes it.
    """

    def __init__(self, client: redis.Redis) -> None:
        self.client = client
        self._current = client.register_script(SCRIPTS["current"])

    def get(self, key: str) -> FileRecord | None:
        """
        Read one record.

        Parameters
        ----------
        key : str
            The key.

        Returns
        -------
        FileRecord or None
            The record; None where there is none.
        """
        return next(iter(self._read([key])), None)

    def current(
        self, path: Path, *, hdu: int | None = None, output_dir: Path | None = None
    ) -> FileRecord | None:
        """
        Read the record of the present version of a file.

        Parameters
        ----------
        path : Path
            The file.
        hdu : int, optional
            The one HDU that was asked for; the whole file if not given.
        output_dir : Path, optional
            The directory that was named for its mask.

        Returns
        -------
        FileRecord or None
            The record; None where there is none.
        """
        pointer = path_hash(path, hdu=hdu, output_dir=output_dir)
        flat = self._current(args=["", 0, "", pointer])
        values = dict(zip(flat[::2], flat[1::2], strict=True))
        return FileRecord.from_redis(values) if values else None

    def nights(self) -> list[str]:
        """
        List the nights that have records.

        Returns
        -------
        list of str
            Sorted, `YYYY-MM-DD`.
        """
        return sorted(cast("set[str]", self.client.smembers(NIGHTS)))

    def night(self, night: str) -> list[FileRecord]:
        """
        Read the records of a night.

        Parameters
        ----------
        night : str
            `YYYY-MM-DD`.

        Returns
        -------
        list of FileRecord
            In the order in which the files were seen.
        """
        return self.records(night=night)

    def records(self, *, state: State | None = None, night: str | None = None) -> list[FileRecord]:
        """
        Read the records of a state, of a night, of both, or all.

        Parameters
        ----------
        state : State, optional
            The one state; all if not given.
        night : str, optional
            The one night; all if not given.

        Returns
        -------
        list of FileRecord
            In the order in which the files were seen.
        """
        nights = self.nights() if night is None else [night]
        states = list(State) if state is None else [state]
        sets = [f"{NIGHT}{one}:{each}" for one in nights for each in states]
        # The sets of all states at one moment, so that a file on its way between two is not missed.
        keys = cast("set[str]", self.client.sunion(sets)) if sets else set()
        found = self._read(sorted(keys))
        return sorted(found, key=lambda record: (record.seen_at, str(record.path)))

    def counts(self, night: str) -> dict[State, int]:
        """
        Count the files of a night by state, all at one moment.

        Parameters
        ----------
        night : str
            `YYYY-MM-DD`.

        Returns
        -------
        dict of State to int
            Every state, also those without files.
        """
        pipeline = self.client.pipeline(transaction=True)
        for state in State:
            pipeline.scard(f"{NIGHT}{night}:{state}")
        return dict(zip(State, pipeline.execute(), strict=True))

    def events(
        self, after: str = "0", *, count: int = 1000, block_ms: int | None = None
    ) -> list[Event]:
        """
        Read what happened after a place in the stream.

        Parameters
        ----------
        after : str, optional
            Id of the last event read; "0" for the beginning, "$" for what comes from now on.
        count : int, optional
            The most events to return.
        block_ms : int, optional
            How long to wait for the next event, in milliseconds, at most 20 000; no waiting if not
            given.

        Returns
        -------
        list of Event
            In order; empty where there are none.
        """
        block = None if block_ms is None else max(1, min(block_ms, BLOCK_MAX_MS))
        answer = self.client.xread({EVENTS: after}, count=count, block=block)
        # The server answers with pairs or with a mapping, as the version of the protocol has it.
        streams = dict(answer or {})
        return [Event.from_redis(*entry) for entry in streams.get(EVENTS, [])]

    def _read(self, keys: Iterable[str]) -> list[FileRecord]:
        keys = list(keys)
        records = []
        for start in range(0, len(keys), CHUNK):
            pipeline = self.client.pipeline(transaction=False)
            for key in keys[start : start + CHUNK]:
                pipeline.hgetall(f"{FILE}{key}")
            records += [FileRecord.from_redis(values) for values in pipeline.execute() if values]
        return records
