"""The two published releases of MaxiMask: their files, variables, classes, priors, thresholds.

Both have the same layers. Tables by class: short name, full name, training prior, prior, threshold,
in the order of the network's output.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from model.architecture import LAYERS, layer_shape
from model.card import MaskClass, Preprocessing

__all__ = ["RELEASES", "RELEASE_1_4", "RELEASE_2018", "Release"]


@dataclass(frozen=True)
class Release:
    """
    What is known of a release.

    Parameters
    ----------
    name : str
        Its name, which stands in the headers of masks.
    files : tuple of str
        What its directory holds, as shell patterns.
    data : str
        The files among them that hold the variables, without their endings.
    classes : tuple of MaskClass
        In the order of the network's output.
    preprocessing : Preprocessing
        How planes are normalised.
    variables : mapping of str to tuple of str
        Names of kernel and bias, by layer.
    joined : tuple of str
        The layers that the last one reads, in the order of its kernel's rows.
    """

    name: str
    files: tuple[str, ...]
    data: str
    classes: tuple[MaskClass, ...]
    preprocessing: Preprocessing
    variables: Mapping[str, tuple[str, str]]
    joined: tuple[str, ...]

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """
        Return the shapes of all variables.

        Returns
        -------
        dict of str to tuple of int
            By the release's own names.
        """
        shapes: dict[str, tuple[int, ...]] = {}
        for layer in LAYERS:
            kernel, bias = self.variables[layer.name]
            shapes[kernel] = layer_shape(layer)
            shapes[bias] = (layer.n_filters,)
        return shapes


def _classes(*rows: tuple[str, str, float, float, float]) -> tuple[MaskClass, ...]:
    return tuple(
        MaskClass(name, full_name, index, training_prior, prior, threshold)
        for index, (name, full_name, training_prior, prior, threshold) in enumerate(rows)
    )


#: PyPI package maximask 1.4.1. Keras saves an object's variables under these keys.
RELEASE_1_4 = Release(
    name="maximask-1.x",
    files=(
        "saved_model.pb",
        "variables/variables.index",
        "variables/variables.data-00000-of-00001",
    ),
    data="variables/variables",
    classes=_classes(
        ("CR", "cosmic ray", 0.010, 5e-4, 0.43),
        ("HCL", "hot column or line", 0.009, 1e-5, 0.60),
        ("DCL", "dead column, line or cluster", 0.036, 1e-4, 0.74),
        ("HP", "hot pixel", 0.001, 1e-6, 0.43),
        ("DP", "dead pixel", 0.001, 1e-6, 0.99),
        ("P", "persistence", 0.010, 1e-3, 0.65),
        ("TRL", "trail", 0.103, 1e-3, 0.28),
        ("FR", "residual fringes", 0.126, 1e-3, 0.76),
        ("NEB", "nebulosity", 0.171, 1e-3, 0.56),
        ("SAT", "saturated pixel", 0.002, 1e-3, 0.81),
        ("SP", "diffraction spike", 0.044, 5e-3, 0.54),
        ("OV", "overscan", 0.118, 5e-3, 0.55),
        ("BBG", "bright background", 0.126, 0.1, 0.44),
        ("BG", "background", 0.395, 0.9, 0.27),
    ),
    preprocessing=Preprocessing.V1_4,
    variables={
        layer.name: (
            f"{layer.name}/kernel/.ATTRIBUTES/VARIABLE_VALUE",
            f"{layer.name}/bias/.ATTRIBUTES/VARIABLE_VALUE",
        )
        for layer in LAYERS
    },
    joined=LAYERS[-1].sources,
)

#: The kernels of 2018 by layer, in the order in which their biases are numbered.
_KERNELS_2018 = {
    "conv1": "w1_1",
    "conv2": "w2_1",
    "conv3_1": "w3_1",
    "conv3_2": "w3_2",
    "conv4_1": "w4_1",
    "conv4_2": "w4_2",
    "conv5_1": "w5_1",
    "conv5_2": "w5_2",
    "convmid": "w_midconv",
    "upconv5_2": "wu5_2",
    "upconv5_1": "wu5_1",
    "upconv4_2": "wu4_2",
    "upconv4_1": "wu4_1",
    "upconv3_2": "wu3_2",
    "upconv3_1": "wu3_1",
    "upconv2": "wu2_1",
    "upconv1": "wu1_1",
    "ucp4_conv4": "w5u_4",
    "ucp4_conv3": "w5u_3",
    "ucp4_conv2": "w5u_2",
    "ucp4_conv1": "w5u_1",
    "ucp3_conv3": "w4u_3",
    "ucp3_conv2": "w4u_2",
    "ucp3_conv1": "w4u_1",
    "ucp2_conv2": "w3u_2",
    "ucp2_conv1": "w3u_1",
    "ucp1_conv1": "w2u_1",
    "final_conv": "wf",
}

#: The command-line tool of 2018: a TensorFlow 1 checkpoint with a graph each for CPU and GPU.
RELEASE_2018 = Release(
    name="maximask-2018",
    files=("model.index", "model.data-00000-of-00001", "*_model.meta"),
    data="model",
    classes=_classes(
        ("CR", "cosmic ray", 0.00224, 2e-4, 0.61),
        ("HC", "hot column", 0.00803, 8e-4, 0.61),
        ("BC", "bad column", 0.00796, 8e-4, 0.61),
        ("BL", "bad line", 0.00800, 8e-4, 0.56),
        ("HP", "hot pixel", 0.00035, 3.5e-5, 0.59),
        ("BP", "bad pixel", 0.00035, 3.5e-5, 0.96),
        ("P", "persistence", 0.00911, 1e-5, 0.91),
        ("STL", "satellite trail", 0.07027, 1e-3, 0.45),
        ("FR", "fringe pattern", 0.12188, 1e-5, 0.83),
        ("NEB", "nebulosity", 0.16426, 1e-5, 0.46),
        ("SAT", "saturated pixel", 0.00161, 0.0016, 0.92),
        ("SP", "diffraction spike", 0.01409, 0.014, 0.76),
        ("BBG", "bright background", 0.07717, 0.07, 0.53),
        ("BG", "background", 0.58629, 0.90, 0.52),
    ),
    preprocessing=Preprocessing.V2018,
    variables={
        layer: (kernel, f"Variable_{number}" if number else "Variable")
        for number, (layer, kernel) in enumerate(_KERNELS_2018.items())
    },
    joined=("upconv1", "ucp1_conv1", "ucp2_conv1", "ucp3_conv1", "ucp4_conv1"),
)

RELEASES = (RELEASE_1_4, RELEASE_2018)
