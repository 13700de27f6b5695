"""Removes the filters whose maps are zero everywhere: full layers in, narrower layers out."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from model.architecture import LAYERS, Layer
from model.weights import LayerWeights, Weights

__all__ = ["live_filters", "prune"]

#: A filter whose kernel norm is below this part of its layer's largest contributes nothing.
DEAD_NORM = 1e-2

_BY_NAME = {layer.name: layer for layer in LAYERS}


def live_filters(layer: LayerWeights) -> NDArray[np.bool_]:
    """
    Tell which filters of a layer can give anything but 0 after the ReLU.

    Parameters
    ----------
    layer : LayerWeights
        Kernel and bias of the layer.

    Returns
    -------
    ndarray, shape (n_filters,), bool
        True where the kernel's norm is at least `DEAD_NORM` of the layer's largest, or the bias is
        not negative.
    """
    norms = np.sqrt((layer.kernel.astype(np.float64) ** 2).sum(axis=(0, 1, 2)))
    return (norms >= DEAD_NORM * norms.max()) | (layer.bias >= 0)


def prune(weights: Weights) -> Weights:
    """
    Remove the dead filters and the input channels that read them.

    Parameters
    ----------
    weights : Weights
        All layers of the full network.

    Returns
    -------
    Weights
        The layers with fewer filters; what they compute changes by rounding alone.

    Notes
    -----
    Maps that are added, or unpooled with the maxima of others, keep the same channels: all that are
    live in one of them. That costs some zeros in the coarse layers and saves every rearrangement of
    channels in the fine ones, which would cost more.
    """
    keep = {name: live_filters(layer) for name, layer in weights.items()}
    keep["final_conv"] = np.ones_like(keep["final_conv"])
    for group in _channel_groups():
        together: NDArray[np.bool_] = np.any([keep[name] for name in group], axis=0)
        keep |= dict.fromkeys(group, together)
    return {name: _cut(_BY_NAME[name], layer, keep) for name, layer in weights.items()}


def _channel_groups() -> list[set[str]]:
    """Return, for each scale, the layers whose maps meet there after unpooling."""
    groups: dict[int, set[str]] = {}
    for layer in LAYERS:
        for name in layer.sources:
            if _BY_NAME[name].scale > layer.scale:
                groups.setdefault(layer.scale, set()).update((name, *layer.sources))
    return list(groups.values())


def _cut(layer: Layer, weights: LayerWeights, keep: dict[str, NDArray[np.bool_]]) -> LayerWeights:
    if layer.name == "final_conv":
        rows = np.concatenate([keep[name] for name in layer.sources])
    elif layer.sources:
        rows = keep[layer.sources[0]]
    else:
        rows = np.ones(1, bool)
    columns = keep[layer.name]
    return LayerWeights(weights.kernel[:, :, rows][..., columns], weights.bias[columns])
