"""Measures how far the masks agree: real planes in, pixels and F1 by class out.

The package itself masks a few planes. On the others the reference plan, which repeats it tile by
tile, stands for it: that takes seconds instead of minutes.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from model.engine import Device, Precision
from model.masker import Masker
from model.tiles import TilePlan
from tests.bench.planes import real_planes
from tests.bench.published import Published
from tests.bench.report import Table

__all__ = ["measure"]

#: Planes on which the package itself runs.
WITH_PACKAGE = ("nickel_series/d1059.fits", "saao_ste3_a8280271.fits", "twomass_m17_K.fits.gz")
COMPACT = ("CR", "HCL", "DCL", "HP", "DP", "SAT")
#: Pixels that a class must have in a plane for an F1 to mean something.
ENOUGH = 100


@dataclass
class _Worst:
    """The lowest figures of one comparison, by class."""

    agreement: dict[str, float] = field(default_factory=dict)
    f1: dict[str, float] = field(default_factory=dict)

    def add(self, names: list[str], ours: np.ndarray, theirs: np.ndarray) -> None:
        for name, one, other in zip(names, ours.astype(bool), theirs.astype(bool), strict=True):
            same = float((one == other).mean())
            self.agreement[name] = min(self.agreement.get(name, 1.0), same)
            if other.sum() >= ENOUGH:
                f1 = float(2 * (one & other).sum() / (one.sum() + other.sum()))
                self.f1[name] = min(self.f1.get(name, 1.0), f1)


def measure() -> Table:
    """
    Mask every real plane in each way, and some by the package.

    Returns
    -------
    Table
        For each class the lowest agreement of all planes, and the lowest F1 of those in which the
        class has at least `ENOUGH` pixels.
    """
    fast = Masker(device=Device.CPU)
    exact = Masker(device=Device.CPU, precision=Precision.FLOAT32)
    published = Published(fast.card)
    names = [mask_class.name for mask_class in fast.card.classes]
    wide_name, exact_name = fast.engine_name(TilePlan.WIDE), exact.engine_name(TilePlan.WIDE)
    worst = {
        f"`wide` ({wide_name}) against `reference`": _Worst(),
        f"`wide` ({exact_name}) against `reference`": _Worst(),
        f"`wide` ({wide_name}) against 1.4.1": _Worst(),
        "`reference` against 1.4.1": _Worst(),
    }
    fast_ours, exact_ours, fast_package, reference_package = worst.values()
    n_planes = 0
    for name, plane in real_planes():
        n_planes += 1
        reference = exact(plane, tiles=TilePlan.REFERENCE)
        fast_ours.add(names, fast(plane), reference)
        exact_ours.add(names, exact(plane), reference)
        if name in WITH_PACKAGE:
            theirs = published(plane)
            fast_package.add(names, fast(plane), theirs)
            reference_package.add(names, reference, theirs)
    rows, figures = [], {}
    for title, one in worst.items():
        compact = [one.f1[name] for name in COMPACT if name in one.f1]
        rows.append(
            [title, *(f"{100 * one.agreement[name]:.3f}{_f1(one, name)}" for name in names)]
        )
        figures[f"agreement: {title}, lowest of all classes"] = min(one.agreement.values())
        figures[f"agreement: {title}, lowest F1 of compact classes"] = min(compact)
    return Table(
        title="Agreement of the masks, the lowest of all planes",
        note=f"Per cent of the pixels, and F1 of compact classes that have at least {ENOUGH} "
        f"pixels in a plane. {n_planes} real planes; the package masked {len(WITH_PACKAGE)} of "
        "them too.",
        head=["", *names],
        rows=rows,
        figures=figures,
    )


def _f1(worst: _Worst, name: str) -> str:
    return f" (F1 {worst.f1[name]:.3f})" if name in COMPACT and name in worst.f1 else ""
