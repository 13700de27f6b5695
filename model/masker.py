"""The masker that a worker keeps loaded: a raw plane in, its mask planes out."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property, partial
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.engine import Device, Engine, EngineName, Precision, make_engine
from model.normalise import NormalisedPlane, normalise_plane
from model.plane import Plane
from model.planes import ProductPlanes, empty_planes
from model.preset import find_preset
from model.probability import Recipe, make_recipe, threshold_scores
from model.prune import prune
from model.tiles import PIXELS_PER_BATCH_UNIT, SMALLEST_SIDE, Tile, TilePlan, plan_tiles
from model.weights import read_weights
from settings.errors import PermanentError
from settings.schema import MaskSettings

__all__ = ["Masker", "PlaneError"]

#: Shortest side of a plane that can be masked, in pixels.
SHORTEST_SIDE = 2


class PlaneError(PermanentError):
    """An array that is no plane of an exposure."""


class Masker:
    """
    A preset's network, loaded and warmed up.

    Parameters
    ----------
    preset : str, optional
        Name or folder of the preset, as `find_preset` takes it.
    engine : EngineName, optional
        What runs it.
    device : Device, optional
        Where it runs.
    precision : Precision, optional
        What the wide plan computes in; the reference plan's is always float32.
    threads : int, optional
        CPU threads; 0 for one each core.
    batch_size : int, optional
        How much passes through the network at once: windows of 400 x 400 pixels in the reference
        plan, `PIXELS_PER_BATCH_UNIT` pixels each of a wide tile.

    Attributes
    ----------
    card : Card
        The preset's card.
    device : Device
        Where the network runs: CPU or GPU.

    Raises
    ------
    PresetError
        Where the preset cannot be used.
    DeviceError
        Where the device is not there.
    """

    def __init__(
        self,
        preset: str = "maximask-1.4",
        *,
        engine: EngineName = EngineName.AUTO,
        device: Device = Device.AUTO,
        precision: Precision = Precision.AUTO,
        threads: int = 0,
        batch_size: int = 8,
    ) -> None:
        found = find_preset(preset)
        self.card = found.card
        weights = prune(read_weights(found))
        self._make_engine = partial(
            make_engine,
            weights,
            name=engine,
            device=device,
            thresholds=threshold_scores(make_recipe(self.card, MaskSettings())),
            threads=threads,
        )
        self._batch_size = batch_size
        self._wide = self._make_engine(precision=precision)
        self.device = self._wide.device
        # The first pass starts what runs the network: it should not be an exposure that waits.
        side = SMALLEST_SIDE
        tile = plan_tiles((side, side), TilePlan.WIDE)[0]
        self._wide(np.zeros((1, side, side), np.float32), tile.rows, tile.columns)

    def __call__(
        self,
        plane: NDArray[np.generic],
        recipe: Recipe | None = None,
        *,
        tiles: TilePlan = TilePlan.WIDE,
        batch_size: int | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> NDArray[Any]:
        """
        Mask one plane.

        Parameters
        ----------
        plane : ndarray, shape (ny, nx)
            Pixel values in ADU, any real type; it is not changed.
        recipe : Recipe, optional
            What to make of the probabilities; masks of all classes with the preset's priors and
            thresholds if not given.
        tiles : TilePlan, optional
            How the plane is cut.
        batch_size : int, optional
            How much passes through the network at once, for this plane; as the masker was made
            if not given.
        progress : callable, optional
            Called after each batch of tiles with the part of the plane that is done, 0 to 1.

        Returns
        -------
        ndarray
            As the recipe says: (n_planes, ny, nx) uint8 masks or float32 probabilities, or an
            (ny, nx) int16 bit mask.

        Raises
        ------
        PlaneError
            Where the array is not two-dimensional, or a side is shorter than 2 pixels.

        Notes
        -----
        A side below 400 pixels is continued by reflection: the network knows no smaller planes. NaN
        count as 0 ADU.
        """
        planes = self.mask(
            self.normalise(plane), recipe, tiles=tiles, batch_size=batch_size, progress=progress
        )
        return np.asarray(planes)

    def mask(
        self,
        plane: NormalisedPlane,
        recipe: Recipe | None = None,
        *,
        tiles: TilePlan = TilePlan.WIDE,
        batch_size: int | None = None,
        progress: Callable[[float], None] | None = None,
    ) -> ProductPlanes:
        """
        Mask one plane in little memory.

        Parameters
        ----------
        plane : NormalisedPlane
            What `normalise` made of it.
        recipe, tiles, batch_size, progress : optional
            As in a call.

        Returns
        -------
        ProductPlanes
            Masks take 2 bytes a pixel, however many classes there are. Beside them, memory is
            bounded by one tile, and by a row of tiles where the plane is read from a file.
        """
        recipe = recipe or make_recipe(self.card, MaskSettings())
        clean, background = plane.clean, plane.background
        ny, nx = clean.shape
        padded = max(ny, SMALLEST_SIDE), max(nx, SMALLEST_SIDE)
        batch_size = batch_size or self._batch_size
        plan = plan_tiles(padded, tiles, most_pixels=batch_size * PIXELS_PER_BATCH_UNIT)
        planes = empty_planes(recipe, (ny, nx))
        engine = self._engine(tiles)
        for n_done, batch in _batches(plan, batch_size * SMALLEST_SIDE**2):
            windows = [
                _fill(
                    background.normalise(clean, tile.rows.window, tile.columns.window), tile.shape
                )
                for tile in batch
            ]
            probabilities = engine(np.stack(windows), batch[0].rows, batch[0].columns)
            for tile, of_tile in zip(batch, probabilities, strict=True):
                rows, columns = tile.rows, tile.columns
                kept = of_tile[:, rows.kept_here, columns.kept_here]
                planes.put(rows.kept, columns.kept, kept)
            if progress:
                progress(n_done / len(plan))
        planes.finish()
        return planes

    def engine_name(self, tiles: TilePlan) -> str:
        """
        Tell what runs the network.

        Parameters
        ----------
        tiles : TilePlan
            How planes are cut.

        Returns
        -------
        str
            The engine, its version, and the precision that it computes in.
        """
        return self._engine(tiles).name

    def _engine(self, tiles: TilePlan) -> Engine:
        """Return what runs the network; the one for the reference plan is made when it is used."""
        if tiles is TilePlan.WIDE or self._wide.precision is Precision.FLOAT32:
            return self._wide
        return self._exact

    @cached_property
    def _exact(self) -> Engine:
        return self._make_engine(precision=Precision.FLOAT32)

    def normalise(self, plane: Plane) -> NormalisedPlane:
        """
        Bring a plane into the units that the network was trained with.

        Parameters
        ----------
        plane : Plane, shape (ny, nx)
            Pixel values in ADU, any real type; it is not changed.

        Returns
        -------
        NormalisedPlane
            What `mask` needs of it.

        Raises
        ------
        PlaneError
            Where the array is not two-dimensional, or a side is shorter than 2 pixels.
        """
        if len(plane.shape) != 2 or min(plane.shape) < SHORTEST_SIDE:  # noqa: PLR2004 (y and x)
            raise PlaneError(
                f"An array of shape {plane.shape} is no plane: give (ny, nx), both at least "
                f"{SHORTEST_SIDE} pixels."
            )
        return normalise_plane(plane, self.card.preprocessing)


def _batches(plan: tuple[Tile, ...], most_pixels: int) -> Iterator[tuple[int, list[Tile]]]:
    """Group neighbouring tiles of one layout; count the tiles up to the end of each batch."""
    n_done = 0
    for _, group in groupby(plan, key=lambda tile: tile.layout):
        same = list(group)
        height, width = same[0].shape
        size = max(1, most_pixels // (height * width))
        for first in range(0, len(same), size):
            batch = same[first : first + size]
            n_done += len(batch)
            yield n_done, batch


def _fill(window: NDArray[np.float32], shape: tuple[int, int]) -> NDArray[np.float32]:
    """Continue a window that ends before its tile does, by reflection."""
    missing = [(0, full - side) for full, side in zip(shape, window.shape, strict=True)]
    return np.pad(window, missing, mode="symmetric")
