"""Background and sigma as MaxiMask 2018 estimates them: a raw plane in, both out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.background import MESH, Background, node_weights
from model.plane import STRIP, Plane

__all__ = ["clean_plane_2018", "estimate_background_2018"]

#: Clipping bound around the median, in standard deviations.
CLIP = 3.0


def clean_plane_2018(plane: NDArray[np.generic]) -> NDArray[np.float32]:
    """
    Bring a raw plane into a form that can be calculated with; no value is clipped.

    Parameters
    ----------
    plane : ndarray, shape (ny, nx)
        Pixel values in ADU, any real type.

    Returns
    -------
    ndarray, shape (ny, nx), float32
        A new array, 0 where the plane has no finite number.
    """
    values = np.array(plane, dtype=np.float32)
    np.copyto(values, 0, where=~np.isfinite(values))
    return values


def estimate_background_2018(plane: Plane) -> Background:
    """
    Estimate the background from meshes of 200 pixels, and one sigma for the whole plane.

    Parameters
    ----------
    plane : Plane, shape (ny, nx), float32
        As `clean_plane_2018` gives it; sides of at least 2 pixels. It is read a row of meshes at a
        time.

    Returns
    -------
    Background
        The background at the nodes; sigma is the same everywhere: the standard deviation of the
        plane after the background is subtracted, contaminants and stars included.

    Notes
    -----
    Meshes start at pixel 0; what is left of a mesh at the far edges belongs to none. A side below
    200 pixels, for which the published tool has no mesh, holds one as long as the side. A mesh
    without a value above 0 has the background 0, and a plane without any spread the sigma 1.
    """
    n_meshes = [max(side // MESH, 1) for side in plane.shape]
    grid = np.array(
        [_row_of_meshes(plane[y : y + MESH, :], n_meshes[1]) for y in _starts(n_meshes[0])]
    )
    rows, columns = (
        node_weights(side, n, 0) for side, n in zip(plane.shape, n_meshes, strict=True)
    )
    nodes = _smooth_grid(grid)
    flat = Background(nodes, np.ones_like(nodes), rows, columns, floor=0.0)
    return Background(nodes, np.full_like(nodes, _sigma(plane, flat)), rows, columns, floor=0.0)


def _starts(n_meshes: int) -> range:
    return range(0, n_meshes * MESH, MESH)


def _row_of_meshes(row: NDArray[np.float32], n_meshes: int) -> list[float]:
    return [_mesh_background(row[:, x : x + MESH]) for x in _starts(n_meshes)]


def _mesh_background(mesh: NDArray[np.float32]) -> float:
    """Return the mean after at most one round of clipping, which also drops what is not above 0."""
    values = mesh.astype(np.float64)
    near = np.abs(values - np.median(values)) <= CLIP * values.std()
    kept = values[near & (values > 0)]
    return float(kept.mean()) if kept.size else 0.0


def _smooth_grid(grid: NDArray[np.float64]) -> NDArray[np.float64]:
    """Filter the grid with a 3 x 3 median, its edges repeated, its corners and beyond it 0."""
    padded = np.pad(grid, 1, mode="edge")
    corners = np.ix_([0, -1], [0, -1])
    padded[corners] = 0
    windows = np.lib.stride_tricks.sliding_window_view(np.pad(padded, 1), (3, 3))
    smooth = np.median(windows, axis=(2, 3))
    smooth[corners] = smooth[np.ix_([1, -2], [1, -2])]
    return smooth


def _sigma(plane: Plane, background: Background) -> float:
    total, of_squares = 0.0, 0.0
    for y in range(0, plane.shape[0], STRIP):
        strip = slice(y, y + STRIP)
        part = (plane[strip, :] - background.background_map(strip)).astype(np.float64)
        total += part.sum()
        of_squares += np.square(part).sum()
    n_pixels = plane.shape[0] * plane.shape[1]
    mean = total / n_pixels
    return float(np.sqrt(max(of_squares / n_pixels - mean**2, 0.0))) or 1.0
