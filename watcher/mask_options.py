"""The options of a mask, declared once for `mask` and `submit`: words in, an overlay out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

import click

from model.card import PresetError
from model.preset import PRESETS, find_preset

if TYPE_CHECKING:
    from worker.overlay import Overlay

__all__ = ["mask_options", "overlay_of"]

Command = TypeVar("Command", bound=Callable[..., Any])

FOLDER = click.Path(path_type=Path, file_okay=False)

_OPTIONS = (
    click.option(
        "--net_path",
        "--net_dir",
        "preset",
        help="The network: a preset, or a release's own folder.  [default: maximask-1.4]",
    ),
    click.option(
        "--config_dir",
        type=FOLDER,
        help="Folder of classes.flags, .priors and .thresh for exposures that have none beside "
        "them.",
    ),
    click.option(
        "--prior_modif", type=click.BOOL, help="Shift probabilities to new priors?  [default: True]"
    ),
    click.option(
        "--proba_thresh", type=click.BOOL, help="Threshold probabilities?  [default: True]"
    ),
    click.option(
        "--single_mask",
        type=click.BOOL,
        help="Join all classes in one bit mask?  [default: False]",
    ),
    click.option(
        "--batch_size",
        type=click.IntRange(1, 1024),
        help="Tiles that pass through the network at once; lower it if memory is short.  "
        "[default: 8]",
    ),
    click.option("--tiles", type=click.Choice(["wide", "reference"]), help="How planes are cut."),
    click.option(
        "--format",
        "product",
        type=click.Choice(["masks", "probabilities", "bitmask"]),
        help="What is written; --proba_thresh and --single_mask say the same in the manuals' "
        "words.",
    ),
    click.option(
        "--vocabulary",
        type=click.Choice(["preset", "2018"]),
        help="Classes of the planes: the network's own, or those of 2018.",
    ),
    click.option(
        "--hdus", multiple=True, help="HDUs to mask: a number, an EXTNAME pattern, KEY=value."
    ),
    click.option(
        "--others", type=click.Choice(["copy", "drop"]), help="What becomes of other HDUs."
    ),
    click.option(
        "--compress", type=click.Choice(["none", "rice", "gzip"]), help="Compress the masks."
    ),
    click.option(
        "--track", is_flag=True, help="Also give MaxiTrack's probability of a tracking error."
    ),
    click.option("--prior", type=float, help="Prior of a tracking error.  [default: 0.05]"),
    click.option("--frac", type=float, help="Part of the HDUs to look at for one.  [default: 1]"),
    click.option("--output-dir", type=FOLDER, help="Write all mask files into this folder."),
)

#: Options that are settings under the same name.
_SAME = ("prior_modif", "tiles", "vocabulary", "others", "compress")


def mask_options(command: Command) -> Command:
    """
    Give a command the options of a mask.

    Parameters
    ----------
    command : callable
        The command's function.

    Returns
    -------
    callable
        The same, which takes them as keywords.
    """
    for option in reversed(_OPTIONS):
        command = option(command)
    return command


def overlay_of(options: Mapping[str, Any]) -> Overlay:
    """
    Translate the options that were given.

    Parameters
    ----------
    options : mapping
        What a command with `mask_options` was called with.

    Returns
    -------
    Overlay
        What was asked for; paths are absolute, so that they mean the same elsewhere.

    Raises
    ------
    click.UsageError
        Where two options contradict each other.
    """
    from worker.overlay import Overlay

    mask = {name: options[name] for name in _SAME if options[name] is not None}
    if (preset := options["preset"]) is not None:
        mask["preset"] = _preset(preset)
    if options["config_dir"] is not None:
        mask["config_dir"] = _absolute(options["config_dir"])
    if options["hdus"]:
        mask["hdus"] = list(options["hdus"])
    if (product := _product(options)) is not None:
        mask["format"] = product
    for option, setting in (("prior", "track_prior"), ("frac", "track_frac")):
        if options[option] is not None:
            mask[setting] = options[option]
    if options["track"]:
        mask["track"] = True
    output_dir = options["output_dir"]
    return Overlay(
        mask=mask,
        output_dir=None if output_dir is None else Path(_absolute(output_dir)),
        batch_size=options["batch_size"],
    )


def _absolute(path: Path | str) -> str:
    return os.path.abspath(Path(path).expanduser())  # noqa: PTH100 (resolve() would follow links)


def _preset(text: str) -> str:
    """Return the name of a preset that comes with maximaskd as it is, all else as a path."""
    path = Path(text).expanduser()
    try:
        is_shipped = find_preset(text).folder == PRESETS / text
    except PresetError:
        is_shipped = False
    return text if is_shipped or not path.exists() else _absolute(text)


def _product(options: Mapping[str, Any]) -> str | None:
    """Return the product that the three options for it ask for together."""
    thresholded, single, product = (
        options[name] for name in ("proba_thresh", "single_mask", "product")
    )
    if single and thresholded is False:
        raise click.UsageError("--single_mask needs thresholds: leave --proba_thresh at True.")
    meant = None
    if thresholded is False:
        meant = "probabilities"
    elif single:
        meant = "bitmask"
    elif (thresholded or single is False) and product is None:
        meant = "masks"
    if product and meant and product != meant:
        raise click.UsageError(
            f"--format {product} contradicts --proba_thresh or --single_mask ({meant}): give one."
        )
    return product or meant
