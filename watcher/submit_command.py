"""The command `maximaskd submit`: paths and the options of a mask in, tasks in the queue out."""

from __future__ import annotations

import json
import sys
from typing import Any

import click

from settings import logs
from watcher.command import CONFIG, ExitCode, open_status, sentences
from watcher.mask_options import mask_options, overlay_of

__all__ = ["submit"]


@click.command()
@click.argument("paths", nargs=-1, required=True, metavar="PATH...")
@click.option(
    "--queue",
    type=click.Choice(["cpu", "gpu"]),
    help="Which workers mask them; if not given, as watch.queue says.",
)
@mask_options
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of lines.")
@click.option("-v", "--verbose", is_flag=True, help="Say what is done.")
@CONFIG
def submit(paths: tuple[str, ...], queue: str | None, *, as_json: bool, **options: Any) -> None:
    """
    Hand exposures to running workers, without watching.

    PATH is a FITS file, one HDU of it as file.fits[N], a folder, or a .list file with one path a
    line. The options are those of `maximaskd mask`; what is not given is as the settings say.
    """
    with sentences():
        from settings.sources import load

        overlay = overlay_of(options)
        flags: dict[str, dict[str, Any]] = {"mask": overlay.mask}
        if queue is not None:
            flags["watch"] = {"queue": queue}
        settings = load(options["config"], flags=flags)
        logs.configure("DEBUG" if options["verbose"] else "WARNING")
        from watcher.assembly import make_intake
        from watcher.paths import find_targets
        from watcher.submission import Submission

        intake = make_intake(settings, open_status(settings))
        results = []
        try:
            for submitted in Submission(intake, overlay).send(find_targets(paths, settings.watch)):
                results.append(submitted)
                if not as_json:
                    # A terminal cannot show bytes that are not UTF-8.
                    line = click.format_filename(submitted.line)
                    click.echo(line, err=bool(submitted.reason))
        finally:
            if as_json:
                document = {"schema": 1, "files": [one.as_dict() for one in results]}
                click.echo(json.dumps(document, indent=2))
    sys.exit(ExitCode.FAILED if any(one.is_failure for one in results) else ExitCode.OK)
