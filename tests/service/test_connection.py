"""The client, kombu and the result backend find the same database of a real server."""

from __future__ import annotations

from pathlib import Path
from urllib.parse import quote

import pytest
from celery import Celery
from kombu import Connection

from settings.schema import SettingsTree, StateSettings
from worker.connection import (
    SOCKET_NAME,
    ServerUnreachableError,
    broker_url,
    connect,
    ping,
    redis_url,
)

# Celery 5.7's own call, of what redis-py 8 would rather see written otherwise.
pytestmark = pytest.mark.filterwarnings("ignore:Call to deprecated setex:DeprecationWarning")

PASSWORD = "p@w/ %41"  # noqa: S105 (of a server that lives as long as this test)


@pytest.fixture
def address(valkey_url: str, tmp_path: Path) -> str:
    """Return the server's address in a directory whose name has to be quoted."""
    folder = tmp_path / "nuit d'été #1?%41"
    folder.mkdir()
    (folder / SOCKET_NAME).symlink_to(valkey_url.removeprefix("unix://"))
    return redis_url(SettingsTree(state=StateSettings(dir=folder)))


def _roundtrip(url: str) -> None:
    client = connect(url)
    client.flushall()
    with Connection(broker_url(url)) as connection, connection.SimpleQueue("hello") as queue:
        queue.put("message")
        assert client.llen("hello") == 1
    app = Celery("hello", set_as_current=False, broker="memory://", backend=broker_url(url))
    app.backend.store_result("one", {"masked": 8}, "SUCCESS")
    assert client.exists("celery-task-meta-one") == 1
    app.backend.client.close()
    client.close()


def test_a_folder_with_odd_characters_is_found_by_all_three(address: str) -> None:
    _roundtrip(f"{address}?db=3")


@pytest.mark.parametrize("form", ["user", "query"])
def test_a_password_with_odd_characters_lets_all_three_in(address: str, form: str) -> None:
    quoted = quote(PASSWORD, safe="")
    if form == "user":
        url = address.replace("unix://", f"unix://default:{quoted}@") + "?db=3"
    else:
        url = f"{address}?db=3&password={quoted}"
    admin = connect(address)
    admin.config_set("requirepass", PASSWORD)
    try:
        _roundtrip(url)
        with pytest.raises(ServerUnreachableError, match="unix://") as caught:
            ping(connect(address), address)
        assert PASSWORD not in str(caught.value)
    finally:
        connect(url).config_set("requirepass", "")


def test_a_socket_that_nobody_serves_is_explained() -> None:
    url = "unix:///nowhere/valkey.sock"
    with pytest.raises(ServerUnreachableError, match=r"at unix:///nowhere/valkey\.sock \(Error 2"):
        ping(connect(url), url)
