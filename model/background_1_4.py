"""Background and sigma as MaxiMask 1.4.1 estimates them, to rounding: a raw plane in, both out.

Only where that divides by zero does this go its own way: a sigma never falls below the floor of
`_noise_floor`.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.background import MESH, Background, node_weights
from model.ordered import Ordered
from model.plane import STRIP, Plane

__all__ = ["clean_plane", "estimate_background"]

#: Bounds of the values that the network was trained with, in ADU.
LOWEST, HIGHEST = -500.0, 80000.0
#: Clipping bound around the median, in sigma.
CLIP = 3.0
#: The mean is the background where clipping left sigma within these parts of what it was.
UNCROWDED = (0.8, 1.2)
#: Rounds in which outlying meshes are looked for.
GRID_ROUNDS = 5
#: Standard deviation of rounding to whole ADU.
ROUNDING_SIGMA = 12**-0.5
#: Part of the plane's typical sigma below which a mesh's sigma is no noise any more.
SIGMA_FLOOR = 1e-3


def clean_plane(plane: NDArray[np.generic]) -> NDArray[np.float32]:
    """
    Bring a raw plane into the range that the network was trained with.

    Parameters
    ----------
    plane : ndarray, shape (ny, nx)
        Pixel values in ADU, any real type.

    Returns
    -------
    ndarray, shape (ny, nx), float32
        A new array: NaN replaced by 0, all else within `LOWEST` and `HIGHEST`.
    """
    values = np.array(plane, dtype=np.float32)
    # Most planes need no more; a NaN is within no bounds.
    if values.size and values.min() >= LOWEST and values.max() <= HIGHEST:
        return values
    np.copyto(values, 0, where=np.isnan(values))
    return np.clip(values, LOWEST, HIGHEST, out=values)


def estimate_background(plane: Plane) -> Background:
    """
    Estimate background and sigma from meshes of 200 pixels.

    Parameters
    ----------
    plane : Plane, shape (ny, nx), float32
        As `clean_plane` gives it; sides of at least 2 pixels. It is read a row of meshes at a time.

    Returns
    -------
    Background
        The values at the nodes, and how they are interpolated.

    Notes
    -----
    A side below 200 pixels holds one mesh as long as the side. The 3 x 3 median of the mesh grid
    takes what lies beyond its border for 0, as 1.4.1 does: background and sigma bend down towards
    the corners of a plane, and the thresholds were tuned with that. A grid of a single row or
    column is not filtered.

    References
    ----------
    MaxiMask 1.4.1; Bertin & Arnouts 1996, A&AS 117, 393, section 3 (mesh and mode estimate).
    """
    starts = [_mesh_starts(side) for side in plane.shape]
    values = np.array([_values_of_row(plane[y : y + MESH, :], starts[1]) for y in starts[0]])
    grids = [_smooth_grid(_replace_outliers(values[..., which])) for which in (0, 1)]
    weights = [
        node_weights(side, len(start), (side % MESH) // 2)
        for side, start in zip(plane.shape, starts, strict=True)
    ]
    return Background(
        background=grids[0],
        sigma=grids[1],
        rows=weights[0],
        columns=weights[1],
        floor=_noise_floor(plane, values[..., 1]),
    )


def _mesh_starts(side: int) -> range:
    n_meshes = max(side // MESH, 1)
    first = (side % MESH) // 2 if side >= MESH else 0
    return range(first, first + n_meshes * MESH, MESH)


def _values_of_row(row: NDArray[np.float32], starts: range) -> list[tuple[float, float]]:
    return [_mesh_values(row[:, x : x + MESH]) for x in starts]


def _mesh_values(mesh: NDArray[np.float32]) -> tuple[float, float]:
    """Return background and sigma of one mesh: clipping cuts the ends of its sorted values."""
    if not mesh.any():
        return 0.0, 1.0
    values = Ordered(mesh)
    kept = 0, values.size
    mean, first_sigma = values.moments(*kept)
    sigma = first_sigma
    while True:
        median = values.median(*kept)
        near = (
            max(kept[0], values.rank(median - CLIP * sigma, "left")),
            min(kept[1], values.rank(median + CLIP * sigma, "right")),
        )
        if near == kept:
            break
        kept = near
        mean, sigma = values.moments(*kept)
    if UNCROWDED[0] * first_sigma < sigma < UNCROWDED[1] * first_sigma:
        return mean, sigma
    return 2.5 * median - 1.5 * mean, sigma


def _replace_outliers(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Replace meshes far from the others by the mean of their valid neighbours."""
    outlying = np.zeros(grid.shape, bool)
    for _ in range(GRID_ROUNDS):
        kept = grid[~outlying]
        far = ~outlying & (np.abs(grid - np.median(kept)) > CLIP * kept.std())
        if not far.any():
            break
        outlying |= far
    filled = np.where(outlying, np.nan, grid)
    while np.isnan(filled).any():
        # One after the other in raster order: what is filled counts for the next.
        for y, x in np.argwhere(outlying):
            window = filled[max(y - 1, 0) : y + 2, max(x - 1, 0) : x + 2]
            valid = window[~np.isnan(window)]
            if valid.size:
                filled[y, x] = valid.mean()
    return filled


def _smooth_grid(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    padded = np.pad(grid, 1, mode="edge")
    if min(grid.shape) == 1:
        return padded
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(padded, 1), (3, 3))
    return np.median(windows, axis=(2, 3))


def _noise_floor(plane: Plane, sigmas: NDArray[np.float64]) -> float:
    """
    Return the lowest sigma that can be believed.

    Where nearly all pixels of a mesh have the same whole number, its sigma is 0 or close to it.
    Then rounding to whole ADU is the noise that remains; for other data, a small part of the usual
    sigma.
    """
    positive = sigmas[sigmas > 0]
    typical = float(np.median(positive)) if positive.size else 1.0
    floor = SIGMA_FLOOR * typical
    if sigmas.min() < ROUNDING_SIGMA and _is_whole(plane):
        return max(floor, ROUNDING_SIGMA)
    return floor


def _is_whole(plane: Plane) -> bool:
    """Tell whether all values are whole numbers."""
    strips = (plane[y : y + STRIP, :] for y in range(0, plane.shape[0], STRIP))
    return all((strip == np.rint(strip)).all() for strip in strips)
