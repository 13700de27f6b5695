"""The convolutional network in Keras 3 operations: normalised planes in, probabilities out."""

from __future__ import annotations

from typing import Any

import keras
from keras import ops

from model.architecture import BRANCHES, DECODER, ENCODER
from model.weights import Weights

__all__ = ["MaskNetwork"]


class MaskNetwork(keras.Model):  # type: ignore[misc] # Keras has no types
    """
    MaxiMask's network for planes of any size.

    Parameters
    ----------
    weights : Weights
        Kernel and bias of every layer, as many filters as they hold.

    Notes
    -----
    Input: shape (batch, ny, nx, 1), float32, background-subtracted and divided by sigma. Output:
    shape (batch, n_classes, ny, nx), float32, raw probabilities. Only operations of `keras.ops`
    are used, so that every Keras backend runs it.

    References
    ----------
    Paillassa, Bertin & Bouy 2020, A&A 634, A48, section 4.
    """

    def __init__(self, weights: Weights) -> None:
        super().__init__(trainable=False)
        self._kernels = {name: self._frozen(layer.kernel) for name, layer in weights.items()}
        self._biases = {name: self._frozen(layer.bias) for name, layer in weights.items()}
        self.built = True

    def call(self, planes: Any) -> Any:
        """
        Return the probabilities of normalised planes.

        Parameters
        ----------
        planes : tensor, shape (batch, ny, nx, 1), float32
            Normalised planes.

        Returns
        -------
        tensor, shape (batch, n_classes, ny, nx), float32
            Raw probabilities, the priors being the training set's.
        """
        x = ops.arcsinh(planes)
        skips, winners = [], []
        for stage in ENCODER:
            for name in stage:
                x = self._layer(name, x)
            skips.append(x)
            x, winner = _pool(x)
            winners.append(winner)
        x = self._layer("convmid", x)
        # What each decoder stage starts from also starts the side branch of that stage.
        starts = {}
        for scale, stage in reversed(list(enumerate(DECODER))):
            starts[scale] = _unpool(x, winners[scale], like=skips[scale])
            x = starts[scale] + skips[scale]
            for name in stage:
                x = self._layer(name, x)
        parts = [x]
        for n_layers, branch in BRANCHES.items():
            y = starts[n_layers - 1]
            for scale, name in zip(range(n_layers - 2, -2, -1), branch, strict=True):
                y = self._layer(name, y)
                if scale >= 0:
                    y = _unpool(y, winners[scale], like=skips[scale])
            parts.append(y)
        scores = self._convolve("final_conv", ops.concatenate(parts, axis=-1))
        return ops.transpose(ops.sigmoid(scores), (0, 3, 1, 2))

    def _frozen(self, array: Any) -> Any:
        weight = self.add_weight(shape=array.shape, dtype="float32", trainable=False)
        weight.assign(array)
        return weight

    def _layer(self, name: str, x: Any) -> Any:
        return ops.relu(self._convolve(name, x))

    def _convolve(self, name: str, x: Any) -> Any:
        return ops.conv(x, self._kernels[name], padding="same") + self._biases[name]


def _pool(x: Any) -> tuple[Any, Any]:
    """
    Return the maxima of 2 x 2 windows, and which place of its window each came from.

    Places count 0, 1 / 2, 3; of equal values the first wins: after a ReLU ties at 0 are the rule.
    An odd side is padded with zeros at its end, which never win, because no value is below 0 and
    the places of the pad come later in their window than a real pixel.
    """
    ny, nx = ops.shape(x)[1:3]
    x = ops.pad(x, ((0, 0), (0, ny % 2), (0, nx % 2), (0, 0)))
    a, b = x[:, 0::2, 0::2], x[:, 0::2, 1::2]
    c, d = x[:, 1::2, 0::2], x[:, 1::2, 1::2]
    upper, lower = ops.maximum(a, b), ops.maximum(c, d)
    highest = ops.maximum(upper, lower)
    in_upper = ops.where(a >= b, 0, 1)
    in_lower = ops.where(c >= d, 2, 3)
    return highest, ops.cast(ops.where(upper >= lower, in_upper, in_lower), "int8")


def _unpool(x: Any, winner: Any, *, like: Any) -> Any:
    """Put each value back to its place in its 2 x 2 window, zeros elsewhere, cut to `like`."""
    corners = [ops.where(winner == place, x, 0.0) for place in range(4)]
    batch, ny, nx, channels = ops.shape(x)
    rows = [ops.stack(corners[i : i + 2], axis=3) for i in (0, 2)]
    y = ops.stack([ops.reshape(row, (batch, ny, 2 * nx, channels)) for row in rows], axis=2)
    y = ops.reshape(y, (batch, 2 * ny, 2 * nx, channels))
    full_ny, full_nx = ops.shape(like)[1:3]
    return y[:, :full_ny, :full_nx]
