"""Runs the network in OpenVINO on the CPU."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.engine import Device
from model.tiles import Span
from model.weights import Weights

__all__ = ["OpenVinoEngine"]


class OpenVinoEngine:
    """
    The network in OpenVINO: ready in a fraction of a second, for tiles of any shape.

    Parameters
    ----------
    weights : Weights
        All layers.
    threads : int, optional
        CPU threads; 0 for one each core.

    Attributes
    ----------
    device : Device
        The CPU.
    name : str
        ``openvino`` and its version.
    """

    device = Device.CPU

    def __init__(self, weights: Weights, *, threads: int = 0) -> None:
        import openvino as ov

        from model.openvino_network import make_model

        self.name = f"openvino {ov.__version__.partition('-')[0]}"
        options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            # The network's own precision: what a CPU can do in bfloat16 gives other masks.
            "INFERENCE_PRECISION_HINT": "f32",
            # Two workers on one machine would pin their threads to the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        if threads:
            options["INFERENCE_NUM_THREADS"] = threads
        compiled = ov.Core().compile_model(make_model(weights), "CPU", options)
        self._request = compiled.create_infer_request()

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
            Raw probabilities; the next call writes over them.
        """
        inputs: list[NDArray[Any]] = [np.ascontiguousarray(planes)]
        for span in (rows, columns):
            inputs += [
                span.window_pixels(),
                span.cell_pixels(),
                span.places(),
                span.decoded_pixels(),
            ]
        self._request.infer(inputs, share_inputs=True)
        return self._request.get_output_tensor(0).data
