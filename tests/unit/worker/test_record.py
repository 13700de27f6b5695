"""A record is read from text and written as text without loss; the table of states is whole."""

from __future__ import annotations

import dataclasses
import json
import os
from pathlib import Path
from typing import Any

import pytest

from worker.record import TERMINAL, TRANSITIONS, Event, FileRecord, State, encode

VALUES: dict[str, Any] = {
    "path": Path("/data/raw") / os.fsdecode(b"n\xff 1.fits"),
    "root": Path("/data/raw"),
    "night": "2026-11-22",
    "hdu": 0,
    "mask": Path("/data/raw/n.masks.fits"),
    "size": 2880,
    "mtime_ns": 1_795_000_000_123_456_789,
    "mpix": 67.125,
    "fractions": {"CR": 0.25, "TRL": 1e-9},
    "retry_at": 1_795_000_000.125,
    "reason": "été",
}


def test_what_is_written_is_read_back() -> None:
    text = encode(VALUES, place=True)
    assert {type(value) for value in text.values()} == {str}
    record = FileRecord.from_redis({**text, "key": "k", "state": "failed", "attempts": "2"})
    assert {name: getattr(record, name) for name in VALUES} == VALUES
    assert (record.key, record.state, record.attempts) == ("k", State.FAILED, 2)


def test_what_is_not_known_is_empty_text_and_none() -> None:
    assert encode({"mask": None, "seconds": None}) == {"mask": "", "seconds": ""}
    place = encode({name: VALUES[name] for name in ("path", "root", "night")}, place=True)
    record = FileRecord.from_redis(
        {**place, "key": "k", "state": "seen", "mask": "", "seconds": "", "claim": "not a field"}
    )
    assert (record.mask, record.seconds, record.fractions) == (None, None, {})


def test_a_record_is_json_in_the_order_of_its_fields() -> None:
    text = encode(VALUES, place=True)
    record = FileRecord.from_redis({**text, "key": "k", "state": "done"})
    values = record.as_dict()
    assert list(values) == [field.name for field in dataclasses.fields(FileRecord)]
    read = json.loads(json.dumps(values))
    assert read["state"] == "done"
    assert os.fsencode(read["path"]) == b"/data/raw/n\xff 1.fits"
    assert read["fractions"] == {"CR": 0.25, "TRL": 1e-9}


@pytest.mark.parametrize("name", ["colour", "key", "state", "attempts", "owner", "path"])
def test_other_fields_are_refused(name: str) -> None:
    with pytest.raises(TypeError, match=name):
        encode({name: "x"})


def test_a_place_is_whole() -> None:
    with pytest.raises(TypeError, match="night"):
        encode({"path": Path("a"), "root": Path()}, place=True)


def test_an_event_is_read_with_its_numbers() -> None:
    event = Event.from_redis("5-1", {"event": "done", "key": "k", "attempts": "2", "schema": "1"})
    assert (event.id, event.event, event.attempts, event.schema) == ("5-1", "done", 2, 1)
    assert event.mask == ""


def test_every_state_has_a_row_and_a_way_in() -> None:
    assert set(TRANSITIONS) == {None, *State}
    reached: set[State | None] = {None}
    while new := {target for source in reached for target in TRANSITIONS[source]} - reached:
        reached |= new
    assert reached == {None, *State}


def test_what_is_final_is_left_only_by_a_retry_or_a_return() -> None:
    ways_out = {state: TRANSITIONS[state] for state in TERMINAL if TRANSITIONS[state]}
    assert ways_out == {
        State.FAILED: {State.QUEUED, State.VANISHED},
        State.VANISHED: {State.QUEUED, State.WAITING, State.INCOMPLETE},
        # A directory that was named like an exposure, and is a file now.
        State.SKIPPED: {State.WAITING},
    }
