"""Runs the network in Keras: on a GPU or the CPU, with whatever drives it."""

from __future__ import annotations

import importlib.metadata
import os
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.engine import Device, DeviceError, Precision, gpus_here
from model.tiles import Span
from model.weights import Weights

__all__ = ["KerasEngine", "prepare"]


class KerasEngine:
    """
    The network in Keras, with the memory of a GPU taken only as it is needed.

    Parameters
    ----------
    weights : Weights
        All layers.
    device : Device, optional
        `AUTO` takes a GPU where one is visible.
    precision : Precision, optional
        What it computes in; `AUTO`: float32.
    threads : int, optional
        CPU threads; 0 for one each core.

    Raises
    ------
    DeviceError
        Where a GPU is asked for and none is visible.

    Notes
    -----
    Keras decides what drives the device: TensorFlow, or what ``KERAS_BACKEND`` names.
    """

    def __init__(
        self,
        weights: Weights,
        *,
        device: Device = Device.AUTO,
        precision: Precision = Precision.FLOAT32,
        threads: int = 0,
    ) -> None:
        self.device = prepare(device, threads)
        self.precision = Precision.FLOAT32 if precision is Precision.AUTO else precision
        # Imported after the device is prepared: an import of Keras may start TensorFlow's runtime.
        import keras

        from model.network import MaskNetwork

        backend = keras.backend.backend()
        self.name = f"{backend} {importlib.metadata.version(backend)} {self.precision}"
        self._network = MaskNetwork(weights, self.precision.value)
        # Compiling for each shape would cost seconds a shape; GPUs of today refuse XLA's sigmoid
        # (issue 33 of MaxiMask's tracker).
        self._network.compile(jit_compile=False)

    def __call__(
        self, planes: NDArray[np.float32], rows: Span, columns: Span
    ) -> NDArray[np.float32]:
        """
        Return the probabilities of tiles.

        Parameters
        ----------
        planes : ndarray, shape (n_tiles, ny, nx), float32
            What the tiles hold, normalised.
        rows, columns : Span
            One of the tiles; the windows of the others lie in the same way.

        Returns
        -------
        ndarray, shape (n_tiles, n_classes, n_decoded_y, n_decoded_x), float32
            Raw probabilities.
        """
        inputs: list[NDArray[Any]] = [planes[..., np.newaxis]]
        for span in (rows, columns):
            inputs += [
                span.window_pixels(),
                span.cell_pixels(),
                span.places(),
                span.decoded_pixels(),
            ]
        return np.asarray(self._network.predict_on_batch(tuple(inputs)))


def prepare(device: Device, threads: int) -> Device:
    """
    Settle the device before Keras starts.

    Parameters
    ----------
    device : Device
        `AUTO` takes a GPU where one is visible.
    threads : int
        CPU threads; 0 for one each core.

    Returns
    -------
    Device
        Which it is.

    Raises
    ------
    DeviceError
        Where a GPU is asked for and none is visible.
    """
    if os.environ.get("KERAS_BACKEND", "tensorflow") == "tensorflow":
        gpus = _prepare_tensorflow(device, threads)
    else:
        os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")
        gpus = gpus_here() if device is not Device.CPU else 0
    if device is Device.GPU and not gpus:
        raise DeviceError(
            "No GPU is visible to this process: check the driver and CUDA_VISIBLE_DEVICES, install "
            "maximaskd[gpu], or use the device `cpu`."
        )
    return Device.GPU if gpus else Device.CPU


def _prepare_tensorflow(device: Device, threads: int) -> int:
    import tensorflow as tf

    gpus: list[Any] = []
    if device is Device.CPU:
        tf.config.set_visible_devices([], "GPU")
    else:
        gpus = tf.config.list_physical_devices("GPU")
    for gpu in gpus:
        tf.config.experimental.set_memory_growth(gpu, enable=True)
    if threads:
        tf.config.threading.set_intra_op_parallelism_threads(threads)
    return len(gpus)
