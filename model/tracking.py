"""Whether the telescope tracked: a plane and its background in, a probability of failure out."""

from __future__ import annotations

import random
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import expit, logit

from model.background import Background
from model.engine import Device
from model.keras_engine import prepare
from model.plane import Plane
from model.track_weights import BLOCK, TRACK_PRESET, read_track_card, read_track_weights

__all__ = ["Tracker", "aggregate", "blocks", "choose_hdus"]

#: Proportion of exposures with a tracking error that is expected, as in MaxiMask 1.4.1.
PRIOR = 0.05


class Tracker:
    """
    MaxiTrack's network, loaded and warmed up.

    Parameters
    ----------
    preset : str, optional
        Name or folder of the preset.
    device : Device, optional
        Where it runs; a second network in one process runs where the first one does.
    threads : int, optional
        CPU threads; 0 for one each core.
    batch_size : int, optional
        Blocks that pass through the network at a time; each takes about 30 MB.

    Attributes
    ----------
    name : str
        Name of the preset.
    sha256 : str
        Checksum of the weights.

    Raises
    ------
    PresetError
        Where the preset cannot be used.
    DeviceError
        Where a GPU is asked for and none is visible.

    References
    ----------
    Paillassa, Bertin & Bouy 2020, A&A 634, A48.
    """

    def __init__(
        self,
        preset: str = TRACK_PRESET,
        *,
        device: Device = Device.AUTO,
        threads: int = 0,
        batch_size: int = 16,
    ) -> None:
        card, folder = read_track_card(preset)
        weights = read_track_weights(card, folder)
        # An import of Keras starts the backend, which a broken preset should not.
        prepare(device, threads)
        from model.track_network import TrackNetwork

        self.name = card.name
        self.sha256 = card.sha256
        self._batch_size = batch_size
        self._network = TrackNetwork(weights)
        # Not compiled for each shape, as the masks' network.
        self._network.compile(jit_compile=False)
        # The second size of a batch makes TensorFlow's graph one for all sizes.
        for n_blocks in (1, 2):
            self._logits(np.zeros((n_blocks, BLOCK, BLOCK), np.float32))

    def __call__(
        self,
        clean: Plane,
        background: Background,
        *,
        prior: float | None = PRIOR,
    ) -> float | None:
        """
        Return the probability that a plane suffered a tracking error.

        Parameters
        ----------
        clean : Plane, shape (ny, nx), float32
            The whole plane, as `clean_plane` gives it.
        background : Background
            What `estimate_background` gives for it.
        prior : float or None, optional
            Expected proportion of exposures with a tracking error, between 0 and 1; None leaves the
            network's probabilities as they are.

        Returns
        -------
        float or None
            The mean of the blocks' probabilities; None where the plane is too small for a block.

        Notes
        -----
        With more blocks than fit a batch, and a last batch that is not full, MaxiMask 1.4.1 writes
        the last probabilities over others and takes zeros into the mean. This is the mean of all.
        """
        windows = blocks(clean.shape)
        # The prior shifts the logit: the same as p / (p + (1 - prior) / prior * (1 - p)).
        shift = 0.0 if prior is None else logit(prior)
        scores = []
        for first in range(0, len(windows), self._batch_size):
            batch = windows[first : first + self._batch_size]
            normalised = np.stack([background.normalise(clean, *window) for window in batch])
            scores.append(expit(self._logits(normalised) + shift))
        return float(np.mean(np.concatenate(scores))) if scores else None

    def _logits(self, batch: NDArray[np.float32]) -> NDArray[np.float64]:
        """Return how much more the network believes in an error than in none, for each block."""
        well, badly = np.asarray(self._network.predict_on_batch(batch[..., np.newaxis])).T
        return badly.astype(np.float64) - well


def blocks(shape: tuple[int, ...]) -> list[tuple[slice, slice]]:
    """
    Cut a plane into the blocks that the network sees.

    Parameters
    ----------
    shape : tuple of int
        The plane's (ny, nx).

    Returns
    -------
    list of (slice, slice)
        Rows and columns of each block: side by side, and flush with the far edges, so that what
        does not fill a block is left out at the near ones.

    Examples
    --------
    >>> blocks((450, 800))
    [(slice(50, 450, None), slice(0, 400, None)), (slice(50, 450, None), slice(400, 800, None))]
    >>> blocks((399, 800))
    []
    """
    rows, columns = (
        [slice(start, start + BLOCK) for start in range(side % BLOCK, side - BLOCK + 1, BLOCK)]
        for side in shape
    )
    return [(row, column) for row in rows for column in columns]


def aggregate(scores: Sequence[float]) -> float | None:
    """
    Put the scores of the two-dimensional HDUs of an exposure together.

    Parameters
    ----------
    scores : sequence of float
        One a plane.

    Returns
    -------
    float or None
        Their mean: the HDUs tracked together. None where there is none.
    """
    return float(np.mean(scores)) if len(scores) else None


def choose_hdus(indices: Sequence[int], frac: float, seed_text: str) -> tuple[int, ...]:
    """
    Choose some HDUs to score instead of all.

    Parameters
    ----------
    indices : sequence of int
        The HDUs that could be scored.
    frac : float
        The part to choose, above 0 and at most 1; at least one HDU is chosen where there is one.
    seed_text : str
        What the choice depends on: a text that stays the same for the same exposure.

    Returns
    -------
    tuple of int
        In ascending order.

    Examples
    --------
    >>> choose_hdus(range(1, 63), 0.05, "night/exposure") == choose_hdus(
    ...     range(1, 63), 0.05, "night/exposure"
    ... )
    True
    """
    n_chosen = min(max(int(frac * len(indices)), 1), len(indices))
    chance = random.Random(seed_text)  # noqa: S311 (a choice, not a secret)
    return tuple(sorted(chance.sample(sorted(indices), n_chosen)))
