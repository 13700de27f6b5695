"""The network's weights: read from a preset and checked, written as plain arrays.

The file of a preset is a NumPy archive of plain arrays, ``<layer>/kernel`` and ``<layer>/bias``.
The directories of the releases are TensorFlow checkpoints.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from model.architecture import LAYERS
from model.archive import Arrays, read_arrays, write_arrays
from model.card import PresetError
from model.checkpoint import read_variables
from model.preset import Preset
from model.releases import Release
from settings.errors import PermanentError

__all__ = [
    "LayerWeights",
    "Weights",
    "check_weights",
    "read_release",
    "read_weights",
    "write_weights",
]


@dataclass(frozen=True)
class LayerWeights:
    """
    Kernel and bias of one layer.

    Parameters
    ----------
    kernel : ndarray, shape (3, 3, n_channels, n_filters), float32
        The convolution's kernel.
    bias : ndarray, shape (n_filters,), float32
        Added to each map.
    """

    kernel: NDArray[np.float32]
    bias: NDArray[np.float32]


#: All layers by name.
Weights = Mapping[str, LayerWeights]


def read_weights(preset: Preset) -> Weights:
    """
    Read and check the weights of a network.

    Parameters
    ----------
    preset : Preset
        Where it is. A preset's file is checked against its card.

    Returns
    -------
    Weights
        All layers, float32.

    Raises
    ------
    PresetError
        Where the weights cannot be read, are not those that the card describes, or do not fit the
        network.
    """
    if preset.release is not None:
        return read_release(preset.release, preset.folder)
    path = preset.folder / preset.card.weights
    return _fit_layers(read_arrays(path, preset.card.sha256), where=str(path))


def read_release(release: Release, folder: Path) -> Weights:
    """
    Read the weights of a release from its own files.

    Parameters
    ----------
    release : Release
        The release.
    folder : Path
        Its directory of weights.

    Returns
    -------
    Weights
        All layers with all filters, the rows of the last kernel in our order.

    Raises
    ------
    PresetError
        Where the checkpoint cannot be read, or variables are missing or of another shape.
    """
    variables = read_variables(folder / release.data, release.shapes())
    weights = {
        layer.name: LayerWeights(*(variables[name] for name in release.variables[layer.name]))
        for layer in LAYERS
    }
    last = LAYERS[-1]
    parts = dict(
        zip(
            release.joined,
            np.split(weights[last.name].kernel, len(release.joined), axis=2),
            strict=True,
        )
    )
    kernel = np.concatenate([parts[name] for name in last.sources], axis=2)
    weights[last.name] = LayerWeights(kernel, weights[last.name].bias)
    return weights


def write_weights(weights: Weights, path: Path) -> str:
    """
    Write weights as plain arrays, the same bytes for the same weights.

    Parameters
    ----------
    weights : Weights
        All layers.
    path : Path
        The file to write.

    Returns
    -------
    str
        The file's SHA-256 in hexadecimal digits.
    """
    arrays = {}
    for name, layer in weights.items():
        arrays[f"{name}/kernel"] = layer.kernel
        arrays[f"{name}/bias"] = layer.bias
    return write_arrays(arrays, path)


def check_weights(weights: Weights, *, where: str) -> None:
    """
    Check that layers fit each other and the network.

    Parameters
    ----------
    weights : Weights
        All layers.
    where : str
        What to name in the error.

    Raises
    ------
    PresetError
        A sentence that lists every layer whose shape or type is wrong.
    """
    wrong = []
    for layer in LAYERS:
        kernel, bias = weights[layer.name].kernel, weights[layer.name].bias
        widths = [weights[name].bias.shape[0] for name in layer.sources] or [1]
        n_channels = sum(widths) if layer.name == "final_conv" else widths[0]
        fits = (
            kernel.shape == (3, 3, n_channels, bias.shape[0])
            and kernel.dtype == bias.dtype == np.float32
            and len(set(widths)) == 1
        )
        if not fits:
            wrong.append(f"{layer.name} {kernel.dtype} {kernel.shape} for {n_channels} channels")
    if wrong:
        raise PresetError(
            f"The weights {where} do not fit the network: {'; '.join(wrong)}: use another preset."
        )


def _fit_layers(arrays: Arrays, *, where: str) -> Weights:
    names = [f"{layer.name}/{what}" for layer in LAYERS for what in ("kernel", "bias")]
    if missing := [name for name in names if name not in arrays]:
        raise PresetError(
            f"The weights {where} have no {', '.join(missing)}: restore them from the distribution."
        )
    weights = {
        layer.name: LayerWeights(arrays[f"{layer.name}/kernel"], arrays[f"{layer.name}/bias"])
        for layer in LAYERS
    }
    check_weights(weights, where=where)
    return weights


def main(arguments: list[str]) -> int:
    """
    Run ``python -m model.weights import-maximask`` or ``import-maxitrack``.

    Parameters
    ----------
    arguments : list of str
        The words after the module's name.

    Returns
    -------
    int
        The exit status: 0, 1 where the import failed, 2 where the words are not understood.
    """
    # The converters write with this module's functions, so they are loaded only when asked for.
    from model.converter import import_maximask
    from model.track_converter import import_maxitrack

    imports = {"import-maximask": import_maximask, "import-maxitrack": import_maxitrack}
    if len(arguments) != 1 or arguments[0] not in imports:
        sys.stderr.write("usage: python -m model.weights import-maximask|import-maxitrack\n")
        return 2
    try:
        folder = imports[arguments[0]]()
    except PermanentError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"wrote {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
