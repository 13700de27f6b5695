"""Times pieces of work in turn: functions in, the fastest time of each out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

__all__ = ["fastest_in_turn", "seconds"]


def fastest_in_turn(work: Mapping[str, Callable[[], object]], rounds: int) -> dict[str, float]:
    """
    Time several pieces of work, one after the other and round after round.

    Parameters
    ----------
    work : mapping of str to callable
        What to time. Each should have run before: first runs build and load.
    rounds : int
        How often each is timed.

    Returns
    -------
    dict of str to float
        Seconds of the fastest run of each: what else the machine does only ever slows.
    """
    times = {name: float("inf") for name in work}
    for _ in range(rounds):
        for name, one in work.items():
            times[name] = min(times[name], seconds(one))
    return times


def seconds(work: Callable[[], object]) -> float:
    """
    Time one run.

    Parameters
    ----------
    work : callable
        What to time.

    Returns
    -------
    float
        Seconds that it took.
    """
    started = time.perf_counter()
    work()
    return time.perf_counter() - started
