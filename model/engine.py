"""Chooses what runs the network: weights and a device in, an engine out."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from enum import StrEnum
from pathlib import Path
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from model.tiles import Span
from model.weights import Weights
from settings.errors import MaximaskdError

__all__ = [
    "Device",
    "DeviceError",
    "Engine",
    "EngineName",
    "Precision",
    "count_gpus",
    "gpus_here",
    "make_engine",
]

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


class EngineName(StrEnum):
    """What can run the network."""

    AUTO = "auto"
    OPENVINO = "openvino"
    KERAS = "keras"


class Precision(StrEnum):
    """What the decoder's finest scales compute in; all else is float32 everywhere."""

    AUTO = "auto"
    FLOAT32 = "float32"
    BFLOAT16 = "bfloat16"


class Engine(Protocol):
    """
    The network on one device: batches of normalised tiles in, batches of probabilities out.

    Attributes
    ----------
    device : Device
        Where it runs: CPU or GPU.
    name : str
        What runs it, with its version and the precision.
    """

    device: Device
    name: str

    @property
    def precision(self) -> Precision:
        """What it computes in."""

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
            Raw probabilities of what the tiles decode (`Span.decoded`); valid until the next call.
        """


def make_engine(
    weights: Weights,
    *,
    name: EngineName = EngineName.AUTO,
    device: Device = Device.AUTO,
    precision: Precision = Precision.FLOAT32,
    thresholds: NDArray[np.float32] | None = None,
    threads: int = 0,
) -> Engine:
    """
    Load the network.

    Parameters
    ----------
    weights : Weights
        All layers.
    name : EngineName, optional
        What runs it; `AUTO`: Keras where a GPU is visible and may be used, else OpenVINO where it
        is installed.
    device : Device, optional
        `AUTO` takes a GPU where one is visible.
    precision : Precision, optional
        What it computes in; `AUTO`: bfloat16 in OpenVINO where the processor multiplies in it, else
        float32.
    thresholds : ndarray, shape (n_classes,), float32, optional
        Scores, before the sigmoid, about which bfloat16 should be most precise.
    threads : int, optional
        CPU threads; 0 for one each core.

    Returns
    -------
    Engine
        Ready to be called.

    Raises
    ------
    DeviceError
        Where the device is not there, or not for this engine.
    """
    if name is EngineName.AUTO:
        name = _fastest(device)
    if name is EngineName.KERAS:
        from model.keras_engine import KerasEngine

        return KerasEngine(weights, device=device, precision=precision, threads=threads)
    if device is Device.GPU:
        raise DeviceError(
            "The engine openvino runs on the CPU here: set worker.engine to `keras` or `auto`, or "
            "use the device `cpu`."
        )
    from model.openvino_engine import OpenVinoEngine

    return OpenVinoEngine(weights, precision=precision, thresholds=thresholds, threads=threads)


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
    if not _may_have_gpu():
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


def _fastest(device: Device) -> EngineName:
    """Return what is fastest here; a machine that may have a GPU is asked in this process."""
    if device is Device.GPU or (device is Device.AUTO and _may_have_gpu() and gpus_here()):
        return EngineName.KERAS
    return EngineName.OPENVINO if importlib.util.find_spec("openvino") else EngineName.KERAS


def _may_have_gpu() -> bool:
    return sys.platform != "linux" or any(any(DEVICES.glob(name)) for name in GPU_FILES)
