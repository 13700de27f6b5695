"""Ranks and moments beside those of all values, sorted."""

from __future__ import annotations

import numpy as np
import pytest

from model.ordered import Ordered

RNG = np.random.default_rng(3)
VALUES = {
    "one": np.array([7]),
    "few": np.array([5, 1, 3, 3]),
    "noise": RNG.normal(1000, 30, (200, 200)),
    "whole": np.rint(RNG.normal(12, 0.4, (200, 200))),
    "constant": np.full((200, 200), 3),
    "stars": np.where(RNG.random((200, 199)) < 0.05, 60000, RNG.normal(200, 5, (200, 199))),
    "two levels": np.where(np.arange(40000) % 2, RNG.normal(0, 1), 500),
}


@pytest.mark.parametrize("name", VALUES)
def test_ranks_and_moments_are_those_of_sorted_values(name: str) -> None:
    values = VALUES[name].astype(np.float32)
    expected = np.sort(values, axis=None)
    size, center, spread = expected.size, np.median(expected), expected.std(dtype=np.float64)
    for factor in (4, 2.5, 1, 0.2):
        ordered = Ordered(values)
        first, stop = (
            ordered.rank(float(center + sign * factor * spread), side)
            for sign, side in ((-1, "left"), (1, "right"))
        )
        assert first == np.count_nonzero(expected < center - factor * spread)
        assert stop == np.count_nonzero(expected <= center + factor * spread)
        for ranks in ((first, stop), (0, size), (size // 3, size // 2 + 1)):
            kept = expected[slice(*ranks)]
            if kept.size:
                assert ordered.median(*ranks) == np.median(kept)
                mean, sigma = ordered.moments(*ranks)
                assert mean == pytest.approx(kept.mean(dtype=np.float64), rel=1e-12)
                assert sigma == pytest.approx(kept.std(dtype=np.float64), rel=1e-7, abs=1e-9)
