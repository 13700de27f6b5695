"""Rounds kernels to bfloat16 without a shift of what they give: kernels in, kernels out."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

__all__ = ["round_kernel"]


def round_kernel(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Round a kernel to bfloat16, and each weight's rounding error into the next smaller weight.

    Parameters
    ----------
    kernel : ndarray, shape (ny, nx, n_channels, n_filters), float32
        Weights of a convolution.

    Returns
    -------
    ndarray, float32
        Of the same shape: values that bfloat16 holds, whose sums over y and x are the kernel's to
        one rounding of the smallest weight.

    Notes
    -----
    Over a smooth map a convolution gives the sum of the weights. Were each weight rounded alone,
    the errors of nine would add up to a shift of all pixels, and thresholds of the rarest classes
    would move with it. This is error diffusion (Floyd & Steinberg 1976), from the largest weight
    to the smallest.

    Examples
    --------
    >>> row = np.full((1, 9, 1, 1), 1.003, np.float32)
    >>> round(float(round_kernel(row).sum()), 3)
    9.023
    """
    taps = kernel.reshape(-1, *kernel.shape[2:])
    # The smallest last: what is left over in the end is of its rounding.
    order = np.argsort(-np.abs(taps), axis=0)
    rounded = np.empty_like(taps)
    left_over = np.zeros_like(taps[:1])
    for positions in np.split(order, len(taps)):
        wanted = np.take_along_axis(taps, positions, axis=0) + left_over
        nearest = wanted.astype(ml_dtypes.bfloat16).astype(np.float32)
        np.put_along_axis(rounded, positions, nearest, axis=0)
        left_over = wanted - nearest
    return rounded.reshape(kernel.shape)
