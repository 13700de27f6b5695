"""Status on a real server: who may do what, what is recorded, and what others read of it."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import redis

from worker.connection import connect
from worker.identity import path_hash
from worker.record import TRANSITIONS, State
from worker.status import Begin, FileRecord, Outcome, Status

NIGHT = "2026-11-22"
ROOT = Path("/data/raw")
PATH = ROOT / "n0001.fits"
KEY = "0" * 32
FIELDS: dict[str, Any] = {"path": PATH, "root": ROOT, "night": NIGHT, "size": 2880, "mtime_ns": 7}
NOW = 1_795_000_000.0
LEASE: dict[str, Any] = {"lease_s": 60.0, "max_attempts": 3}


def check_invariants(status: Status) -> None:
    """Every record is in one set, that of its state and night; paths and nights lead to records."""
    client = status.client
    expected: dict[str, set[str]] = {}
    nights = set()
    for file in client.scan_iter("maximask:file:*"):
        values = client.hgetall(file)
        assert file == f"maximask:file:{values['key']}"
        expected.setdefault(f"maximask:night:{values['night']}:{values['state']}", set()).add(
            values["key"]
        )
        nights.add(values["night"])
        record = FileRecord.from_redis(values)
        output_dir = record.options.get("output_dir")
        pointer = path_hash(record.path, hdu=record.hdu, output_dir=output_dir)
        assert client.get(f"maximask:path:{pointer}") == record.key
        assert (record.lease_until is not None) == (record.state is State.RUNNING)
        assert not (record.state is State.RUNNING and not record.owner)
    sets = set(client.scan_iter("maximask:night:*"))
    assert {name: client.smembers(name) for name in sets} == expected
    assert client.smembers("maximask:nights") == nights
    keys = {client.get(name) for name in client.scan_iter("maximask:path:*")}
    assert keys == {key for members in expected.values() for key in members}


@pytest.fixture
def status(client: redis.Redis) -> Iterator[Status]:
    status = Status(client)
    yield status
    check_invariants(status)


def names(status: Status) -> list[str]:
    return [event.event for event in status.events()]


def running(status: Status, *, now: float = NOW, owner: str = "a") -> None:
    assert status.claim(KEY, FIELDS, now=now)
    assert status.begin(KEY, owner, now=now, **LEASE).outcome is Outcome.STARTED


def state_of(status: Status, key: str = KEY) -> State | None:
    record = status.get(key)
    return record.state if record else None


# Claims


def test_one_of_fifty_claims_wins(status: Status, valkey_url: str) -> None:
    clients = [connect(valkey_url) for _ in range(10)]
    statuses = [Status(client) for client in clients]
    with ThreadPoolExecutor(50) as pool:
        wins = list(pool.map(lambda n: statuses[n % 10].claim(KEY, FIELDS), range(50)))
    assert sum(wins) == 1
    assert names(status) == ["queued"]
    for client in clients:
        client.close()


def test_a_claim_that_is_sent_again_after_a_lost_reply_is_still_won(
    status: Status, monkeypatch: pytest.MonkeyPatch
) -> None:
    script = status._scripts["claim"]

    def twice(**arguments: Any) -> Any:
        script(**arguments)
        return script(**arguments)

    monkeypatch.setitem(status._scripts, "claim", twice)  # type: ignore[arg-type]
    assert status.claim(KEY, FIELDS)
    assert not status.claim(KEY, FIELDS)
    assert names(status) == ["queued"]


def test_a_claim_records_the_file(status: Status) -> None:
    assert status.claim(KEY, {**FIELDS, "queue": "cpu", "hdu": 3, "preset": "p"}, now=NOW)
    record = status.get(KEY)
    assert record == FileRecord(
        key=KEY,
        path=PATH,
        root=ROOT,
        hdu=3,
        night=NIGHT,
        state=State.QUEUED,
        queue="cpu",
        preset="p",
        size=2880,
        mtime_ns=7,
        seen_at="2026-11-18T11:06:40.000Z",
        queued_at="2026-11-18T11:06:40.000Z",
    )
    assert status.current(PATH, hdu=3) == record
    assert status.current(PATH) is None
    assert status.night(NIGHT) == [record]


def test_one_path_has_a_record_for_each_hdu_and_output_directory(status: Status) -> None:
    elsewhere = {"options": {"output_dir": "/masks"}}
    kinds = [{}, {"hdu": 0}, {"hdu": 1}, elsewhere, {"hdu": 1, **elsewhere}]
    for number, kind in enumerate(kinds):
        assert status.claim(f"{number:032x}", {**FIELDS, **kind})
    assert len(status.records()) == len(kinds)
    assert status.claim("f" * 32, {**FIELDS, "hdu": 1, "options": {"mask": {"tiles": "wide"}}})
    assert status.get(f"{2:032x}") is None
    assert len(status.records()) == len(kinds)
    current = status.current(PATH, hdu=1, output_dir=Path("/masks"))
    assert current is not None
    assert (current.key, current.is_apart, current.is_submission) == (f"{4:032x}", True, True)


def test_a_claim_whose_message_was_not_sent_can_be_repeated(status: Status) -> None:
    assert status.claim(KEY, FIELDS)
    assert status.unclaim(KEY)
    assert state_of(status) is State.SEEN
    assert not status.unclaim(KEY)
    assert status.claim(KEY, FIELDS)
    assert names(status) == ["queued", "seen", "queued"]


def test_a_message_that_was_sent_all_the_same_may_begin(status: Status) -> None:
    status.claim(KEY, FIELDS)
    status.unclaim(KEY)
    assert status.begin(KEY, "a", **LEASE).outcome is Outcome.STARTED
    assert not status.claim(KEY, FIELDS)
    assert not status.unclaim(KEY)


@pytest.mark.parametrize("state", [State.DONE, State.SKIPPED, State.FAILED, State.VANISHED])
def test_only_a_vanished_file_is_claimed_again_once_it_has_ended(
    status: Status, state: State
) -> None:
    running(status)
    assert status.finish(KEY, "a", state, error_kind="permanent", now=NOW)
    assert status.claim(KEY, FIELDS, now=NOW + 1e6) == (state is State.VANISHED)


def test_a_transient_failure_is_claimed_again_when_it_is_due(status: Status) -> None:
    running(status)
    assert status.finish(
        KEY, "a", State.FAILED, error="DiskFull", error_kind="transient", retry_at=NOW + 60
    )
    assert not status.claim(KEY, FIELDS, now=NOW + 59)
    assert status.claim(KEY, FIELDS, now=NOW + 60)
    record = status.get(KEY)
    assert record is not None
    assert (record.attempts, record.error, record.retry_at) == (1, "", None)


def test_a_running_exposure_is_claimed_again_when_its_lease_has_expired(status: Status) -> None:
    running(status)
    assert not status.claim(KEY, FIELDS, now=NOW + 59.9)
    assert status.claim(KEY, FIELDS, now=NOW + 60)
    assert not status.renew(KEY, "a", lease_s=60)
    assert not status.finish(KEY, "a", State.DONE)
    assert status.begin(KEY, "b", now=NOW + 61, **LEASE) == Begin(Outcome.STARTED, 2)


@pytest.mark.parametrize("name", ["state", "owner", "attempts", "key", "colour"])
def test_fields_that_are_not_the_callers_are_refused(status: Status, name: str) -> None:
    with pytest.raises(TypeError, match=name):
        status.claim(KEY, {**FIELDS, name: "x"})
    assert status.get(KEY) is None


@pytest.mark.parametrize("name", ["path", "root", "night"])
def test_a_record_says_where_it_belongs_once(status: Status, name: str) -> None:
    with pytest.raises(TypeError, match=name):
        status.claim(KEY, {key: value for key, value in FIELDS.items() if key != name})
    running(status)
    for change in (status.progress, lambda *a, **f: status.finish(*a, State.DONE, **f)):
        with pytest.raises(TypeError, match=name):
            change(KEY, "a", **{name: "elsewhere"})


# Attempts


def test_an_attempt_is_counted_before_the_work(status: Status) -> None:
    status.claim(KEY, FIELDS, now=NOW)
    begin = status.begin(KEY, "a", now=NOW, worker="host:7", device="cpu", **LEASE)
    assert begin == Begin(Outcome.STARTED, 1)
    record = status.get(KEY)
    assert record is not None
    assert (record.state, record.attempts, record.owner) == (State.RUNNING, 1, "a")
    assert (record.worker, record.device) == ("host:7", "cpu")
    assert record.lease_until == NOW + 60


def test_a_live_lease_keeps_others_away(status: Status) -> None:
    running(status)
    assert status.begin(KEY, "b", now=NOW + 30, **LEASE) == Begin(Outcome.BUSY, 1, "a", NOW + 60)
    assert status.renew(KEY, "a", lease_s=60, now=NOW + 50)
    assert status.begin(KEY, "b", now=NOW + 70, **LEASE).outcome is Outcome.BUSY
    assert not status.renew(KEY, "b", lease_s=60)
    assert names(status) == ["queued", "running"]


def test_an_expired_lease_lets_another_begin(status: Status) -> None:
    running(status)
    assert status.begin(KEY, "b", now=NOW + 60, **LEASE) == Begin(Outcome.STARTED, 2)
    assert not status.progress(KEY, "a", hdus_done=1)
    assert not status.release(KEY, "a")
    assert status.finish(KEY, "b", State.DONE)


def test_the_lease_of_a_dead_owner_does_not_count(status: Status) -> None:
    running(status)
    assert status.begin(KEY, "b", now=NOW + 1, dead_owner="c", **LEASE).outcome is Outcome.BUSY
    assert status.begin(KEY, "b", now=NOW + 1, dead_owner="a", **LEASE) == Begin(Outcome.STARTED, 2)


def test_a_begin_that_is_sent_again_counts_once(status: Status) -> None:
    running(status)
    assert status.begin(KEY, "a", now=NOW, **LEASE) == Begin(Outcome.STARTED, 1)
    assert status.begin(KEY, "a", now=NOW + 1, **LEASE) == Begin(Outcome.STARTED, 2)


def test_attempts_without_a_result_end_in_quarantine(status: Status) -> None:
    status.claim(KEY, FIELDS, now=NOW)
    for attempt in (1, 2, 3):
        begin = status.begin(KEY, f"w{attempt}", now=NOW + attempt * 100, worker="host:7", **LEASE)
        assert begin == Begin(Outcome.STARTED, attempt)
    assert status.begin(KEY, "w4", now=NOW + 400, **LEASE) == Begin(Outcome.QUARANTINED, 3)
    record = status.get(KEY)
    assert record is not None
    assert record.state is State.QUARANTINED
    assert record.reason.startswith("3 attempts ended without a result, the last on host:7:")
    assert not status.claim(KEY, FIELDS, now=NOW + 1e6)
    assert status.begin(KEY, "w5", now=NOW + 1e6, **LEASE) == Begin(Outcome.STALE, 3)
    assert status.events()[-1].event == "quarantined"
    assert status.events()[-1].attempts == 3


def test_transient_failures_never_end_in_quarantine(status: Status) -> None:
    failure = {"error_kind": "transient", "retry_at": NOW}
    for attempt in range(1, 7):
        assert status.claim(KEY, FIELDS, now=NOW + attempt)
        begin = status.begin(KEY, "w", now=NOW + attempt, **LEASE)
        assert begin == Begin(Outcome.STARTED, attempt)
        # Sent twice, as after a lost reply, it counts once.
        for _ in range(2):
            assert status.finish(KEY, "w", State.FAILED, now=NOW + attempt, **failure)
    status.claim(KEY, FIELDS, now=NOW + 10)
    for attempt in (7, 8, 9):
        begin = status.begin(KEY, f"w{attempt}", now=NOW + attempt * 100, **LEASE)
        assert begin == Begin(Outcome.STARTED, attempt)
    assert status.begin(KEY, "w10", now=NOW + 1000, **LEASE) == Begin(Outcome.QUARANTINED, 9)
    record = status.get(KEY)
    assert record is not None
    assert record.reason.startswith("3 attempts ended without a result")


def test_what_is_handed_back_does_not_count(status: Status) -> None:
    status.claim(KEY, FIELDS)
    for _ in range(5):
        assert status.begin(KEY, "a", **LEASE) == Begin(Outcome.STARTED, 1)
        assert status.release(KEY, "a")
        record = status.get(KEY)
        assert record is not None
        assert (record.state, record.attempts, record.owner) == (State.QUEUED, 0, "")


def test_what_was_forgotten_starts_without_earlier_attempts(status: Status) -> None:
    running(status)
    status.finish(KEY, "a", State.FAILED, error_kind="permanent")
    assert status.forget(KEY)
    assert not status.forget(KEY)
    assert status.get(KEY) is status.current(PATH) is None
    assert status.nights() == []
    running(status)
    assert names(status) == ["queued", "running", "failed", "forgotten", "queued", "running"]


def test_what_is_unknown_or_ended_cannot_begin(status: Status) -> None:
    assert status.begin(KEY, "a", **LEASE) == Begin(Outcome.STALE, 0)
    assert status.get(KEY) is None
    running(status)
    status.finish(KEY, "a", State.DONE)
    assert status.begin(KEY, "a", **LEASE) == Begin(Outcome.STALE, 1)
    assert not status.release(KEY, "a")
    assert not status.progress(KEY, "a", hdus_done=1)


def test_progress_is_no_event(status: Status) -> None:
    running(status)
    assert status.progress(KEY, "a", hdus=8, hdus_done=3, mpix=67.1, mpix_done=25.2)
    assert not status.progress(KEY, "b", hdus_done=4)
    record = status.get(KEY)
    assert record is not None
    assert (record.hdus, record.hdus_done, record.mpix, record.mpix_done) == (8, 3, 67.1, 25.2)
    assert names(status) == ["queued", "running"]


def test_a_result_is_written_once_and_by_the_owner(status: Status) -> None:
    running(status)
    mask = ROOT / "n0001.masks.fits"
    result = {"mask": mask, "fractions": {"CR": 0.25, "HP": 0.0}, "seconds": 3.25}
    assert not status.finish(KEY, "b", State.DONE, **result)
    assert status.finish(KEY, "a", State.DONE, now=NOW + 3.25, **result)
    assert status.finish(KEY, "a", State.DONE, **result)  # the reply was lost, say
    assert not status.finish(KEY, "a", State.FAILED, reason="too late")
    record = status.get(KEY)
    assert record is not None
    assert record.finished_at == "2026-11-18T11:06:43.250Z"
    assert record.as_dict() | {"x": 0} == {
        **dict.fromkeys(("hdu", "hdus", "hdus_done", "mpix", "mpix_done")),
        **dict.fromkeys(("reason", "error", "error_kind", "queue", "worker", "device"), ""),
        **dict.fromkeys(("engine", "instrument", "configuration", "preset", "message"), ""),
        **dict.fromkeys(("retry_at", "lease_until")),
        "key": KEY,
        "path": str(PATH),
        "root": str(ROOT),
        "night": NIGHT,
        "state": "done",
        "attempts": 1,
        "mask": str(mask),
        "size": 2880,
        "mtime_ns": 7,
        "seen_at": "2026-11-18T11:06:40.000Z",
        "queued_at": "2026-11-18T11:06:40.000Z",
        "started_at": "2026-11-18T11:06:40.000Z",
        "finished_at": "2026-11-18T11:06:43.250Z",
        "seconds": 3.25,
        "track": None,
        "class_files": {},
        "options": {},
        "fractions": {"CR": 0.25, "HP": 0.0},
        "owner": "a",
        "x": 0,
    }
    assert names(status) == ["queued", "running", "done"]


def test_an_attempt_does_not_end_in_a_state_that_is_no_end(status: Status) -> None:
    running(status)
    with pytest.raises(ValueError, match="queued"):
        status.finish(KEY, "a", State.QUEUED)


# Files that are not complete, change or go away


def note(status: Status, state: State, reason: str = "", **changes: Any) -> bool:
    return status.note("arrival-1", state=state, reason=reason, **{**FIELDS, **changes})


def test_a_file_that_grows_is_told_of_once(status: Status) -> None:
    assert note(status, State.WAITING, "still growing", size=10)
    assert not note(status, State.WAITING, "still growing", size=20)
    record = status.current(PATH)
    assert record is not None
    assert (record.state, record.size) == (State.WAITING, 20)
    assert note(status, State.INCOMPLETE, "2 of 8 HDUs are missing", size=20)
    assert not note(status, State.INCOMPLETE, "2 of 8 HDUs are missing", size=20)
    assert note(status, State.WAITING, "still growing", size=30)
    assert names(status) == ["waiting", "incomplete", "waiting"]
    assert status.begin("arrival-1", "a", **LEASE).outcome is Outcome.STALE


def test_a_file_that_grows_over_noon_changes_its_night(status: Status) -> None:
    note(status, State.WAITING)
    assert note(status, State.WAITING, night="2026-11-23")
    assert status.nights() == ["2026-11-23"]
    assert status.counts("2026-11-23")[State.WAITING] == 1


def test_a_complete_file_supersedes_its_arrival(status: Status) -> None:
    note(status, State.WAITING)
    assert status.claim(KEY, FIELDS)
    assert status.get("arrival-1") is None
    assert [(event.event, event.key) for event in status.events()] == [
        ("waiting", "arrival-1"),
        ("superseded", "arrival-1"),
        ("queued", KEY),
    ]


def test_a_new_version_supersedes_the_old_one_even_while_it_runs(status: Status) -> None:
    running(status)
    assert status.claim("1" * 32, {**FIELDS, "mtime_ns": 8, "night": "2026-11-23"})
    assert status.nights() == ["2026-11-23"]
    assert not status.finish(KEY, "a", State.DONE)
    assert not status.renew(KEY, "a", lease_s=60)
    assert status.begin(KEY, "a", **LEASE) == Begin(Outcome.STALE, 0)
    assert [record.key for record in status.records()] == ["1" * 32]


def test_a_watcher_that_starts_again_takes_nothing_back(status: Status) -> None:
    running(status)
    status.finish(KEY, "a", State.DONE)
    assert not note(status, State.WAITING, "first look")
    assert not note(status, State.WAITING, "first look", size=None)
    assert state_of(status) is State.DONE
    assert note(status, State.WAITING, "still growing", size=5760)
    assert state_of(status) is None
    assert names(status)[-2:] == ["superseded", "waiting"]


def test_a_file_that_went_away_may_come_back(status: Status) -> None:
    note(status, State.WAITING)
    assert status.vanish("arrival-1", "it was removed")
    assert not status.vanish("arrival-1", "it was removed")
    assert note(status, State.WAITING)
    status.claim(KEY, FIELDS)
    assert status.vanish(KEY, "it was removed")
    assert status.begin(KEY, "a", **LEASE).outcome is Outcome.STALE
    assert status.claim(KEY, FIELDS)
    record = status.get(KEY)
    assert record is not None
    assert (record.reason, record.finished_at) == ("", "")


def test_what_runs_or_is_done_does_not_vanish(status: Status) -> None:
    assert not status.vanish(KEY, "never seen")
    running(status)
    assert not status.vanish(KEY, "removed")
    status.finish(KEY, "a", State.DONE)
    assert not status.vanish(KEY, "removed")
    assert state_of(status) is State.DONE


def test_status_is_rebuilt_from_masks_on_disk(status: Status) -> None:
    mask = ROOT / "n0001.masks.fits"
    assert status.rebuilt(KEY, {**FIELDS, "mask": mask, "fractions": {"CR": 0.5}})
    assert not status.rebuilt(KEY, FIELDS)
    assert not status.claim(KEY, FIELDS)
    record = status.current(PATH)
    assert record is not None
    assert (record.state, record.mask, record.fractions) == (State.DONE, mask, {"CR": 0.5})


# What is read


def test_events_tell_what_happened_in_order(status: Status) -> None:
    running(status)
    first, second = status.events()
    mask = ROOT / "n0001.masks.fits"
    status.finish(KEY, "a", State.DONE, mask=mask, reason="padded", now=NOW + 2)
    (third,) = status.events(second.id)
    assert (first.event, second.event) == ("queued", "running")
    assert third.as_dict() == {
        "id": third.id,
        "schema": 1,
        "event": "done",
        "key": KEY,
        "night": NIGHT,
        "path": str(PATH),
        "mask": str(mask),
        "reason": "padded",
        "track": None,
        "attempts": 1,
        "ts": "2026-11-18T11:06:42.000Z",
    }
    assert status.events(count=1) == [first]
    assert status.events(third.id) == []
    assert status.events(third.id, block_ms=1) == []


def test_a_reader_that_waits_gets_the_next_event(status: Status, valkey_url: str) -> None:
    reader = connect(valkey_url)
    with ThreadPoolExecutor(1) as pool:
        waiting = pool.submit(Status(reader).events, "$", block_ms=15_000)
        deadline = time.monotonic() + 10
        while not status.client.info("clients")["blocked_clients"]:
            assert time.monotonic() < deadline
            time.sleep(0.01)
        status.claim(KEY, FIELDS)
        assert [event.event for event in waiting.result()] == ["queued"]
    reader.close()


def test_records_are_read_by_night_and_state(status: Status) -> None:
    for number, night in enumerate(["2026-11-22", "2026-11-23", "2026-11-22"]):
        fields = {**FIELDS, "path": ROOT / f"{number}.fits", "night": night}
        status.claim(f"{9 - number}" * 32, fields, now=NOW + number)
    status.begin("7" * 32, "a", **LEASE)
    assert [record.path.name for record in status.night(NIGHT)] == ["0.fits", "2.fits"]
    assert [record.path.name for record in status.records()] == ["0.fits", "1.fits", "2.fits"]
    assert [record.path.name for record in status.records(state=State.RUNNING)] == ["2.fits"]
    assert status.records(state=State.DONE) == []
    assert status.nights() == ["2026-11-22", "2026-11-23"]
    assert status.counts(NIGHT) == {
        **dict.fromkeys(State, 0),
        State.QUEUED: 1,
        State.RUNNING: 1,
    }


def test_an_empty_server_has_no_records(status: Status) -> None:
    assert status.records() == status.nights() == status.events() == []
    assert status.night(NIGHT) == []
    assert status.current(PATH) is None


@pytest.mark.parametrize("name", [b"n\xff\xfe.fits", "été [1] .fits".encode(), b"a\nb 'c'.fits"])
def test_odd_file_names_come_back_as_they_are(status: Status, name: bytes) -> None:
    path = ROOT / os.fsdecode(name)
    assert status.claim(KEY, {**FIELDS, "path": path})
    record = status.current(path)
    assert record is not None
    assert record.path == path
    assert os.fsencode(record.path.name) == name
    assert status.events()[0].path == str(path)


def test_a_change_that_the_table_does_not_have_is_refused_by_the_server(
    status: Status,
) -> None:
    running(status)
    with pytest.raises(redis.ResponseError, match='no transition from "running" to "waiting"'):
        status._call("finish", KEY, NOW, "a", "waiting")
    assert state_of(status) is State.RUNNING


# All together


@pytest.mark.parametrize("seed", range(4))
def test_whatever_happens_in_whatever_order_sets_and_records_agree(
    status: Status, seed: int
) -> None:
    rng = np.random.default_rng(seed)
    keys = [f"{number}" * 32 for number in range(4)]
    now = NOW

    def fields(number: int) -> dict[str, Any]:
        return {
            "path": ROOT / f"{number % 2}.fits",
            "root": ROOT,
            "night": f"2026-11-{20 + number % 3}",
            "size": 2880,
            "mtime_ns": number,
        }

    for step in range(1000):
        now += float(rng.integers(0, 30))
        number, owner = int(rng.integers(4)), "ab"[int(rng.integers(2))]
        key, at = keys[number], {"now": now}
        waiting = [State.WAITING, State.INCOMPLETE][step % 2]
        end = [State.DONE, State.SKIPPED, State.FAILED, State.VANISHED][int(rng.integers(4))]
        moves: list[tuple[Callable[..., Any], tuple[Any, ...], dict[str, Any]]] = [
            (status.claim, (key, fields(number)), at),
            (status.claim, (key, fields(number)), at),
            (status.unclaim, (key,), at),
            (status.begin, (key, owner), {**LEASE, **at}),
            (status.begin, (key, owner), {**LEASE, **at}),
            (status.renew, (key, owner), {"lease_s": 60.0, **at}),
            (status.progress, (key, owner), {"hdus_done": 1}),
            (status.finish, (key, owner, end), {"error_kind": "transient", **at}),
            (status.release, (key, owner), at),
            (status.rebuilt, (key, fields(number)), at),
            (status.vanish, (key, "removed"), at),
            (status.forget, (key,), at),
            (
                status.note,
                (f"arrival-{number % 2}",),
                {"state": waiting, **fields(number), **at},
            ),
        ]
        method, arguments, options = moves[int(rng.integers(len(moves)))]
        method(*arguments, **options)
        if step % 20 == 0:
            check_invariants(status)

    # The stream tells each record's life, and every step of it stands in the table.
    last: dict[str, State | None] = {}
    for event in status.events(count=10_000):
        if event.event in {"superseded", "forgotten"}:
            last[event.key] = None
        else:
            assert State(event.event) in TRANSITIONS[last.get(event.key)]
            last[event.key] = State(event.event)
    assert {key: state for key, state in last.items() if state} == {
        record.key: record.state for record in status.records()
    }
    assert set(names(status)) >= {"queued", "running", "seen", "done", "superseded", "forgotten"}
