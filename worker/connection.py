"""Settings in, a client of the Redis-protocol server out; its address as kombu spells it."""

from __future__ import annotations

import re
from urllib.parse import parse_qs, quote, urlencode, urlsplit

import redis
from redis.backoff import ExponentialWithJitterBackoff
from redis.retry import Retry

from settings.errors import PermanentError, TransientError
from settings.schema import SettingsTree

__all__ = [
    "SOCKET_NAME",
    "ServerAddressError",
    "ServerUnreachableError",
    "broker_url",
    "connect",
    "ping",
    "redis_url",
    "safe_url",
]

#: Name of the embedded server's socket in the state directory.
SOCKET_NAME = "valkey.sock"

#: Seconds that one reply may take. Longer than any command of ours (`Status.events` blocks
#: for less), shorter than what an astronomer would take for a hung terminal.
SOCKET_TIMEOUT_S = 30.0
#: Seconds that a connection may be idle before it is tried out: firewalls forget silent ones.
HEALTH_CHECK_S = 25
#: A short outage (a restart of the server takes about a second) is bridged by the client.
RETRIES = 3
RETRY_BASE_S = 0.1
RETRY_CAP_S = 2.0


class ServerUnreachableError(TransientError):
    """The Redis or Valkey server does not answer, or does not let us in."""


class ServerAddressError(PermanentError):
    """The address of the server cannot be understood."""


def redis_url(settings: SettingsTree) -> str:
    """
    Return the address of the server that holds the queue and the status.

    Parameters
    ----------
    settings : SettingsTree
        `redis.url` is taken where it is set; else the socket of the embedded server in
        `state.dir`.

    Returns
    -------
    str
        A `redis://`, `rediss://` or `unix://` address, as redis-py reads it.
    """
    if settings.redis.url:
        return settings.redis.url
    return f"unix://{quote(str(settings.state.dir / SOCKET_NAME))}"


def broker_url(url: str) -> str:
    """
    Spell an address as kombu and Celery's result backend read it.

    Parameters
    ----------
    url : str
        A `redis://`, `rediss://` or `unix://` address.

    Returns
    -------
    str
        The same server and database for kombu. Client options in the query, which kombu does not
        know, are left out, all but those of TLS.

    Raises
    ------
    ServerAddressError
        Where the scheme is none of the three.

    Notes
    -----
    kombu checks no certificate unless it is told to, redis-py always does: `rediss://` without
    `ssl_cert_reqs` therefore asks for `required` here, so that both behave alike.

    Examples
    --------
    >>> broker_url("unix:///run/maximaskd/valkey.sock?db=2")
    'redis+socket:///run/maximaskd/valkey.sock?virtual_host=2'
    """
    parts = urlsplit(url)
    query = {name: values[0] for name, values in parse_qs(parts.query).items()}
    if parts.scheme == "unix":
        password = quote(query["password"], safe="") if "password" in query else parts.password
        login = f"{parts.username or ''}:{password}@" if password else ""
        database = query.get("db", "0")
        return f"redis+socket://{login}{parts.path}?{urlencode({'virtual_host': database})}"
    if parts.scheme not in {"redis", "rediss"}:
        raise ServerAddressError(
            f"The server's address {safe_url(url)} has an unknown scheme: "
            "write redis://, rediss:// or unix://."
        )
    tls = {name: value for name, value in query.items() if name.startswith("ssl_")}
    if parts.scheme == "rediss":
        tls.setdefault("ssl_cert_reqs", "required")
    database = query.get("db") or parts.path.strip("/") or "0"
    return f"{parts.scheme}://{parts.netloc}/{database}" + (f"?{urlencode(tls)}" if tls else "")


def connect(url: str) -> redis.Redis:
    """
    Make a client; nothing is sent until its first command.

    Parameters
    ----------
    url : str
        A `redis://`, `rediss://` or `unix://` address.

    Returns
    -------
    redis.Redis
        A client that speaks `str`, holds file names which are not UTF-8 without loss
        (`surrogateescape`, as `os.fsdecode` does), and bridges short outages.

    Raises
    ------
    ServerAddressError
        Where redis-py cannot read the address.

    Notes
    -----
    A command whose reply is lost is sent again, so each change in `worker.status` gives the same
    answer when it comes twice.
    """
    # A socket in the file system has no TCP connection to keep alive, and redis-py refuses it.
    tcp = {} if url.startswith("unix://") else {"socket_keepalive": True}
    backoff = ExponentialWithJitterBackoff(base=RETRY_BASE_S, cap=RETRY_CAP_S)
    try:
        return redis.Redis.from_url(
            url,
            decode_responses=True,
            encoding_errors="surrogateescape",
            socket_timeout=SOCKET_TIMEOUT_S,
            health_check_interval=HEALTH_CHECK_S,
            retry=Retry(backoff, RETRIES),
            **tcp,
        )
    except ValueError as error:
        raise ServerAddressError(
            f"The server's address {safe_url(url)} cannot be read: "
            "write redis://[:password@]host:port/database or unix:///path."
        ) from error


def ping(client: redis.Redis, url: str) -> None:
    """
    Make sure that the server answers.

    Parameters
    ----------
    client : redis.Redis
        The client to try.
    url : str
        Its address, for the message.

    Raises
    ------
    ServerUnreachableError
        Where the server does not answer or refuses; the message holds no password.
    """
    try:
        client.ping()
    except redis.RedisError as error:
        reason = str(error).rstrip(".") or type(error).__name__
        raise ServerUnreachableError(
            f"No Redis or Valkey server at {safe_url(url)} ({reason}): "
            "start it, `maximaskd up` brings its own, or correct the setting redis.url."
        ) from error


def safe_url(url: str) -> str:
    """
    Return an address with its password blotted out, for messages and logs.

    Parameters
    ----------
    url : str
        An address, well formed or not.

    Returns
    -------
    str
        The address with `***` for the password.

    Examples
    --------
    >>> safe_url("redis://observer:secret@mountain:6379/0")
    'redis://observer:***@mountain:6379/0'
    """
    # By pattern, not by parts: a password with an unquoted / or ? would end up in another part.
    without_login = re.sub(r"(://[^:@/?]*):.*@", r"\1:***@", url)
    return re.sub(r"([?&]password=)[^&]*", r"\1***", without_login)
