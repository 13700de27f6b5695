"""Runs the network on a device: batches of normalised tiles in, batches of probabilities out."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.tiles import Span
from model.weights import Weights
from settings.errors import MaximaskdError

__all__ = ["Device", "DeviceError", "Engine", "count_gpus"]

#: Where Linux has its devices, and the files of GPUs: CUDA, ROCm, WSL, others.
DEVICES = Path("/dev")
GPU_FILES = ("nvidia[0-9]*", "kfd", "dxg", "dri/renderD*")
#: Seconds until a machine that does not say how many GPUs it has is taken for one without.
COUNT_TIMEOUT_S = 120.0
_COUNT_PROGRAM = "from model.engine import gpus_here; print(gpus_here())"


class DeviceError(MaximaskdError):
    """The device that was asked for is not there."""


class Device(StrEnum):
    """Where the network runs."""

    AUTO = "auto"
    CPU = "cpu"
    GPU = "gpu"


class Engine:
    """
    The network on one device, with the memory of a GPU taken only as it is needed.

    Parameters
    ----------
    weights : Weights
        All layers.
    device : Device, optional
        `AUTO` takes a GPU where one is visible.
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

    def __init__(self, weights: Weights, *, device: Device = Device.AUTO, threads: int = 0) -> None:
        self.device = _prepare(device, threads)
        # Imported after the device is prepared: an import of Keras may start TensorFlow's runtime.
        import keras

        from model.network import MaskNetwork

        self.name = f"{keras.backend.backend()} {_backend_version(keras.backend.backend())}"
        self._network = MaskNetwork(weights)
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
        ndarray, shape (n_tiles, n_classes, ny, nx), float32
            Raw probabilities.
        """
        inputs: list[NDArray[Any]] = [planes[..., np.newaxis]]
        for span in (rows, columns):
            inputs += [span.window_pixels(), span.cell_pixels(), span.places()]
        return np.asarray(self._network.predict_on_batch(tuple(inputs)))


def count_gpus() -> int:
    """
    Count the visible GPUs without starting TensorFlow in this process.

    Returns
    -------
    int
        The number; 0 where it cannot be told.

    Notes
    -----
    A process that started TensorFlow or CUDA must not fork, so a parent of workers asks a child.
    On Linux a GPU has a device file; where there is none, no child is asked.
    """
    if sys.platform == "linux" and not any(any(DEVICES.glob(name)) for name in GPU_FILES):
        return 0
    try:
        answer = subprocess.run(  # noqa: S603 (our own interpreter, a constant program)
            [sys.executable, "-c", _COUNT_PROGRAM],
            capture_output=True,
            text=True,
            timeout=COUNT_TIMEOUT_S,
            check=True,
        )
        return int(answer.stdout.split()[-1])
    except (OSError, subprocess.SubprocessError, ValueError, IndexError):
        return 0


def gpus_here() -> int:
    """
    Count the GPUs that Keras' backend sees in this process; it starts the backend.

    Returns
    -------
    int
        The number.
    """
    import keras

    return sum("gpu" in name for name in keras.distribution.list_devices())


def _prepare(device: Device, threads: int) -> Device:
    """Settle the device before the backend starts, and return which it is."""
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


def _backend_version(backend: str) -> str:
    return importlib.metadata.version(backend)
