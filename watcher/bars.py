"""Bars on a terminal and what is said beside them: a console in, a place for either out."""

from __future__ import annotations

import logging
import sys
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext

import click
from rich.console import Console
from rich.progress import BarColumn, Progress, TaskProgressColumn, TextColumn
from rich.text import Text

__all__ = ["Say", "SayingHandler", "bars", "speaker"]

#: Says one sentence to the user.
Say = Callable[[str], None]


class SayingHandler(logging.Handler):
    """
    Says each record of the log.

    Parameters
    ----------
    say : callable
        Says one sentence to the user.
    """

    def __init__(self, say: Say) -> None:
        super().__init__()
        self._say = say

    def emit(self, record: logging.LogRecord) -> None:
        """
        Say a record.

        Parameters
        ----------
        record : logging.LogRecord
            The record.
        """
        self._say(self.format(record))


def bars(console: Console) -> AbstractContextManager[Progress | None]:
    """
    Make bars, each task of which has a field `done`, the text at its end.

    Parameters
    ----------
    console : Console
        Where they are shown.

    Returns
    -------
    context manager
        Of the bars; of None where the console is no terminal.
    """
    if not _is_terminal(console):
        return nullcontext()
    return Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TaskProgressColumn(),
        TextColumn("{task.fields[done]}"),
        console=console,
        transient=True,
        # What a library says goes where the user sent it.
        redirect_stderr=sys.stderr.isatty(),
    )


def speaker(console: Console) -> Say:
    """
    Say sentences on standard error, and above the bars where both share a terminal.

    Parameters
    ----------
    console : Console
        Where the bars are shown, which overwrite what they do not know of.

    Returns
    -------
    callable
        Says one sentence to the user.
    """
    if _is_terminal(console) and sys.stderr.isatty():
        return lambda sentence: console.print(Text(click.format_filename(sentence)), soft_wrap=True)
    return lambda sentence: click.echo(sentence, err=True)


def _is_terminal(console: Console) -> bool:
    # FORCE_COLOR makes rich take any pipe for a terminal.
    return console.is_terminal and console.file.isatty()
