"""Sky background and noise of a plane: values at the nodes of a mesh grid in, maps out."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.interpolate import make_interp_spline

from model.plane import STRIP, Plane

__all__ = ["MESH", "Background", "node_weights"]

#: Side of a background mesh, in pixels.
MESH = 200


@dataclass(frozen=True)
class Background:
    """
    Background and sigma of one plane, known at the centres of its meshes.

    Parameters
    ----------
    background, sigma : ndarray, shape (n_y, n_x), float64
        Values at the nodes, in ADU.
    rows : ndarray, shape (ny, n_y), float64
        Weight of each node row in each pixel row.
    columns : ndarray, shape (nx, n_x), float64
        Weight of each node column in each pixel column.
    floor : float
        The lowest sigma of the map, in ADU.

    Notes
    -----
    The bicubic spline through the nodes is a product of two weights, so that any window of the maps
    costs two small matrix products, and no whole map has to stay in memory.
    """

    background: NDArray[np.float64]
    sigma: NDArray[np.float64]
    rows: NDArray[np.float64]
    columns: NDArray[np.float64]
    floor: float

    def background_map(
        self, rows: slice = slice(None), columns: slice = slice(None)
    ) -> NDArray[np.float32]:
        """
        Interpolate the background.

        Parameters
        ----------
        rows, columns : slice, optional
            The window; the whole plane if not given.

        Returns
        -------
        ndarray, shape (ny, nx), float32
            In ADU.
        """
        return self._map(self.background, rows, columns)

    def sigma_map(
        self, rows: slice = slice(None), columns: slice = slice(None)
    ) -> NDArray[np.float32]:
        """
        Interpolate sigma.

        Parameters
        ----------
        rows, columns : slice, optional
            The window; the whole plane if not given.

        Returns
        -------
        ndarray, shape (ny, nx), float32
            In ADU, nowhere below `floor`.
        """
        sigma = self._map(self.sigma, rows, columns)
        return np.maximum(sigma, np.float32(self.floor), out=sigma)

    def normalise(
        self,
        plane: Plane,
        rows: slice = slice(None),
        columns: slice = slice(None),
    ) -> NDArray[np.float32]:
        """
        Subtract the background and divide by sigma.

        Parameters
        ----------
        plane : Plane, shape (ny, nx), float32
            The whole plane in ADU, without NaN.
        rows, columns : slice, optional
            The window; the whole plane if not given.

        Returns
        -------
        ndarray, float32
            The window in units of sigma.
        """
        window = plane[rows, columns]
        first = rows.indices(plane.shape[0])[0]
        normalised = np.empty_like(window)
        for y in range(0, len(window), STRIP):
            here = slice(y, min(y + STRIP, len(window)))
            strip = slice(first + here.start, first + here.stop)
            part = normalised[here]
            np.subtract(window[here], self.background_map(strip, columns), out=part)
            part /= self.sigma_map(strip, columns)
        return normalised

    def _map(self, nodes: NDArray[np.float64], rows: slice, columns: slice) -> NDArray[np.float32]:
        return (self.rows[rows] @ nodes @ self.columns[columns].T).astype(np.float32)


def node_weights(side: int, n_meshes: int, first: int) -> NDArray[np.float64]:
    """
    Weigh the nodes of one direction in each pixel.

    Parameters
    ----------
    side : int
        Pixels of the plane in this direction.
    n_meshes : int
        Meshes in this direction; there is a node in each, and one more at either end.
    first : int
        The pixel at which the first mesh starts.

    Returns
    -------
    ndarray, shape (side, n_meshes + 2), float64
        The cubic spline's weight of each node; the line's where there are too few nodes for it.
        Beyond the last node, that node counts alone.
    """
    nodes = MESH * (np.arange(n_meshes + 2) - 0.5) + first
    spline = make_interp_spline(nodes, np.eye(nodes.size), k=min(3, nodes.size - 1))
    return spline(np.minimum(np.arange(side), nodes[-1]))
