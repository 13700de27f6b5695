"""Lets tiny exposures pass through a running system: their bytes in, what they cost out."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from pathlib import Path
from statistics import median

from tests.bench.system import System, wait_until
from worker.record import TERMINAL, FileRecord, State

__all__ = ["N_DROPS", "Throughput", "drop_at_once", "drop_singly", "task_ms", "waiting_ms"]

#: Milliseconds that the daemon may spend on an exposure, beside the network.
MOST_MS = 15.0
#: Exposures that are dropped one by one into an empty queue.
N_DROPS = 20
#: Seconds that one exposure may take until the measurement is given up.
MOST_S_EACH = 5.0
#: Seconds between two questions whether all exposures have ended, which the server answers too.
LOOK_S = 0.2


@dataclass(frozen=True)
class Throughput:
    """
    What many exposures at once have cost.

    Parameters
    ----------
    n_files : int
        Exposures.
    total_s : float
        Seconds from the first one's arrival to the last one's record.
    cpu_s : dict of str to float
        Seconds of processor time by part.
    records : sequence of FileRecord
        What became of them.
    """

    n_files: int
    total_s: float
    cpu_s: dict[str, float]
    records: Sequence[FileRecord]

    def rows(self, kind: str, *, network_cpu_ms: float = 0.0) -> list[list[str]]:
        """
        Write the rows of the table.

        Parameters
        ----------
        kind : str
            What the exposures are called.
        network_cpu_ms : float, optional
            Milliseconds of processor time that the network takes for each; 0 where it is not asked.

        Returns
        -------
        list of list of str
            What was measured, its value, what to reach.
        """
        each = 1e3 / self.n_files
        own_cpu_ms = sum(self.cpu_s.values()) * each - network_cpu_ms
        reach = f"<= {MOST_MS:g} ms"
        without = " without the network" if network_cpu_ms else ""
        return [
            [
                f"{kind}: {self.n_files} at once, each",
                f"{self.total_s * each:.1f} ms",
                "" if without else reach,
            ],
            [
                f"{kind}: processor time of all parts{without}, each",
                f"{own_cpu_ms:.1f} ms",
                reach,
            ],
            *([f"- {part}", f"{used * each:.2f} ms", ""] for part, used in self.cpu_s.items()),
            [f"{kind}: begin to end of a task, median", f"{task_ms(self.records):.0f} ms", ""],
        ]


def task_ms(records: Sequence[FileRecord]) -> float:
    """
    Return how long tasks took.

    Parameters
    ----------
    records : sequence of FileRecord
        The records of exposures that have ended.

    Returns
    -------
    float
        Median of the milliseconds from the start to the end of the last attempt.
    """
    return median(_ms(record.started_at, record.finished_at) for record in records)


def waiting_ms(records: Sequence[FileRecord]) -> float:
    """
    Return how long exposures took from their claim to their last record.

    Parameters
    ----------
    records : sequence of FileRecord
        The records of exposures that have ended.

    Returns
    -------
    float
        Median of the milliseconds.
    """
    return median(_ms(record.queued_at, record.finished_at) for record in records)


def drop_singly(system: System, content: bytes, state: State) -> list[FileRecord]:
    """
    Let exposures arrive one by one, each after the end of the one before.

    Parameters
    ----------
    system : System
        What masks them.
    content : bytes
        The exposures' bytes.
    state : State
        The state in which each has to end.

    Returns
    -------
    list of FileRecord
        What became of them.
    """
    records = []
    for number in range(N_DROPS):
        path = system.incoming / f"single-{number:02}.fits"
        _drop(content, path)
        wait_until(partial(_has_ended, system, path), MOST_S_EACH)
        records.append(system.status.current(path))
    return _all_in(state, records)


def drop_at_once(system: System, content: bytes, n_files: int, state: State) -> Throughput:
    """
    Let exposures arrive at once.

    Parameters
    ----------
    system : System
        What masks them.
    content : bytes
        The exposures' bytes.
    n_files : int
        Their number.
    state : State
        The state in which each has to end.

    Returns
    -------
    Throughput
        What they cost.
    """
    ready = system.incoming.with_name("ready")
    ready.mkdir()
    names = [f"{number:06}.fits" for number in range(n_files)]
    for name in names:
        (ready / name).write_bytes(content)
    n_before = _n_ended(system)
    cpu_before, started = system.cpu_times(), time.time()
    for name in names:
        (ready / name).rename(system.incoming / name)

    def is_over() -> bool:
        time.sleep(LOOK_S)
        return _n_ended(system) >= n_before + n_files

    wait_until(is_over, MOST_S_EACH * n_files)
    cpu_s = system.cpu_times().since(cpu_before)
    wanted = set(names)
    found = [record for record in system.status.records() if record.path.name in wanted]
    records = _all_in(state, found)
    ended = max(datetime.fromisoformat(record.finished_at).timestamp() for record in records)
    return Throughput(n_files, ended - started, cpu_s, records)


def _drop(content: bytes, path: Path) -> None:
    """Write a file under a name that nobody looks at, and rename it."""
    hidden = path.with_name(f".{path.name}.tmp")
    hidden.write_bytes(content)
    hidden.rename(path)


def _has_ended(system: System, path: Path) -> bool:
    record = system.status.current(path)
    return record is not None and record.state in TERMINAL


def _n_ended(system: System) -> int:
    counts = map(system.status.counts, system.status.nights())
    return sum(number for night in counts for state, number in night.items() if state in TERMINAL)


def _all_in(state: State, records: Sequence[FileRecord | None]) -> list[FileRecord]:
    """Refuse to measure what did not go as it should."""
    wrong = [record for record in records if record is None or record.state is not state]
    if wrong:
        raise RuntimeError(f"{len(wrong)} exposures are not {state}, the first: {wrong[0]}.")
    return [record for record in records if record is not None]


def _ms(start: str, end: str) -> float:
    return (datetime.fromisoformat(end) - datetime.fromisoformat(start)).total_seconds() * 1e3
