"""The server's address: found, spelt for kombu, and shown without its password."""

from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import redis

from settings.schema import RedisSettings, SettingsTree, StateSettings
from worker.connection import (
    ServerAddressError,
    ServerUnreachableError,
    broker_url,
    connect,
    ping,
    redis_url,
    safe_url,
)

SECRET = "hu/sh?no@w"  # noqa: S105 (a made-up password that is hard to blot out)


def test_a_set_address_is_taken_as_it_is() -> None:
    settings = SettingsTree(redis=RedisSettings(url="rediss://mountain:6380/3"))
    assert redis_url(settings) == "rediss://mountain:6380/3"


def test_without_an_address_the_embedded_socket_is_used() -> None:
    settings = SettingsTree(state=StateSettings(dir=Path("/var/lib/maximaskd")))
    assert redis_url(settings) == "unix:///var/lib/maximaskd/valkey.sock"


@pytest.mark.parametrize(
    ("url", "spelling"),
    [
        ("redis://mountain", "redis://mountain/0"),
        ("redis://:s%2Fc@mountain:6379/4", "redis://:s%2Fc@mountain:6379/4"),
        ("redis://mountain:6379?db=4&socket_timeout=3", "redis://mountain:6379/4"),
        ("rediss://mountain", "rediss://mountain/0?ssl_cert_reqs=required"),
        ("rediss://mountain?ssl_cert_reqs=none", "rediss://mountain/0?ssl_cert_reqs=none"),
        ("unix:///run/v.sock", "redis+socket:///run/v.sock?virtual_host=0"),
        (
            "unix://ann:p%40w@/run/v.sock?db=7",
            "redis+socket://ann:p%40w@/run/v.sock?virtual_host=7",
        ),
        ("unix:///run/v.sock?password=p@w", "redis+socket://:p%40w@/run/v.sock?virtual_host=0"),
    ],
)
def test_an_address_is_spelt_for_kombu(url: str, spelling: str) -> None:
    assert broker_url(url) == spelling


def test_an_unknown_scheme_is_refused_without_its_password() -> None:
    for reader in (broker_url, connect):
        with pytest.raises(ServerAddressError, match="redis://") as caught:
            reader(f"amqp://ann:{SECRET}@mountain")
        assert "hu" not in str(caught.value)
        assert "no@w" not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        (f"redis://ann:{SECRET}@mountain:6379/0", "redis://ann:***@mountain:6379/0"),
        (f"redis://:{SECRET}@mountain", "redis://:***@mountain"),
        ("unix:///run/a@b.sock?password=hush&db=1", "unix:///run/a@b.sock?password=***&db=1"),
        ("redis://mountain:6379/0", "redis://mountain:6379/0"),
    ],
)
def test_no_password_is_shown(url: str, shown: str) -> None:
    assert safe_url(url) == shown


def test_file_names_that_are_not_utf8_pass_through_the_client() -> None:
    encoder = connect("redis://mountain").get_encoder()
    name = b"nuit-\xff.fits"
    text = name.decode("utf-8", "surrogateescape")
    assert encoder.encode(text) == name
    assert encoder.decode(name) == text


def test_a_silent_server_is_one_sentence_without_a_password() -> None:
    class Deaf:
        def ping(self) -> None:
            raise redis.ConnectionError("Error 111 connecting to mountain:6379. Refused.")

    with pytest.raises(ServerUnreachableError) as caught:
        ping(Deaf(), "redis://:hush@mountain:6379/0")  # type: ignore[arg-type]
    message = str(caught.value)
    assert message.startswith(
        "No Redis or Valkey server at redis://:***@mountain:6379/0 (Error 111"
    )
    assert "hush" not in message
    assert str(pickle.loads(pickle.dumps(caught.value))) == message  # noqa: S301 (our own bytes)
