"""Measures masks of a plane in memory, everything warm: planes in, rates beside 1.4.1's out."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from model.engine import Device, DeviceError, EngineName, Precision
from model.masker import Masker
from model.tiles import TilePlan
from tests.bench.clock import fastest_in_turn, seconds
from tests.bench.planes import real_plane, sky
from tests.bench.published import Published
from tests.bench.report import Table

__all__ = ["measure"]

SIDE = 1024
#: Runs of each of ours; the package's second run is its warm one, a third would take its time.
ROUNDS = 3
ENGINES = (
    (EngineName.OPENVINO, Precision.BFLOAT16),
    (EngineName.OPENVINO, Precision.FLOAT32),
    (EngineName.KERAS, Precision.FLOAT32),
)


def measure() -> Table:
    """
    Mask the same planes with every engine, every tile plan and the published package in turn.

    Returns
    -------
    Table
        Rates, and how many times the package's warm rate they are.
    """
    planes = {
        f"generated sky, {SIDE} x {SIDE}": sky(SIDE),
        "Nickel d1059, 1056 x 1024": real_plane("nickel_series/d1059.fits", 0),
    }
    ways = _our_ways()
    names = [*ways, "maximask 1.4.1, warm", "maximask 1.4.1, first plane"]
    rates: dict[str, list[float]] = {name: [] for name in names}
    cold = float("nan")
    published = None
    for plane in planes.values():
        for way in ways.values():
            way(plane)
        times = fastest_in_turn({name: _on(way, plane) for name, way in ways.items()}, ROUNDS)
        if published is None:
            published = Published(Masker(device=Device.CPU).card)
            cold = seconds(_on(published, plane))
            rates[names[-1]].append(plane.size / 1e6 / cold)
        # Again in turn: what the machine does beside this has changed by now.
        with_package = {name: _on(way, plane) for name, way in ways.items()}
        with_package[names[-2]] = _on(published, plane)
        for name, time in fastest_in_turn(with_package, 1).items():
            rates[name].append(plane.size / 1e6 / min(time, times.get(name, time)))
    first, second = planes
    rows, figures = [], {}
    for name in names:
        cells = []
        for number, rate in enumerate(rates[name]):
            ratio = rate / rates[names[-2]][number]
            cells += [f"{rate:.3f}", f"{ratio:.1f}"]
            if not number:
                figures[f"warm: {name}, ratio to 1.4.1"] = ratio
        rows.append([name, *cells, *[""] * (4 - len(cells))])
    return Table(
        title="Masks of a plane in memory, everything warm",
        note="One run, in turn, on two cores; the first plane of 1.4.1 includes its tracing.",
        head=["", f"{first}: Mpix/s", "ratio", f"{second}: Mpix/s", "ratio"],
        rows=rows,
        figures=figures,
    )


def _our_ways() -> dict[str, Callable[[np.ndarray], np.ndarray]]:
    ways: dict[str, Callable[[np.ndarray], np.ndarray]] = {}
    for engine, precision in ENGINES:
        try:
            masker = Masker(engine=engine, precision=precision, device=Device.CPU)
        except DeviceError:
            continue
        for plan in TilePlan:
            # The reference plan is in float32 whatever the wide one is in.
            if plan is TilePlan.WIDE or precision is Precision.FLOAT32:
                ways[f"`{plan}`, {masker.engine_name(plan)}"] = _with_plan(masker, plan)
    return ways


def _with_plan(masker: Masker, plan: TilePlan) -> Callable[[np.ndarray], np.ndarray]:
    return lambda plane: masker(plane, tiles=plan)


def _on(way: Callable[[np.ndarray], np.ndarray], plane: np.ndarray) -> Callable[[], np.ndarray]:
    return lambda: way(plane)
