"""Keeps a claim on an exposure alive: a key and an owner in, whether it still holds out."""

from __future__ import annotations

import os
import socket
import threading
from types import TracebackType
from typing import Self

import redis

from settings.logs import get_logger
from worker.status import Status

__all__ = ["Lease", "is_dead_here", "owner_name"]

logger = get_logger(__name__)

#: A lease is renewed this often while it lasts, so that one lost reply does not end it.
RENEWALS = 3


def owner_name(worker_pid: int) -> str:
    """
    Name this process as the owner of leases.

    Parameters
    ----------
    worker_pid : int
        Process number of the worker that this process belongs to.

    Returns
    -------
    str
        Host, worker and process: ``host:worker_pid:pid``.
    """
    return f"{socket.gethostname()}:{worker_pid}:{os.getpid()}"


def is_dead_here(owner: str) -> bool:
    """
    Tell whether an owner was a process of this host that exists no more.

    Parameters
    ----------
    owner : str
        As `owner_name` gives it.

    Returns
    -------
    bool
        False for owners on other hosts: only their lease tells.
    """
    host, pid = owner.partition(":")[0], owner.rpartition(":")[2]
    if host != socket.gethostname() or not pid.isdecimal():
        return False
    try:
        os.kill(int(pid), 0)
    except ProcessLookupError:
        return True
    except PermissionError:
        return False
    return False


class Lease:
    """
    A lease that a thread renews until the work is over.

    Parameters
    ----------
    status : Status
        Where the lease stands.
    key, owner : str
        The exposure, and who works on it.
    lease_s : float
        Seconds for which the lease is good without a renewal.

    Attributes
    ----------
    lost : bool
        Whether the exposure belongs to someone else by now.
    """

    def __init__(self, status: Status, key: str, owner: str, *, lease_s: float) -> None:
        self._status, self._key, self._owner = status, key, owner
        self._lease_s = lease_s
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._keep, name=f"lease-{key[:8]}", daemon=True)
        self.lost = False

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self._over.set()
        self._thread.join()

    def _keep(self) -> None:
        while not self._over.wait(self._lease_s / RENEWALS):
            try:
                if not self._status.renew(self._key, self._owner, lease_s=self._lease_s):
                    self.lost = True
                    logger.warning("lost key=%s owner=%s", self._key, self._owner)
                    return
            except redis.RedisError as error:
                # The mask counts, not the server: the work goes on, the end tells who owns it.
                logger.warning("renewing failed key=%s reason=%s", self._key, error)
