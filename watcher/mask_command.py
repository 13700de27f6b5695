"""The command `maximaskd mask`: the options of MaxiMask 2018 and 1.4.1 in, mask files out."""

from __future__ import annotations

import sys
from typing import Any

import click

from settings import logs
from watcher.command import CONFIG, ExitCode, sentences
from watcher.mask_options import mask_options, overlay_of

__all__ = ["mask"]


@click.command()
@click.argument("device", type=click.Choice(["cpu", "gpu"]))
@click.argument("im_path", nargs=-1, required=True)
@mask_options
@click.option("-v", "--verbose", is_flag=True, help="Say what is done, and the Mpix/s of each HDU.")
@CONFIG
def mask(device: str, im_path: tuple[str, ...], **options: Any) -> None:
    """
    Mask exposures at once, without queue or server.

    IM_PATH is a FITS file, one HDU of it as file.fits[N], a folder, or a .list file with one path a
    line. The masks of file.fits are file.masks.fits, those of file.fits[N] file.masks<N>.fits.
    """
    with sentences():
        from settings.sources import load

        overlay = overlay_of(options)
        flags: dict[str, dict[str, Any]] = {"mask": overlay.mask}
        if overlay.batch_size is not None:
            flags["worker"] = {"batch_size": overlay.batch_size}
        settings = load(options["config"], flags=flags)
        from rich.console import Console

        from watcher.bars import SayingHandler, speaker
        from watcher.oneshot import mask_all
        from watcher.paths import find_targets

        console = Console()
        say = speaker(console)
        logs.configure("DEBUG" if options["verbose"] else "WARNING", handler=SayingHandler(say))
        totals = mask_all(
            find_targets(im_path, settings.watch),
            settings,
            device,
            console,
            complain=say,
            output_dir=overlay.output_dir,
        )
    if options["verbose"] or totals.failed:
        click.echo(
            f"{totals.masked} masked ({totals.mpix:.1f} Mpix), {totals.skipped} skipped, "
            f"{totals.failed} failed",
            err=True,
        )
    sys.exit(ExitCode.FAILED if totals.failed else ExitCode.OK)
