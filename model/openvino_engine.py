"""Runs the network in OpenVINO on the CPU."""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from model.engine import Device, DeviceError, Precision
from model.tiles import Span
from model.weights import Weights

__all__ = ["OpenVinoEngine", "multiplies_in_bfloat16"]

#: Shapes whose graphs are kept: those of the tiles of a camera's planes, at some MB each.
KEPT_GRAPHS = 16


class OpenVinoEngine:
    """
    The network in OpenVINO: a graph for each shape of tiles, made in a fraction of a second.

    Parameters
    ----------
    weights : Weights
        All layers.
    precision : Precision, optional
        `AUTO`: bfloat16 where the processor multiplies in it.
    thresholds : ndarray, shape (n_classes,), float32, optional
        Scores about which bfloat16 should be most precise.
    threads : int, optional
        CPU threads; 0 for one each core.

    Attributes
    ----------
    device : Device
        The CPU.
    precision : Precision
        What the decoder's fine scales compute in.
    name : str
        ``openvino``, its version, and the precision.

    Raises
    ------
    DeviceError
        Where bfloat16 is asked for and the processor does not multiply in it.
    """

    device = Device.CPU

    def __init__(
        self,
        weights: Weights,
        *,
        precision: Precision = Precision.FLOAT32,
        thresholds: NDArray[np.float32] | None = None,
        threads: int = 0,
    ) -> None:
        import openvino as ov

        self._core = ov.Core()
        native = multiplies_in_bfloat16(self._core)
        if precision is Precision.AUTO:
            precision = Precision.BFLOAT16 if native else Precision.FLOAT32
        if precision is Precision.BFLOAT16 and not native:
            raise DeviceError(
                "This CPU does not multiply in bfloat16: set worker.precision to `auto` or "
                "`float32`."
            )
        self.precision = precision
        self.name = f"openvino {ov.__version__.partition('-')[0]} {precision}"
        self._weights = weights
        self._thresholds = thresholds
        self._options: dict[str, Any] = {
            "PERFORMANCE_HINT": "LATENCY",
            # The graph itself says what is computed in bfloat16.
            "INFERENCE_PRECISION_HINT": "f32",
            # Two workers on one machine would pin their threads to the same cores.
            "ENABLE_CPU_PINNING": False,
        }
        if threads:
            self._options["INFERENCE_NUM_THREADS"] = threads
        self._graphs: OrderedDict[tuple[tuple[int, ...], ...], Any] = OrderedDict()
        self._shapes: tuple[tuple[int, ...], ...] = ()
        self._request: Any = None

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
        request = self._request_for(tuple(array.shape for array in inputs))
        request.infer(inputs, share_inputs=True)
        return request.get_output_tensor(0).data

    def _request_for(self, shapes: tuple[tuple[int, ...], ...]) -> Any:
        """Return what runs the graph for these shapes; only that holds the memory of maps."""
        from model.openvino_network import make_model

        if shapes == self._shapes:
            return self._request
        if self._request is not None:
            self._request = None
            self._graphs[self._shapes].release_memory()
        if shapes not in self._graphs:
            model = make_model(self._weights, shapes, self.precision, self._thresholds)
            self._graphs[shapes] = self._core.compile_model(model, "CPU", self._options)
        self._graphs.move_to_end(shapes)
        while len(self._graphs) > KEPT_GRAPHS:
            self._graphs.popitem(last=False)
        self._shapes, self._request = shapes, self._graphs[shapes].create_infer_request()
        return self._request


def multiplies_in_bfloat16(core: Any) -> bool:
    """
    Tell whether this processor multiplies in bfloat16: AVX512_BF16 or AMX.

    Parameters
    ----------
    core : openvino.Core
        OpenVINO, which knows.

    Returns
    -------
    bool
        True if so; others are slower in it than in float32.
    """
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")
