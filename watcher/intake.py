"""Hands complete exposures to the queue: a path in, a claimed record and a Celery message out."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from kombu.exceptions import OperationalError

from settings.logs import get_logger
from settings.schema import SettingsTree
from watcher.night import night_of_file
from worker.celery_app import BACKLOG_SUFFIX
from worker.class_files import Configuration, Configurations
from worker.connection import ServerUnreachableError
from worker.identity import exposure_key
from worker.overlay import NO_OVERLAY, Overlay
from worker.product import Compression, mask_path, read_key
from worker.status import FileRecord, Status

__all__ = ["Intake", "Offer", "QueueUnreachableError", "Send"]

logger = get_logger(__name__)

#: Sends a task: path, key, options, queue.
Send = Callable[[str, str, Mapping[str, Any], str], None]


class QueueUnreachableError(ServerUnreachableError):
    """The server that holds queue and status does not answer."""


@dataclass(frozen=True)
class Offer:
    """
    What became of an exposure that was offered.

    Parameters
    ----------
    key : str
        Its key, under which its record stands.
    is_sent : bool
        Whether a task was sent; if not, its record says why.
    """

    key: str
    is_sent: bool


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

    def offer(
        self,
        path: Path,
        root: Path,
        *,
        backlog: bool = False,
        hdu: int | None = None,
        overlay: Overlay = NO_OVERLAY,
    ) -> Offer:
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
        hdu : int, optional
            The one HDU to mask; all if not given.
        overlay : Overlay, optional
            What is asked for beyond the settings. The configurations have its mask settings
            already; the task repeats them, for the worker to lay them over its own.

        Returns
        -------
        Offer
            Its key, and whether a task was sent.

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
            hdu=hdu,
            output_dir=overlay.output_dir,
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
            "hdu": hdu,
            "options": overlay.as_options(),
        }
        target = self.target(path, root, configuration, hdu=hdu, output_dir=overlay.output_dir)
        queue = self.settings.watch.queue + (BACKLOG_SUFFIX if backlog else "")
        try:
            # The mask on disk is the truth: a lost or emptied server masks nothing again. With a
            # record, its worker may have died between publishing and saying so: claim decides.
            if read_key(target) == key and self.status.rebuilt(key, fields | {"mask": target}):
                logger.info("found path=%s mask=%s", path, target)
                return Offer(key, is_sent=False)
        except redis.RedisError as error:
            raise QueueUnreachableError(f"The status server does not answer ({error}).") from error
        return Offer(key, self._hand_over(key, fields, queue))

    def offer_again(self, record: FileRecord) -> bool:
        """
        Queue an exposure once more as it was asked for before, whatever the settings say now.

        Parameters
        ----------
        record : FileRecord
            The record of its present version.

        Returns
        -------
        bool
            Whether a task was sent.

        Raises
        ------
        QueueUnreachableError
            Where the server does not answer; the exposure can be offered again.
        """
        kept = ("path", "root", "night", "size", "mtime_ns", "configuration", "preset")
        fields = {name: getattr(record, name) for name in (*kept, "class_files", "hdu", "options")}
        return self._hand_over(record.key, fields, record.queue or self.settings.watch.queue)

    def target(
        self,
        path: Path,
        root: Path,
        configuration: Configuration,
        *,
        hdu: int | None = None,
        output_dir: Path | None = None,
    ) -> Path:
        """
        Say where the masks of an exposure go.

        Parameters
        ----------
        path, root : Path
            The exposure and its root.
        configuration : Configuration
            What decides about its masks.
        hdu : int, optional
            The one HDU to mask; all if not given.
        output_dir : Path, optional
            The directory that was named for them.

        Returns
        -------
        Path
            The mask file.
        """
        return mask_path(
            path,
            hdu=hdu,
            root=root,
            output_root=self.settings.root.output_root,
            output_dir=output_dir,
            compress=Compression(configuration.mask.compress),
        )

    def _hand_over(self, key: str, fields: Mapping[str, Any], queue: str) -> bool:
        """Claim an exposure and send its task; a claim without a task is taken back."""
        path = fields["path"]
        try:
            if not self.status.claim(key, {**fields, "queue": queue, "message": key}):
                return False
        except redis.RedisError as error:
            raise QueueUnreachableError(f"The status server does not answer ({error}).") from error
        options = {
            "root": os.fspath(fields["root"]),
            "configuration": fields["configuration"],
            "hdu": fields["hdu"],
            **fields["options"],
        }
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
