"""Rounds kernels to bfloat16 without a shift of what they give: kernels in, kernels out."""

from __future__ import annotations

import ml_dtypes
import numpy as np
from numpy.typing import NDArray

__all__ = ["round_kernel"]


def round_kernel(kernel: NDArray[np.float32]) -> NDArray[np.float32]:
    """
    Round a kernel to bfloat16, and each weight's rounding error into the next weight.

    Parameters
    ----------
    kernel : ndarray, shape (ny, nx, n_channels, n_filters), float32
        Weights of a convolution.

    Returns
    -------
    ndarray, float32
        Of the same shape: values that bfloat16 holds, whose sums over y and x are the kernel's to
        one rounding.

    Notes
    -----
    Over a smooth map a convolution gives the sum of the weights. Were each weight rounded alone,
    the errors of nine would add up to a shift of all pixels, and thresholds of the rarest classes
    would move with it. It is the error diffusion of Floyd & Steinberg 1976 along one line.

    Examples
    --------
    >>> row = np.full((1, 9, 1, 1), 1.003, np.float32)
    >>> round(float(round_kernel(row).sum()), 3)
    9.023
    """
    taps = kernel.reshape(-1, *kernel.shape[2:])
    rounded = np.empty_like(taps)
    left_over = np.zeros(taps.shape[1:], np.float32)
    for position, weights in enumerate(taps):
        wanted = weights + left_over
        rounded[position] = wanted.astype(ml_dtypes.bfloat16)
        left_over = wanted - rounded[position]
    return rounded.reshape(kernel.shape)
