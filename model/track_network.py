"""MaxiTrack's network in Keras 3 operations: normalised blocks in, two logits a block out."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from model.track_weights import CONVOLUTIONS, DENSE, TrackWeights

__all__ = ["TrackNetwork"]


class TrackNetwork(keras.Model):  # type: ignore[misc] # Keras has no types
    """
    MaxiTrack's network for blocks of 400 x 400 pixels.

    Parameters
    ----------
    weights : TrackWeights
        Kernel, bias and slopes of every layer.

    Notes
    -----
    Only operations of `keras.ops` are used, so that every Keras backend runs it. Below 0 each pixel
    of each map has a slope of its own, which ties the network to the size of its blocks.

    References
    ----------
    Paillassa, Bertin & Bouy 2020, A&A 634, A48.
    """

    def __init__(self, weights: TrackWeights) -> None:
        super().__init__(trainable=False)
        self._layers_by_name = {
            name: tuple(self._frozen(array) for array in (layer.kernel, layer.bias, layer.slopes))
            for name, layer in weights.items()
        }
        self.built = True

    def call(self, inputs: Any) -> Any:
        """
        Return the logits of normalised blocks.

        Parameters
        ----------
        inputs : tensor, shape (batch, 400, 400, 1), float32
            Blocks in units of sigma.

        Returns
        -------
        tensor, shape (batch, 2), float32
            Before the softmax: well tracked, badly tracked.
        """
        x = ops.arcsinh(inputs)
        for name in CONVOLUTIONS:
            kernel, bias, slopes = self._layers_by_name[name]
            x = _prelu(ops.conv(x, kernel, padding="same") + bias, slopes)
            x = ops.max_pool(x, 2, 2, padding="valid")
        x = ops.reshape(x, (ops.shape(x)[0], -1))
        for name in DENSE:
            kernel, bias, slopes = self._layers_by_name[name]
            x = _prelu(ops.matmul(x, kernel) + bias, slopes)
        return x

    def _frozen(self, array: Any) -> Any:
        if array is None:
            return None
        weight = self.add_weight(shape=array.shape, dtype="float32", trainable=False)
        weight.assign(array)
        return weight


def _prelu(x: Any, slopes: Any) -> Any:
    return x if slopes is None else ops.where(x >= 0, x, slopes * x)
