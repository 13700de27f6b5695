"""Kernels in bfloat16."""

from __future__ import annotations

import ml_dtypes
import numpy as np

from model.bfloat16 import round_kernel


def test_every_weight_is_one_that_bfloat16_holds_and_close_to_its_own() -> None:
    kernel = np.random.default_rng(1).normal(0, 0.1, (3, 3, 20, 10)).astype(np.float32)
    rounded = round_kernel(kernel)
    assert rounded.shape == kernel.shape
    np.testing.assert_array_equal(rounded.astype(ml_dtypes.bfloat16).astype(np.float32), rounded)
    largest_step = np.abs(kernel).max() * 2**-7
    assert np.abs(rounded - kernel).max() <= largest_step


def test_the_sum_over_a_smooth_map_stays() -> None:
    kernel = np.random.default_rng(2).normal(0, 0.1, (3, 3, 20, 10)).astype(np.float32)
    alone = kernel.astype(ml_dtypes.bfloat16).astype(np.float32)
    shift_alone, shift = (
        np.abs((one - kernel).sum(axis=(0, 1))).mean() for one in (alone, round_kernel(kernel))
    )
    assert shift < shift_alone / 2


def test_what_bfloat16_holds_is_left_as_it_is() -> None:
    kernel = np.array([0.5, -0.25, 3, 0], np.float32).reshape(1, 4, 1, 1)
    np.testing.assert_array_equal(round_kernel(kernel), kernel)
