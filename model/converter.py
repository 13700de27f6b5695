"""Makes a preset of the published package `maximask`: its variables in, a preset's folder out."""

from __future__ import annotations

import importlib.metadata
from pathlib import Path
from typing import TYPE_CHECKING

from model.card import PresetError
from model.preset import CARD_NAME, PRESETS
from model.prune import prune
from model.releases import RELEASE_1_4
from model.weights import Weights, read_release, write_weights

if TYPE_CHECKING:
    from collections.abc import Iterable

__all__ = ["import_maximask", "installed_package", "package_licence", "published_weights"]

PACKAGE = "maximask"
VERSION = "1.4.1"
PRESET = "maximask-1.4"
WEIGHTS_NAME = "weights.npz"
_FOLDER = "maximask_and_maxitrack/maximask/model"

CARD_TEMPLATE = """\
# Written by `python -m model.weights import-maximask`.
name = "{preset}"
source = "PyPI package maximask {version}, filters that are zero everywhere removed"
paper = "Paillassa, Bertin & Bouy 2020, A&A 634, A48, doi:10.1051/0004-6361/201936345"
licence = "MIT, Copyright 2018 Maxime Paillassa; see LICENSE in this folder"
weights = "{weights}"
sha256 = "{sha256}"
preprocessing = "{preprocessing}"

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
    weights = prune(published_weights())
    folder = presets / PRESET
    folder.mkdir(parents=True, exist_ok=True)
    card = CARD_TEMPLATE.format(
        preset=PRESET,
        version=VERSION,
        weights=WEIGHTS_NAME,
        sha256=write_weights(weights, folder / WEIGHTS_NAME),
        preprocessing=RELEASE_1_4.preprocessing,
    ) + "\n".join(
        CLASS_TEMPLATE.format(row.name, row.full_name, row.training_prior, row.prior, row.threshold)
        for row in RELEASE_1_4.classes
    )
    (folder / CARD_NAME).write_text(card, encoding="utf-8")
    (folder / "LICENSE").write_text(package_licence(distribution.files or ()), encoding="utf-8")
    return folder


def published_weights() -> Weights:
    """
    Read the weights of the installed package, unpruned.

    Returns
    -------
    Weights
        Every layer with all its filters.

    Raises
    ------
    PresetError
        As `import_maximask`.
    """
    return read_release(RELEASE_1_4, Path(str(installed_package().locate_file(_FOLDER))))


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
