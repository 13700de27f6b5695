"""Hands complete exposures to the queue: a path in, a claimed record and a Celery message out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from kombu.exceptions import OperationalError

from settings.errors import TransientError
from settings.logs import get_logger
from settings.schema import SettingsTree
from watcher.night import night_of_file
from worker.celery_app import BACKLOG_SUFFIX
from worker.class_files import Configurations
from worker.identity import exposure_key
from worker.product import Compression, mask_path, read_key
from worker.status import Status

__all__ = ["Intake", "QueueUnreachableError", "Send"]

logger = get_logger(__name__)

#: Sends a task: path, key, options, queue.
Send = Callable[[str, str, Mapping[str, Any], str], None]


class QueueUnreachableError(TransientError):
    """The server that holds queue and status does not answer."""


@dataclass(frozen=True)
class Intake:
    """
    What turns an exposure on disk into a task, exactly once.

    Parameters
    ----------
    settings : SettingsTree
        The settings: the queue, the site, where masks go.
    configurations : Configurations
        What decides about the masks of the exposures in each directory.
    preset : str
        Name of the preset, for the record.
    status : Status
        The records of all files.
    send : callable
        Sends a task: path, key, options, queue.
    """

    settings: SettingsTree
    configurations: Configurations
    preset: str
    status: Status
    send: Send

    def offer(self, path: Path, root: Path, *, backlog: bool = False) -> bool:
        """
        Queue an exposure, unless that has been done.

        Parameters
        ----------
        path : Path
            A complete exposure.
        root : Path
            The watched root that it lies in.
        backlog : bool, optional
            Whether it is catch-up work, which waits behind what arrives now.

        Returns
        -------
        bool
            Whether a task was sent.

        Raises
        ------
        QueueUnreachableError
            Where the server does not answer; the exposure can be offered again.
        FileNotFoundError
            Where it went away.
        """
        stat = path.stat()
        configuration = self.configurations.of(path, root)
        key = exposure_key(
            root,
            path,
            size=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            configuration=configuration.hash,
        )
        fields = {
            "path": path,
            "root": root,
            "night": night_of_file(path, self.settings.site.longitude_deg).isoformat(),
            "size": stat.st_size,
            "mtime_ns": stat.st_mtime_ns,
            "configuration": configuration.hash,
            "preset": self.preset,
            "class_files": {name: str(file) for name, file in configuration.files.items()},
        }
        target = mask_path(
            path,
            root=root,
            output_root=self.settings.root.output_root,
            compress=Compression(self.settings.mask.compress),
        )
        queue = self.settings.watch.queue + (BACKLOG_SUFFIX if backlog else "")
        try:
            # The mask on disk is the truth: a lost or emptied server masks nothing again. With a
            # record, its worker may have died between publishing and saying so: claim decides.
            if read_key(target) == key and self.status.rebuilt(key, fields | {"mask": target}):
                logger.info("found path=%s mask=%s", path, target)
                return False
            if not self.status.claim(key, fields | {"queue": queue, "message": key}):
                return False
        except redis.RedisError as error:
            raise QueueUnreachableError(f"The status server does not answer ({error}).") from error
        options = {"root": os.fspath(root), "configuration": configuration.hash, "hdu": None}
        try:
            self.send(os.fspath(path), key, options, queue)
        except (OperationalError, redis.RedisError, OSError) as error:
            self._take_back(key)
            raise QueueUnreachableError(f"The queue does not answer ({error}).") from error
        logger.info("queued path=%s queue=%s key=%s", path, queue, key)
        return True

    def _take_back(self, key: str) -> None:
        try:
            self.status.unclaim(key)
        except redis.RedisError as error:
            logger.warning("claim not taken back key=%s reason=%s", key, error)
