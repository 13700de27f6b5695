"""What all commands share: exit statuses, the option --config, errors as one sentence.

What reads settings, talks to the server or draws tables is imported by the command that needs it:
`--help` answers at once.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from enum import IntEnum
from pathlib import Path
from typing import TYPE_CHECKING

import click

from settings.errors import MaximaskdError

if TYPE_CHECKING:
    from settings.schema import SettingsTree
    from worker.status import Status

__all__ = ["CONFIG", "ExitCode", "open_status", "sentences"]


class ExitCode(IntEnum):
    """What the command's exit status says."""

    OK = 0
    FAILED = 1
    USAGE = 2
    UNREACHABLE = 4


class _FailedError(click.ClickException):
    """An error as the user sees it: one sentence, no traceback."""

    exit_code = ExitCode.FAILED


class _UnreachableError(click.ClickException):
    """The server of queue and status does not answer."""

    exit_code = ExitCode.UNREACHABLE


CONFIG = click.option(
    "--config",
    type=click.Path(path_type=Path, dir_okay=False),
    help="Settings in TOML; without it, the file that MAXIMASKD_CONFIG names.",
)


def open_status(settings: SettingsTree) -> Status:
    """
    Connect to the server that holds the records.

    Parameters
    ----------
    settings : SettingsTree
        The settings.

    Returns
    -------
    Status
        The records of all files.

    Raises
    ------
    ServerUnreachableError
        Where the server does not answer.
    """
    from worker.connection import connect, ping, redis_url
    from worker.status import Status

    url = redis_url(settings)
    client = connect(url)
    ping(client, url)
    return Status(client)


@contextmanager
def sentences() -> Iterator[None]:
    """Turn our errors into one sentence and an exit status."""
    import redis

    from worker.connection import ServerUnreachableError

    try:
        yield
    except ServerUnreachableError as error:
        raise _UnreachableError(str(error)) from error
    except MaximaskdError as error:
        raise _FailedError(str(error)) from error
    except OSError as error:
        where = f"{error.filename}: " if error.filename else ""
        raise _FailedError(
            f"{where}{error.strerror or error}: check the place and its rights."
        ) from error
    except redis.RedisError as error:
        raise _UnreachableError(f"The server stopped answering ({error}): see its log.") from error
