"""Measures background, sigma and normalisation on one core: planes in, rates beside 1.4.1's out."""

from __future__ import annotations

import os
from collections.abc import Callable

import numpy as np

from model.normalise import normalise_plane
from tests.bench.clock import fastest_in_turn
from tests.bench.planes import sky
from tests.bench.report import Table

__all__ = ["measure"]

SIDES = (1024, 4096)
ROUNDS = 5


def measure() -> Table:
    """
    Bring planes into units of sigma, as the package does and as this project does, in turn.

    Returns
    -------
    Table
        Rates on one core.
    """
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    try:
        rows, figures = [], {}
        for side in SIDES:
            plane = sky(side)
            work = {"ours": _ours(plane), "package": _published(plane)}
            for one in work.values():
                one()
            times = fastest_in_turn(work, ROUNDS)
            ours, package = (plane.size / 1e6 / times[name] for name in work)
            rows.append(
                [f"{side} x {side}", f"{ours:.1f}", f"{package:.2f}", f"{ours / package:.1f}"]
            )
            figures[f"background: {side} x {side}, Mpix/s on one core"] = ours
    finally:
        os.sched_setaffinity(0, cores)
    return Table(
        title="Background and sigma to normalised plane, one core",
        head=["plane", "maximaskd, Mpix/s", "maximask 1.4.1, Mpix/s", "ratio"],
        rows=rows,
        figures=figures,
    )


def _ours(plane: np.ndarray) -> Callable[[], object]:
    def work() -> None:
        normalised = normalise_plane(plane)
        normalised.background.normalise(normalised.clean)

    return work


def _published(plane: np.ndarray) -> Callable[[], object]:
    from maximask_and_maxitrack.utils import background_est

    def work() -> None:
        clean = np.clip(plane, -500, 80000)
        background, sigma = background_est(clean)
        _ = (clean - background) / sigma

    return work
