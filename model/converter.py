"""Makes a preset of the published package `maximask`: its variables in, a preset's folder out."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model.architecture import LAYERS
from model.card import CARD_NAME, PRESETS, PresetError
from model.prune import prune
from model.weights import LayerWeights, Weights, check_weights, write_weights

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["import_maximask", "installed_package", "package_licence", "published_variables"]

PACKAGE = "maximask"
VERSION = "1.4.1"
PRESET = "maximask-1.4"
WEIGHTS_NAME = "weights.npz"
_VARIABLES = "maximask_and_maxitrack/maximask/model/variables/variables"

#: Short name, full name, training prior, prior, threshold of MaxiMask 1.4.1, in output order.
CLASS_TABLE = (
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
)

CARD_TEMPLATE = """\
# Written by `python -m model.weights import-maximask`.
name = "{preset}"
source = "PyPI package maximask {version}, filters that are zero everywhere removed"
paper = "Paillassa, Bertin & Bouy 2020, A&A 634, A48, doi:10.1051/0004-6361/201936345"
licence = "MIT, Copyright 2018 Maxime Paillassa; see LICENSE in this folder"
weights = "{weights}"
sha256 = "{sha256}"

# In the order of the network's output.
"""

CLASS_TEMPLATE = """\
[[classes]]
name = "{}"
full_name = "{}"
training_prior = {}
prior = {}
threshold = {}
"""


def import_maximask(presets: Path = PRESETS) -> Path:
    """
    Write the preset of the installed package `maximask`.

    Parameters
    ----------
    presets : Path, optional
        The folder in which the preset's own folder is made.

    Returns
    -------
    Path
        The preset's folder: weights, card, the authors' licence.

    Raises
    ------
    PresetError
        Where the package is not installed, is another version, or its variables do not fit.
    """
    distribution = installed_package()
    weights = prune(published_variables())
    folder = presets / PRESET
    folder.mkdir(parents=True, exist_ok=True)
    sha256 = write_weights(weights, folder / WEIGHTS_NAME)
    card = CARD_TEMPLATE.format(
        preset=PRESET, version=VERSION, weights=WEIGHTS_NAME, sha256=sha256
    ) + "\n".join(CLASS_TEMPLATE.format(*row) for row in CLASS_TABLE)
    (folder / CARD_NAME).write_text(card, encoding="utf-8")
    (folder / "LICENSE").write_text(package_licence(distribution.files or ()), encoding="utf-8")
    return folder


def published_variables() -> Weights:
    """
    Read all variables of the installed package, unpruned.

    Returns
    -------
    Weights
        Every layer with all its filters.

    Raises
    ------
    PresetError
        As `import_maximask`.
    """
    import tensorflow as tf

    path = str(installed_package().locate_file(_VARIABLES))
    reader = tf.train.load_checkpoint(path)

    def variable(name: str) -> np.ndarray:
        key = f"{name}/.ATTRIBUTES/VARIABLE_VALUE"
        if not reader.has_tensor(key):
            raise PresetError(f"{path} has no variable {name}: install {PACKAGE} {VERSION} afresh.")
        return np.asarray(reader.get_tensor(key), np.float32)

    weights = {
        layer.name: LayerWeights(variable(f"{layer.name}/kernel"), variable(f"{layer.name}/bias"))
        for layer in LAYERS
    }
    check_weights(weights, where=path)
    return weights


def installed_package() -> importlib.metadata.Distribution:
    """
    Find the published package.

    Returns
    -------
    importlib.metadata.Distribution
        What is installed of it.

    Raises
    ------
    PresetError
        Where it is not installed, or is another version.
    """
    try:
        distribution = importlib.metadata.distribution(PACKAGE)
    except importlib.metadata.PackageNotFoundError as error:
        raise PresetError(
            f"The package {PACKAGE} is not installed: `pip install --no-deps {PACKAGE}=={VERSION}`."
        ) from error
    if distribution.version != VERSION:
        raise PresetError(
            f"The package {PACKAGE} is {distribution.version}: install {PACKAGE}=={VERSION}."
        )
    return distribution


def package_licence(files: Iterable[importlib.metadata.PackagePath]) -> str:
    """
    Read the authors' licence from the published package.

    Parameters
    ----------
    files : iterable of PackagePath
        The files of the package.

    Returns
    -------
    str
        The text.

    Raises
    ------
    PresetError
        Where there is none among them.
    """
    for path in files:
        if path.name == "LICENSE":
            return path.read_text(encoding="utf-8")
    raise PresetError(f"The package {PACKAGE} came without its licence: install it afresh.")
