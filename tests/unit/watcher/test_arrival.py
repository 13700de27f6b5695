"""When a file counts as complete, stepped by a clock of the tests' own."""

from __future__ import annotations

import errno
import os
import threading
from collections.abc import Callable
from math import inf
from pathlib import Path

import pytest

from settings.schema import ArrivalSettings
from watcher.arrival import (
    CHECKS_A_TICK,
    LOOK_AGAIN_S,
    ArrivalReport,
    Arrivals,
    ArrivalState,
)
from worker.completeness import Completeness, Verdict

QUIET_S, INCOMPLETE_S = 3.0, 60.0
SETTINGS = ArrivalSettings(quiet_s=QUIET_S, incomplete_s=INCOMPLETE_S)
REASONS = {verdict: f"It is {verdict}." for verdict in Verdict} | {Verdict.COMPLETE: ""}


class Checker:
    """A completeness check that says what it is told to and counts its calls."""

    def __init__(self) -> None:
        self.verdict = Verdict.COMPLETE
        self.error: OSError | None = None
        self.meanwhile: Callable[[Path], object] = Path.stat
        self.paths: list[Path] = []

    def __call__(self, path: Path) -> Completeness:
        self.paths.append(path)
        if self.error:
            raise self.error
        self.meanwhile(path)
        return Completeness(self.verdict, REASONS[self.verdict], 1)


@pytest.fixture
def checker() -> Checker:
    return Checker()


@pytest.fixture
def arrivals(checker: Checker) -> Arrivals:
    return Arrivals(SETTINGS, check=checker)


@pytest.fixture
def exposure(tmp_path: Path) -> Path:
    path = tmp_path / "a.fits"
    write(path, 100, mtime_s=1)
    return path


def write(path: Path, n_bytes: int, *, mtime_s: int) -> None:
    path.write_bytes(b"x" * n_bytes)
    os.utime(path, (mtime_s, mtime_s))


def states(reports: list[ArrivalReport]) -> list[str]:
    return [report.state.value for report in reports]


def ticks(arrivals: Arrivals, start: float, stop: float) -> list[ArrivalReport]:
    """Tick once a second, as the loop does, and return every report."""
    return [
        report for now in range(int(start), int(stop) + 1) for report in arrivals.tick(float(now))
    ]


def test_a_resting_whole_file_is_complete_after_the_quiet_time(
    arrivals: Arrivals, checker: Checker, exposure: Path
) -> None:
    arrivals.look(exposure, 0.0)
    (waiting,) = arrivals.tick(0.0)
    assert waiting == ArrivalReport(
        exposure,
        ArrivalState.WAITING,
        f"{exposure} has not been unchanged for 3 s.",
        100,
        1_000_000_000,
    )
    assert arrivals.tick(2.9) == []
    assert checker.paths == []
    (complete,) = arrivals.tick(3.0)
    assert complete == ArrivalReport(exposure, ArrivalState.COMPLETE, "", 100, 1_000_000_000)
    assert arrivals.next_due(3.0) == inf
    assert ticks(arrivals, 4, 100) == []
    assert checker.paths == [exposure]


@pytest.mark.parametrize("change", ["size", "mtime", "inode"])
def test_every_change_starts_the_quiet_time_again(
    arrivals: Arrivals, exposure: Path, change: str
) -> None:
    arrivals.look(exposure, 0.0)
    arrivals.tick(0.0)
    match change:
        case "size":
            write(exposure, 101, mtime_s=1)
        case "mtime":
            write(exposure, 100, mtime_s=2)
        case "inode":
            other = exposure.with_name("other")
            write(other, 100, mtime_s=1)
            other.replace(exposure)
    arrivals.look(exposure, 2.0)
    assert arrivals.tick(2.0) == []
    assert arrivals.tick(4.9) == []
    assert states(arrivals.tick(5.0)) == ["complete"]


def test_a_change_that_no_event_told_is_seen_too(arrivals: Arrivals, exposure: Path) -> None:
    arrivals.look(exposure, 0.0)
    arrivals.tick(0.0)
    write(exposure, 200, mtime_s=2)
    assert arrivals.tick(3.0) == []
    assert [report.size for report in arrivals.tick(6.0)] == [200]


def test_a_growing_file_never_counts_as_incomplete(
    arrivals: Arrivals, checker: Checker, exposure: Path
) -> None:
    checker.verdict = Verdict.SHORT
    arrivals.look(exposure, 0.0)
    reports = []
    for now in range(0, 1000, 2):
        write(exposure, 100 + now, mtime_s=now)
        reports += arrivals.tick(float(now))
    assert states(reports) == ["waiting"]
    assert checker.paths == []


def test_a_short_file_waits_then_is_incomplete_and_each_is_said_once(
    arrivals: Arrivals, checker: Checker, exposure: Path
) -> None:
    checker.verdict = Verdict.SHORT
    arrivals.look(exposure, 0.0)
    reports = ticks(arrivals, 0, 59)
    assert states(reports) == ["waiting", "waiting"]
    assert reports[1].reason == "It is short."
    (incomplete,) = ticks(arrivals, 60, 500)
    assert (incomplete.state, incomplete.reason) == (ArrivalState.INCOMPLETE, "It is short.")
    assert checker.paths == [exposure]


def test_an_unchanged_short_file_is_not_checked_again_when_looked_at(
    arrivals: Arrivals, checker: Checker, exposure: Path
) -> None:
    checker.verdict = Verdict.SHORT
    for now in range(200):
        arrivals.look(exposure, float(now))
        arrivals.tick(float(now))
    assert checker.paths == [exposure]


def test_any_change_re_arms_an_incomplete_file(
    arrivals: Arrivals, checker: Checker, exposure: Path
) -> None:
    checker.verdict = Verdict.EMPTY
    arrivals.look(exposure, 0.0)
    assert states(ticks(arrivals, 0, 100))[-1] == "incomplete"
    checker.verdict = Verdict.COMPLETE
    write(exposure, 300, mtime_s=3)
    reports = ticks(arrivals, 101, 101 + int(LOOK_AGAIN_S + QUIET_S))
    assert states(reports) == ["waiting", "complete"]
    assert [report.size for report in reports] == [300, 300]
    assert len(checker.paths) == 2


def test_a_touched_but_still_short_file_becomes_incomplete_again(
    arrivals: Arrivals, checker: Checker, exposure: Path
) -> None:
    checker.verdict = Verdict.SHORT
    arrivals.look(exposure, 0.0)
    ticks(arrivals, 0, 100)
    write(exposure, 100, mtime_s=9)
    arrivals.look(exposure, 101.0)
    assert states(ticks(arrivals, 101, 160)) == ["waiting", "waiting"]
    assert states(ticks(arrivals, 161, 161)) == ["incomplete"]


def test_a_file_that_is_no_fits_is_handed_on_with_the_reason(
    arrivals: Arrivals, checker: Checker, exposure: Path
) -> None:
    checker.verdict = Verdict.NOT_FITS
    arrivals.look(exposure, 0.0)
    last = ticks(arrivals, 0, 3)[-1]
    assert (last.state, last.reason) == (ArrivalState.COMPLETE, "It is not FITS.")


def test_a_file_that_lacks_only_its_padding_waits_three_quiet_times(
    arrivals: Arrivals, checker: Checker, exposure: Path
) -> None:
    checker.verdict = Verdict.PADDING_MISSING
    arrivals.look(exposure, 0.0)
    assert states(ticks(arrivals, 0, 8)) == ["waiting"]
    (complete,) = arrivals.tick(9.0)
    assert (complete.state, complete.reason) == (ArrivalState.COMPLETE, "It is padding missing.")
    assert checker.paths == [exposure]


def test_a_file_that_moves_under_the_check_is_not_complete(
    arrivals: Arrivals, checker: Checker, exposure: Path
) -> None:
    checker.meanwhile = lambda path: write(path, 500, mtime_s=5)
    arrivals.look(exposure, 0.0)
    arrivals.tick(0.0)
    assert arrivals.tick(3.0) == []
    assert arrivals.next_due(3.0) == 0.0
    checker.meanwhile = Path.stat
    # The check has taken twenty seconds; none of them counts as quiet.
    assert arrivals.tick(23.0) == []
    assert arrivals.tick(25.9) == []
    (complete,) = arrivals.tick(26.0)
    assert (complete.state, complete.size) == (ArrivalState.COMPLETE, 500)


def test_a_file_that_goes_away_has_vanished(arrivals: Arrivals, exposure: Path) -> None:
    arrivals.look(exposure, 0.0)
    arrivals.tick(0.0)
    exposure.unlink()
    (vanished,) = arrivals.tick(3.0)
    assert (vanished.state, vanished.size) == (ArrivalState.VANISHED, 100)
    assert arrivals.next_due(3.0) == inf


def test_a_file_that_goes_away_under_the_check_has_vanished(
    arrivals: Arrivals, checker: Checker, exposure: Path
) -> None:
    checker.meanwhile = Path.unlink
    arrivals.look(exposure, 0.0)
    assert states(ticks(arrivals, 0, 10)) == ["waiting", "vanished"]


def test_a_path_that_was_never_there_is_not_reported(arrivals: Arrivals, tmp_path: Path) -> None:
    arrivals.look(tmp_path / "gone.fits", 0.0)
    assert arrivals.tick(0.0) == []
    assert arrivals.next_due(0.0) == inf


@pytest.mark.parametrize("kind", ["directory", "fifo"])
def test_what_is_no_regular_file_is_never_opened(
    arrivals: Arrivals, checker: Checker, tmp_path: Path, kind: str
) -> None:
    path = tmp_path / "x.fits"
    path.mkdir() if kind == "directory" else os.mkfifo(path)
    arrivals.look(path, 0.0)
    assert ticks(arrivals, 0, 20) == []
    assert checker.paths == []


def test_an_unreadable_file_is_reported_once_and_taken_when_its_rights_change(
    arrivals: Arrivals, checker: Checker, exposure: Path
) -> None:
    checker.error = PermissionError(errno.EACCES, "Permission denied")
    arrivals.look(exposure, 0.0)
    reports = ticks(arrivals, 0, 100)
    assert states(reports) == ["waiting", "unreadable"]
    assert reports[1].reason == (
        f"{exposure} cannot be read (Permission denied): let the watcher read it."
    )
    checker.error = None
    assert states(ticks(arrivals, 101, 101 + int(LOOK_AGAIN_S))) == ["complete"]


def test_a_path_that_cannot_be_looked_up_is_unreadable_without_a_size(
    checker: Checker, exposure: Path
) -> None:
    error: OSError | None = OSError(errno.ESTALE, "Stale file handle")

    def stat(path: Path) -> os.stat_result:
        if error:
            raise error
        return path.stat()

    arrivals = Arrivals(SETTINGS, check=checker, stat=stat)
    arrivals.look(exposure, 0.0)
    (report,) = arrivals.tick(0.0)
    assert report == ArrivalReport(
        exposure,
        ArrivalState.UNREADABLE,
        f"{exposure} cannot be read (Stale file handle): the watcher will try to read it.",
        None,
        None,
    )
    error = None
    assert states(ticks(arrivals, 1, 20)) == ["waiting", "complete"]


def test_one_tick_checks_a_bounded_number_of_files(arrivals: Arrivals, tmp_path: Path) -> None:
    n_files = 2 * CHECKS_A_TICK + 1
    for index in range(n_files):
        path = tmp_path / f"{index}.fits"
        path.write_bytes(b"x")
        arrivals.look(path, 0.0)
    assert states(arrivals.tick(0.0)) == ["waiting"] * n_files
    assert len(arrivals.tick(3.0)) == CHECKS_A_TICK
    assert arrivals.next_due(3.0) == 0.0
    assert len(arrivals.tick(3.1)) == CHECKS_A_TICK
    assert len(arrivals.tick(3.2)) == 1
    assert arrivals.next_due(3.2) == inf


def test_files_that_wait_for_their_check_are_not_looked_up_meanwhile(
    checker: Checker, tmp_path: Path
) -> None:
    looked_up: list[Path] = []

    def stat(path: Path) -> os.stat_result:
        looked_up.append(path)
        return path.stat()

    arrivals = Arrivals(SETTINGS, check=checker, stat=stat)
    paths = [tmp_path / f"{index:03}.fits" for index in range(3 * CHECKS_A_TICK)]
    for path in paths:
        path.write_bytes(b"x")
        arrivals.look(path, 0.0)
    arrivals.tick(0.0)
    looked_up.clear()
    arrivals.tick(3.0)
    assert set(looked_up) == set(paths[:CHECKS_A_TICK])
    # One that changed meanwhile is seen to have changed when its turn comes.
    write(paths[-1], 2, mtime_s=9)
    arrivals.tick(3.1)
    assert states(arrivals.tick(3.2)) == ["complete"] * (CHECKS_A_TICK - 1)
    assert arrivals.next_due(3.2) == pytest.approx(QUIET_S)
    assert [report.path for report in arrivals.tick(6.3)] == [paths[-1]]


def test_without_a_quiet_time_a_whole_file_is_complete_at_once(
    checker: Checker, exposure: Path
) -> None:
    arrivals = Arrivals(ArrivalSettings(quiet_s=0), check=checker)
    arrivals.look(exposure, 7.0)
    assert states(arrivals.tick(7.0)) == ["complete"]


def test_the_next_look_is_due_when_the_quiet_time_ends(arrivals: Arrivals, exposure: Path) -> None:
    assert arrivals.next_due(0.0) == inf
    arrivals.look(exposure, 0.0)
    assert arrivals.next_due(0.0) == 0.0
    arrivals.tick(0.0)
    assert arrivals.next_due(1.0) == pytest.approx(2.0)


def test_looks_from_many_threads_make_one_arrival(
    arrivals: Arrivals, checker: Checker, exposure: Path
) -> None:
    def look_often() -> None:
        for _ in range(500):
            arrivals.look(exposure, 0.0)

    threads = [threading.Thread(target=look_often) for _ in range(4)]
    for thread in threads:
        thread.start()
    reports = [report for now in range(3) for report in arrivals.tick(float(now))]
    for thread in threads:
        thread.join()
    reports += ticks(arrivals, 3, 10)
    assert states(reports) == ["waiting", "complete"]
    assert checker.paths == [exposure]


def test_a_real_exposure_that_arrives_in_pieces_waits_until_the_last_byte(
    real: Callable[[str], Path], tmp_path: Path
) -> None:
    content = real("lco_0m4_kb29_banzai.fits.fz").read_bytes()
    path = tmp_path / "a.fits.fz"
    arrivals = Arrivals(SETTINGS)
    now, reports = 0.0, []
    for end in (0, 600, len(content) // 2, len(content) - 2880, len(content)):
        path.write_bytes(content[:end])
        os.utime(path, (end, end))
        arrivals.look(path, now)
        reports += ticks(arrivals, now, now + 20)
        now += 30.0
    assert states(reports)[-1] == "complete"
    assert set(states(reports)[:-1]) == {"waiting"}
    assert [report.size for report in reports][-1] == len(content)
    assert "truncated" in reports[-2].reason
