"""MaxiTrack's weights: a preset's folder in, checked layers out.

The file of a preset is a compressed NumPy archive of plain float32 arrays: ``<layer>/kernel``,
``<layer>/bias`` and, but for the last layer, ``<layer>/slopes``.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.archive import Arrays, read_arrays, write_arrays
from model.card import PresetError
from model.preset import card_problem, preset_folder, read_fields

__all__ = [
    "BLOCK",
    "CONVOLUTIONS",
    "DENSE",
    "TRACK_PRESET",
    "TrackCard",
    "TrackLayer",
    "TrackWeights",
    "fit_layers",
    "read_track_card",
    "read_track_weights",
    "write_track_weights",
]

#: Side of a block in pixels.
BLOCK = 400
#: Side of the maps of each convolution, before they are pooled to a half.
CONVOLUTIONS = {"conv1": BLOCK, "conv2": 200, "conv3": 100, "conv4": 50, "conv5": 25}
#: Side of the maps that the first dense layer reads, of the kernels, number of logits.
LAST_SIDE, KERNEL, N_LOGITS = 12, 9, 2
DENSE = ("dense1", "dense2", "dense3")
CARD_NAME = "track.toml"
#: The network that comes with maximaskd.
TRACK_PRESET = "maxitrack-1.4"


@dataclass(frozen=True)
class TrackCard:
    """
    What a preset of MaxiTrack says of itself.

    Parameters
    ----------
    name : str
        Name of the preset.
    source, paper, licence : str
        Where the weights come from, the paper that describes them, their licence.
    weights : str
        File name of the weights beside the card.
    sha256 : str
        Checksum of that file, in hexadecimal digits.
    """

    name: str
    source: str
    paper: str
    licence: str
    weights: str
    sha256: str


@dataclass(frozen=True)
class TrackLayer:
    """
    One layer of the network.

    Parameters
    ----------
    kernel : ndarray, shape (9, 9, n_channels, n_filters) or (n_inputs, n_outputs), float32
        The kernel of the convolution or dense layer.
    bias : ndarray, shape (n_filters,), float32
        Added to each map.
    slopes : ndarray, shape (ny, nx, n_filters) or (n_outputs,), float32, or None
        What values below 0 are multiplied with; None for the last layer.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]
    slopes: NDArray[np.float32] | None = None


#: All layers by name.
TrackWeights = Mapping[str, TrackLayer]


def read_track_card(preset: str) -> tuple[TrackCard, Path]:
    """
    Find and read the card of a preset.

    Parameters
    ----------
    preset : str
        Name of a preset that comes with maximaskd, or the path of a folder with a card.

    Returns
    -------
    card : TrackCard
        The card.
    folder : Path
        Where it lies.

    Raises
    ------
    PresetError
        Where the card is missing or malformed.
    """
    folder = preset_folder(preset, CARD_NAME)
    path = folder / CARD_NAME
    try:
        return TrackCard(**read_fields(path)), folder
    except TypeError as error:
        raise card_problem(path, error) from error


def read_track_weights(card: TrackCard, folder: Path) -> TrackWeights:
    """
    Read a preset's weights, and check them against the card.

    Parameters
    ----------
    card : TrackCard
        The preset's card.
    folder : Path
        The preset's folder.

    Returns
    -------
    TrackWeights
        All layers, float32.

    Raises
    ------
    PresetError
        Where the file is missing, is not the one that the card describes, or does not fit the
        network.
    """
    path = folder / card.weights
    return fit_layers(read_arrays(path, card.sha256), where=str(path))


def write_track_weights(weights: TrackWeights, path: Path) -> str:
    """
    Write weights as plain arrays.

    Parameters
    ----------
    weights : TrackWeights
        All layers.
    path : Path
        The file to write.

    Returns
    -------
    str
        The file's SHA-256 in hexadecimal digits.
    """
    arrays = {
        f"{name}/{what}": array
        for name, layer in weights.items()
        for what, array in vars(layer).items()
        if array is not None
    }
    return write_arrays(arrays, path, compressed=True)


def fit_layers(arrays: Arrays, *, where: str) -> TrackWeights:
    """
    Make layers of plain arrays, and check that they fit each other and the network.

    Parameters
    ----------
    arrays : mapping of str to ndarray
        By ``<layer>/kernel``, ``<layer>/bias`` and ``<layer>/slopes``.
    where : str
        What to name in the error.

    Returns
    -------
    TrackWeights
        All layers.

    Raises
    ------
    PresetError
        A sentence that lists every array that is missing or wrong.
    """
    wrong = []
    for name, wanted in _wanted_shapes(arrays):
        array = arrays.get(name)
        if array is None:
            wrong.append(f"{name} is missing")
        elif array.dtype != np.float32 or not _alike(array.shape, wanted):
            wrong.append(f"{name} is {array.dtype} {array.shape}")
    if wrong:
        raise PresetError(
            f"The weights {where} do not fit the network: {'; '.join(wrong)}: restore them from "
            "the distribution."
        )
    return {
        name: TrackLayer(
            arrays[f"{name}/kernel"], arrays[f"{name}/bias"], arrays.get(f"{name}/slopes")
        )
        for name in (*CONVOLUTIONS, *DENSE)
    }


def _wanted_shapes(
    arrays: Arrays,
) -> Iterator[tuple[str, tuple[int | None, ...]]]:
    """Yield each array's name and shape; None where a missing bias leaves the width open."""
    widths = {name: arrays[name].size for name in arrays if name.endswith("/bias")}
    width: int | None = 1
    for name, side in CONVOLUTIONS.items():
        channels, width = width, widths.get(f"{name}/bias")
        yield f"{name}/kernel", (KERNEL, KERNEL, channels, width)
        yield f"{name}/bias", (width,)
        yield f"{name}/slopes", (side, side, width)
    width = None if width is None else LAST_SIDE**2 * width
    for name in DENSE:
        inputs, width = width, N_LOGITS if name == DENSE[-1] else widths.get(f"{name}/bias")
        yield f"{name}/kernel", (inputs, width)
        yield f"{name}/bias", (width,)
        if name != DENSE[-1]:
            yield f"{name}/slopes", (width,)


def _alike(shape: tuple[int, ...], wanted: tuple[int | None, ...]) -> bool:
    return len(shape) == len(wanted) and all(
        w in (None, side) for side, w in zip(shape, wanted, strict=True)
    )
