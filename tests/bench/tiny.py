"""Makes what costs the network next to nothing: tiny exposures, a preset of one filter a layer."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
from astropy.io import fits

from model.architecture import LAYERS
from model.preset import CARD_NAME, PRESETS
from model.weights import LayerWeights, write_weights

__all__ = ["blank_exposure", "noisy_exposure", "write_tiny_preset"]

#: Side of the exposures in pixels.
SIDE = 16
#: The preset whose classes the tiny one has.
LIKE = "maximask-1.4"


def blank_exposure() -> bytes:
    """
    Return an exposure that is complete and valid, and holds nothing to mask.

    Returns
    -------
    bytes
        The FITS file; all its pixels are 0.
    """
    return _as_file(np.zeros((SIDE, SIDE), np.int16))


def noisy_exposure() -> bytes:
    """
    Return an exposure that is masked.

    Returns
    -------
    bytes
        The FITS file: sky and noise.
    """
    return _as_file(np.random.default_rng(1).normal(1000, 10, (SIDE, SIDE)).astype(np.int16))


def write_tiny_preset(folder: Path) -> None:
    """
    Write a preset with random weights and one filter a layer.

    Parameters
    ----------
    folder : Path
        The folder to make.
    """
    folder.mkdir()
    rng = np.random.default_rng(2)
    weights = {}
    for layer in LAYERS:
        n_filters = layer.n_filters if layer is LAYERS[-1] else 1
        n_channels = len(layer.sources) if layer is LAYERS[-1] else 1
        kernel = rng.normal(0, 0.3, (3, 3, n_channels, n_filters)).astype(np.float32)
        weights[layer.name] = LayerWeights(kernel, np.zeros(n_filters, np.float32))
    digest = write_weights(weights, folder / "weights.npz")
    card = (PRESETS / LIKE / CARD_NAME).read_text(encoding="utf-8")
    card = re.sub(r'^sha256 = ".*"$', f'sha256 = "{digest}"', card, flags=re.MULTILINE)
    card = re.sub(r'^name = ".*"$', 'name = "tiny"', card, count=1, flags=re.MULTILINE)
    (folder / CARD_NAME).write_text(card, encoding="utf-8")


def _as_file(plane: np.ndarray) -> bytes:
    file = io.BytesIO()
    header = fits.Header({"INSTRUME": "BENCH"})
    fits.PrimaryHDU(plane, header).writeto(file)
    return file.getvalue()
