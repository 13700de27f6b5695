"""The command `maximaskd mask`: the options of MaxiMask 2018 and 1.4.1 in, mask files out."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import click
from rich.console import Console

from settings import logs
from settings.sources import load
from watcher.command import CONFIG, ExitCode, sentences

__all__ = ["mask"]

FOLDER = click.Path(path_type=Path, file_okay=False)


@click.command()
@click.argument("device", type=click.Choice(["cpu", "gpu"]))
@click.argument("im_path", nargs=-1, required=True)
@click.option(
    "--net_path",
    "--net_dir",
    "preset",
    help="The network: a preset, or a release's own folder.  [default: maximask-1.4]",
)
@click.option(
    "--config_dir",
    type=FOLDER,
    help="Folder of classes.flags, .priors and .thresh for exposures that have none beside them.",
)
@click.option(
    "--prior_modif", type=click.BOOL, help="Shift probabilities to new priors?  [default: True]"
)
@click.option("--proba_thresh", type=click.BOOL, help="Threshold probabilities?  [default: True]")
@click.option(
    "--single_mask", type=click.BOOL, help="Join all classes in one bit mask?  [default: False]"
)
@click.option(
    "--batch_size",
    type=click.IntRange(1, 1024),
    help="Tiles that pass through the network at once; lower it if memory is short.  [default: 8]",
)
@click.option("--tiles", type=click.Choice(["wide", "reference"]), help="How planes are cut.")
@click.option(
    "--format",
    "product",
    type=click.Choice(["masks", "probabilities", "bitmask"]),
    help="What is written; --proba_thresh and --single_mask say the same in the manuals' words.",
)
@click.option(
    "--vocabulary",
    type=click.Choice(["preset", "2018"]),
    help="Classes of the planes: the network's own, or those of 2018.",
)
@click.option(
    "--hdus", multiple=True, help="HDUs to mask: a number, an EXTNAME pattern, KEY=value."
)
@click.option("--others", type=click.Choice(["copy", "drop"]), help="What becomes of other HDUs.")
@click.option("--compress", type=click.Choice(["none", "rice", "gzip"]), help="Compress the masks.")
@click.option(
    "--track", is_flag=True, help="Also give MaxiTrack's probability of a tracking error."
)
@click.option("--prior", type=float, help="Prior of a tracking error.  [default: 0.05]")
@click.option("--frac", type=float, help="Part of the HDUs to look at for one.  [default: 1]")
@click.option("--output-dir", type=FOLDER, help="Write all mask files into this folder.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done, and the Mpix/s of each HDU.")
@CONFIG
def mask(device: str, im_path: tuple[str, ...], **options: Any) -> None:
    """
    Mask exposures at once, without queue or server.

    IM_PATH is a FITS file, one HDU of it as file.fits[N], a folder, or a .list file with one path a
    line. The masks of file.fits are file.masks.fits, those of file.fits[N] file.masks<N>.fits.
    """
    with sentences():
        output_dir = options["output_dir"]
        settings = load(options["config"], flags=_flags(options))
        logs.configure("DEBUG" if options["verbose"] else "WARNING")
        from watcher.oneshot import mask_all
        from watcher.paths import find_targets

        totals = mask_all(
            find_targets(im_path, settings.watch),
            settings,
            device,
            Console(),
            complain=lambda sentence: click.echo(sentence, err=True),
            is_flat=output_dir is not None,
        )
    if options["verbose"] or totals.failed:
        click.echo(
            f"{totals.masked} masked ({totals.mpix:.1f} Mpix), {totals.skipped} skipped, "
            f"{totals.failed} failed",
            err=True,
        )
    sys.exit(ExitCode.FAILED if totals.failed else ExitCode.OK)


def _flags(options: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Translate the options that were given into settings."""
    same = ("preset", "config_dir", "prior_modif", "tiles", "vocabulary", "others", "compress")
    mask_flags = {name: options[name] for name in same if options[name] is not None}
    if options["hdus"]:
        mask_flags["hdus"] = options["hdus"]
    if (product := _product(options)) is not None:
        mask_flags["format"] = product
    for option, setting in (("prior", "track_prior"), ("frac", "track_frac")):
        if options[option] is not None:
            mask_flags[setting] = options[option]
    if options["track"]:
        mask_flags["track"] = True
    flags: dict[str, dict[str, Any]] = {"mask": mask_flags}
    if options["batch_size"] is not None:
        flags["worker"] = {"batch_size": options["batch_size"]}
    if options["output_dir"] is not None:
        flags["root"] = {"output_root": options["output_dir"]}
    return flags


def _product(options: dict[str, Any]) -> str | None:
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
