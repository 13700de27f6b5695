"""Makes MaxiTrack's preset: variables of the published package in, a preset's folder out.

How small the preset can be was measured against the published model on 291 blocks of 400 x 400:
231 of 41 real planes, 60 of synthetic stars trailed by 0 to 60 pixels. Largest change of a
plane's score (prior 0.05) and of a block's logit, and the size of the compressed file:

=================================================  =======  =======  =======
what                                               score    logit    size/MB
=================================================  =======  =======  =======
every number kept                                  1e-6     4e-6     30.8
no slopes (ReLU)                                   0.9      24
one slope a channel in the convolutions            0.7      12
all float16                                        4e-4     2e-2
slopes of the convolutions as float16              4e-5     2e-3
kernel of dense1 as float16                        6e-5     3e-3
slopes of the convolutions in steps of 2 ** -18    2e-5     5e-4     20.5
slopes of the convolutions in steps of 2 ** -20    5e-6     2e-4     22.1
=================================================  =======  =======  =======

Small as the slopes are, they carry the result. But their fine digits do not: they are rounded to
`SLOPE_STEP`, and all else is kept to the last bit. No filter is dead.
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from model.checkpoint import read_variables
from model.converter import VERSION, installed_package, package_licence
from model.preset import PRESETS
from model.prune import live_filters
from model.track_weights import (
    CARD_NAME,
    CONVOLUTIONS,
    DENSE,
    LAST_SIDE,
    TRACK_PRESET,
    TrackLayer,
    TrackWeights,
    fit_layers,
    write_track_weights,
)
from model.weights import LayerWeights

__all__ = ["import_maxitrack", "prune_track", "published_layers"]

WEIGHTS_NAME = "weights.npz"
#: What the slopes of the convolutions are rounded to multiples of.
SLOPE_STEP = 2.0**-20
#: A constant map that is nowhere further from 0 than this says nothing.
SILENT = 1e-6
_VARIABLES = "maximask_and_maxitrack/maxitrack/model/variables/variables"
#: The published slopes have numbers for names.
_SLOPES = {"conv1": 2, "conv2": 5, "conv3": 8, "conv4": 11, "conv5": 14, "dense1": 17, "dense2": 20}

CARD_TEMPLATE = """\
# Written by `python -m model.weights import-maxitrack`.
name = "{preset}"
source = "PyPI package maximask {version}, slopes of the convolutions rounded to 2 ** -20"
paper = "Paillassa, Bertin & Bouy 2020, A&A 634, A48, doi:10.1051/0004-6361/201936345"
licence = "MIT, Copyright 2018 Maxime Paillassa; see LICENSE in this folder"
weights = "{weights}"
sha256 = "{sha256}"
"""


def import_maxitrack(presets: Path = PRESETS) -> Path:
    """
    Write the preset of MaxiTrack from the installed package `maximask`.

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
    weights = dict(prune_track(published_layers()))
    for name in CONVOLUTIONS:
        slopes = np.rint(np.asarray(weights[name].slopes) / SLOPE_STEP) * SLOPE_STEP
        weights[name] = replace(weights[name], slopes=slopes.astype(np.float32))
    folder = presets / TRACK_PRESET
    folder.mkdir(parents=True, exist_ok=True)
    sha256 = write_track_weights(weights, folder / WEIGHTS_NAME)
    card = CARD_TEMPLATE.format(
        preset=TRACK_PRESET, version=VERSION, weights=WEIGHTS_NAME, sha256=sha256
    )
    (folder / CARD_NAME).write_text(card, encoding="utf-8")
    (folder / "LICENSE").write_text(package_licence(distribution.files or ()), encoding="utf-8")
    return folder


def published_layers() -> TrackWeights:
    """
    Read all variables of the installed package, as they are.

    Returns
    -------
    TrackWeights
        Every layer.

    Raises
    ------
    PresetError
        As `import_maxitrack`.
    """
    names = {
        f"{name}/{what}": f"{name}/{what}"
        for name in (*CONVOLUTIONS, *DENSE)
        for what in ("kernel", "bias")
    }
    names |= {f"{name}/slopes": f"variables/{number}" for name, number in _SLOPES.items()}
    keys = {name: f"{key}/.ATTRIBUTES/VARIABLE_VALUE" for name, key in names.items()}
    path = Path(str(installed_package().locate_file(_VARIABLES)))
    variables = read_variables(path, dict.fromkeys(keys.values()))
    return fit_layers({name: variables[key] for name, key in keys.items()}, where=str(path))


def prune_track(weights: TrackWeights) -> TrackWeights:
    """
    Remove the dead filters of the convolutions and the kernels' channels that read them.

    Parameters
    ----------
    weights : TrackWeights
        All layers.

    Returns
    -------
    TrackWeights
        The layers, with fewer filters where some are dead.

    Notes
    -----
    A filter is dead where `live_filters` finds no life in it and what its slopes make of its bias
    is nowhere further from 0 than `SILENT`.
    """
    pruned, channels = dict(weights), np.ones(1, bool)
    for name in CONVOLUTIONS:
        layer = weights[name]
        slopes = np.asarray(layer.slopes)
        speaks = (np.abs(layer.bias * slopes) > SILENT).any(axis=(0, 1))
        live = live_filters(LayerWeights(layer.kernel, layer.bias)) | speaks
        pruned[name] = TrackLayer(
            layer.kernel[:, :, channels][..., live], layer.bias[live], slopes[..., live]
        )
        channels = live
    rows = np.tile(channels, LAST_SIDE**2)
    first = weights[DENSE[0]]
    pruned[DENSE[0]] = replace(first, kernel=first.kernel[rows])
    return pruned
