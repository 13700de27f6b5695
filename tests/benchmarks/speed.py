"""Measures speed beside the published package, in one run on one machine: `make bench`.

Figures of shared machines differ from minute to minute; the ratios within one run say more.
"""

from __future__ import annotations

import importlib.metadata
import os
import platform
import resource
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
import tensorflow as tf
from maximask_and_maxitrack.maximask.maximask import MaxiMask_inference
from maximask_and_maxitrack.utils import background_est, image_norm

from model.background_1_4 import clean_plane, estimate_background
from model.card import Card
from model.engine import Device
from model.masker import Masker
from model.tiles import TilePlan

SIDE = 1024
#: A plane that takes many wide tiles, for the memory.
LARGE_SIDE = 4096
#: Runs of which the fastest counts: what else the machine does only ever slows.
RUNS = 2


def main() -> None:
    """Print one table of background rates and one of masking rates."""
    packages = ("maximaskd", "maximask", "tensorflow", "keras", "numpy")
    versions = " ".join(f"{name} {importlib.metadata.version(name)}" for name in packages)
    print(f"{_processor()}, {os.cpu_count()} cores; Python {platform.python_version()}; {versions}")
    _background()
    _masks()


def _background() -> None:
    cores = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {min(cores)})
    print("\nbackground, sigma and normalised plane, one core")
    for side in (SIDE, 4 * SIDE):
        plane = _sky(side)

        def ours(plane: np.ndarray = plane) -> None:
            clean = clean_plane(plane)
            estimate_background(clean).normalise(clean)

        def theirs(plane: np.ndarray = plane) -> None:
            clean = np.clip(plane, -500, 80000)
            background, sigma = background_est(clean)
            _ = (clean - background) / sigma

        mpix = side * side / 1e6
        rate, published = mpix / _fastest(ours), mpix / _fastest(theirs)
        print(
            f"  {side} x {side}: {rate:6.1f} Mpix/s; maximask {published:5.2f} Mpix/s; "
            f"ratio {rate / published:.1f}"
        )
    os.sched_setaffinity(0, cores)


def _masks() -> None:
    plane = _sky(SIDE)
    mpix = plane.size / 1e6
    print(f"\nmasks of a {SIDE} x {SIDE} plane, model loaded and warm, {os.cpu_count()} cores")
    masker = Masker(device=Device.CPU)
    rates = {
        f"tiles={plan}": mpix / _fastest(lambda plan=plan: masker(plane, tiles=plan))
        for plan in TilePlan
    }
    large = _sky(LARGE_SIDE)
    masker(large)
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e6
    published = _published(masker.card)
    rates["maximask"] = mpix / _fastest(lambda: published(plane))
    for name, rate in rates.items():
        print(f"  {name:16} {rate:6.3f} Mpix/s; ratio {rate / rates['maximask']:.1f}")
    print(f"  peak memory with a {LARGE_SIDE} x {LARGE_SIDE} plane, tiles=wide: {peak:.1f} GB")


def _published(card: Card) -> Callable[[np.ndarray], None]:
    """Return the published package's way from a plane to masks, without its files."""
    folder = importlib.metadata.distribution("maximask").locate_file(
        "maximask_and_maxitrack/maximask/model"
    )
    inference = MaxiMask_inference(
        "",
        str(folder),
        np.ones(len(card.classes), bool),
        np.array([mask_class.prior for mask_class in card.classes], np.float32),
        np.array([mask_class.threshold for mask_class in card.classes], np.float32),
        False,
        8,
    )
    model = tf.saved_model.load(str(folder))

    def mask(plane: np.ndarray) -> None:
        masks = np.zeros((*plane.shape, len(card.classes)), np.float32)
        normalised, _seconds = image_norm(plane)
        inference.process_image(normalised, masks, model)

    return mask


def _fastest(work: Callable[[], object]) -> float:
    work()
    times = []
    for _ in range(RUNS):
        start = time.perf_counter()
        work()
        times.append(time.perf_counter() - start)
    return min(times)


def _sky(side: int) -> np.ndarray:
    return np.random.default_rng(1).normal(1000, 30, (side, side)).astype(np.float32)


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
    except OSError:
        return platform.processor()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "")


if __name__ == "__main__":
    main()
