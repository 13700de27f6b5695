"""The command `maximaskd`: words in, one of the parts run out."""

from __future__ import annotations

import json
import os
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING, Any

import click

from settings import logs
from watcher.command import CONFIG, ExitCode, open_status, sentences
from watcher.mask_command import mask
from watcher.submit_command import submit
from worker.record import State

if TYPE_CHECKING:
    from settings.sources import Settings

__all__ = ["ExitCode", "main"]

#: What asks a running part to end in order; a closed terminal sends the last.
STOP_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
@click.version_option(package_name="maximaskd")
def main() -> None:
    """Mask contaminants in astronomical exposures as they arrive."""


DIRECTORIES = click.argument(
    "directories", nargs=-1, type=click.Path(path_type=Path, file_okay=False)
)


@main.command()
@DIRECTORIES
@CONFIG
def up(directories: tuple[Path, ...], config: Path | None) -> None:
    """Run everything on this machine: server, watcher, worker, and a table of the night."""
    from rich.console import Console

    with sentences():
        settings, flags = _settings(directories, config)
        console = Console()
        if console.is_terminal:
            settings.state.dir.mkdir(parents=True, exist_ok=True)
            _log_to_file(settings)
        else:
            logs.configure(settings.log.level)
        from watcher.local import run_night

        with _stop_on_signal() as stop:
            run_night(settings, flags, stop, console)


@main.command()
@DIRECTORIES
@CONFIG
def watch(directories: tuple[Path, ...], config: Path | None) -> None:
    """Run the watcher alone: queue what arrives, for workers elsewhere."""
    with sentences():
        settings, _ = _settings(directories, config)
        logs.configure(settings.log.level)
        from watcher.assembly import make_intake
        from watcher.loop import Watcher

        status = open_status(settings)
        with _stop_on_signal() as stop:
            Watcher(settings, make_intake(settings, status)).run(stop)


@main.command()
@click.option("--night", metavar="YYYY-MM-DD", help="The one night; all nights if not given.")
@click.option(
    "--state", type=click.Choice([state.value for state in State]), help="Only files in this state."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON document instead of a table.")
@CONFIG
def status(night: str | None, state: str | None, *, as_json: bool, config: Path | None) -> None:
    """Show what became of the files."""
    with sentences():
        from settings.sources import load

        board = open_status(load(config))
        records = board.records(night=night, state=State(state) if state else None)
        if as_json:
            document = {"schema": 1, "files": [record.as_dict() for record in records]}
            click.echo(json.dumps(document, indent=2))
            return
        from rich.console import Console

        from watcher.table import files_table, summary

        # A pipe has no width that a table could fit into.
        console = Console() if sys.stdout.isatty() else Console(width=200)
        console.print(files_table(records))
        console.print(summary(records))


def _settings(
    directories: tuple[Path, ...], config: Path | None
) -> tuple[Settings, dict[str, dict[str, Any]]]:
    """Read the settings, the directories of the command line before all others."""
    from settings.sources import load

    flags: dict[str, dict[str, Any]] = {}
    if directories:
        flags["root"] = {"directories": [os.path.abspath(path) for path in directories]}  # noqa: PTH100
    settings = load(config, flags=flags)
    if not settings.root.directories:
        raise click.UsageError("No directory to watch: name one, or set root.directories.")
    for root in settings.root.directories:
        if root.exists() and not root.is_dir():
            raise click.UsageError(f"{root} is no directory: name one.")
    if config is not None:
        os.environ["MAXIMASKD_CONFIG"] = str(config.absolute())
    return settings, flags


def _log_to_file(settings: Settings) -> None:
    import logging

    handler = logging.FileHandler(settings.state.dir / "watcher.log", encoding="utf-8")
    logs.configure(settings.log.level, handler=handler)


@contextmanager
def _stop_on_signal() -> Iterator[threading.Event]:
    """
    Yield an event that Ctrl-C, SIGTERM or a closed terminal sets.

    Whoever runs looks at it and ends in order.
    """
    stop = threading.Event()

    def handler(_number: int, _frame: FrameType | None) -> None:
        stop.set()

    before = {number: signal.signal(number, handler) for number in STOP_SIGNALS}
    try:
        yield stop
    finally:
        for number, old in before.items():
            signal.signal(number, old)


main.add_command(mask)
main.add_command(submit)

if __name__ == "__main__":
    main()
