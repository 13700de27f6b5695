"""The network's weights: read from a preset and checked, written as plain arrays.

The file of a preset is a NumPy archive of plain arrays, ``<layer>/kernel`` and ``<layer>/bias``.
"""

from __future__ import annotations

import hashlib
import io
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from model.architecture import LAYERS
from model.card import Card, PresetError, preset_folder
from settings.errors import PermanentError

__all__ = ["LayerWeights", "Weights", "check_weights", "read_weights", "write_weights"]


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


def read_weights(card: Card, preset: str) -> Weights:
    """
    Read a preset's weights, and check them against the card.

    Parameters
    ----------
    card : Card
        The preset's card.
    preset : str
        Name or folder of the preset.

    Returns
    -------
    Weights
        All layers, float32.

    Raises
    ------
    PresetError
        Where the file is missing, is not the one that the card describes, or does not fit the
        network.
    """
    path = preset_folder(preset) / card.weights
    try:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest != card.sha256:
            raise PresetError(
                f"The weights {path} have SHA-256 {digest}, but their card says {card.sha256}: "
                "restore the preset from the distribution."
            )
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            weights = {
                layer.name: LayerWeights(
                    arrays[f"{layer.name}/kernel"], arrays[f"{layer.name}/bias"]
                )
                for layer in LAYERS
            }
    except (OSError, ValueError, KeyError, BadZipFile) as error:
        raise PresetError(
            f"The weights {path} cannot be read ({error}): restore them from the distribution."
        ) from error
    check_weights(weights, where=str(path))
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
    np.savez(path, allow_pickle=False, **arrays)
    return hashlib.sha256(path.read_bytes()).hexdigest()


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


def main(arguments: list[str]) -> int:
    """
    Run ``python -m model.weights import-maximask``.

    Parameters
    ----------
    arguments : list of str
        The words after the module's name.

    Returns
    -------
    int
        The exit status: 0, 1 where the import failed, 2 where the words are not understood.
    """
    if arguments != ["import-maximask"]:
        sys.stderr.write("usage: python -m model.weights import-maximask\n")
        return 2
    # The converter writes with this module's functions, so it is loaded only when it is asked for.
    from model.converter import import_maximask

    try:
        folder = import_maximask()
    except PermanentError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"wrote {folder}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
