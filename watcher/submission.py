"""Hands exposures to the queue by hand: targets and an overlay in, what became of each one out."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from typing import Any, TypeGuard

from settings.errors import PermanentError
from watcher.intake import Intake
from watcher.paths import PathError, Target
from worker.completeness import Verdict, check_complete
from worker.masking import SourceClashError
from worker.overlay import Overlay
from worker.places import check_exposure, check_output_dir, root_of
from worker.product import read_key
from worker.status import FileRecord, State
from worker.task_job import check_target

__all__ = ["Result", "Submission", "Submitted"]

_Signature = tuple[int, int, int] | None


class Result(StrEnum):
    """What became of an exposure that was submitted."""

    QUEUED = "queued"
    ALREADY_QUEUED = "already queued"
    ALREADY_RUNNING = "already running"
    ALREADY_DONE = "already done"
    SKIPPED = "skipped"
    INCOMPLETE = "incomplete"
    FAILED = "failed"


#: What the record says of an exposure for which no task was sent; all other states are failures.
_RESULTS = {
    State.SEEN: Result.ALREADY_QUEUED,
    State.QUEUED: Result.ALREADY_QUEUED,
    State.RUNNING: Result.ALREADY_RUNNING,
    State.DONE: Result.ALREADY_DONE,
    State.SKIPPED: Result.SKIPPED,
}


@dataclass(frozen=True)
class Submitted:
    """
    What became of one exposure.

    Parameters
    ----------
    target : str
        The exposure, one HDU of it as ``file.fits[N]``; empty for a path that stands for none.
    result : Result
        What became of it.
    reason : str, optional
        One sentence, where it is neither queued nor masked.
    key : str, optional
        Its key, where it came to that.
    """

    target: str
    result: Result
    reason: str = ""
    key: str = ""

    @property
    def is_failure(self) -> bool:
        """Whether the exposure will not be masked as things are; a skipped one need not be."""
        return self.result in {Result.INCOMPLETE, Result.FAILED}

    @property
    def line(self) -> str:
        """What a user reads of it."""
        if self.result is Result.FAILED:
            return self.reason
        return f"{self.result}: {self.reason}" if self.reason else f"{self.result} {self.target}"

    def as_dict(self) -> dict[str, Any]:
        """
        Return it as JSON can hold it.

        Returns
        -------
        dict
            Every field by name.
        """
        return {
            "target": self.target,
            "result": self.result.value,
            "reason": self.reason,
            "key": self.key,
        }


class Submission:
    """
    One command's exposures on their way to the queue.

    Parameters
    ----------
    intake : Intake
        Where they go; its configurations have the overlay's mask settings already.
    overlay : Overlay
        What is asked for beyond the settings.
    sleep : callable, optional
        Lets seconds pass.

    Notes
    -----
    A file that was written to within `arrival.quiet_s` is looked at again after that time: what
    still grows is not queued.
    """

    def __init__(
        self, intake: Intake, overlay: Overlay, *, sleep: Callable[[float], None] = time.sleep
    ) -> None:
        self._intake, self._overlay, self._sleep = intake, overlay, sleep
        self._written: dict[Path, Target] = {}

    def send(self, targets: Iterable[Target | PathError]) -> Iterator[Submitted]:
        """
        Queue exposures, each one once.

        Parameters
        ----------
        targets : iterable of Target or PathError
            The exposures, and what is wrong with the paths that stand for none.

        Yields
        ------
        Submitted
            What became of each, in order; a bad one does not stop the others.

        Raises
        ------
        ServerUnreachableError
            Where the server stops answering; all can be submitted again.
        """
        everything = list(targets)
        seen = {target: _signature(target.path) for target in everything if _is_target(target)}
        self._let_rest(seen.values())
        for target in everything:
            if isinstance(target, PathError):
                yield Submitted("", Result.FAILED, str(target))
                continue
            try:
                yield self._submit(target, seen[target])
            except PermanentError as error:
                yield Submitted(str(target), Result.FAILED, str(error))
            except OSError as error:
                reason = (
                    f"{target} cannot be read ({error.strerror or error}): check the place and its "
                    "rights."
                )
                yield Submitted(str(target), Result.FAILED, reason)

    def _let_rest(self, signatures: Iterable[_Signature]) -> None:
        quiet_s = self._intake.settings.arrival.quiet_s
        # The file server's clock may be ahead, hence what was written "later" counts as well.
        last = max((signature[1] for signature in signatures if signature), default=0) / 1e9
        if quiet_s and time.time() - last < quiet_s:
            self._sleep(quiet_s)

    def _submit(self, target: Target, before: _Signature) -> Submitted:
        path, settings = target.path, self._intake.settings
        check_exposure(path, settings.root)
        if reason := _incomplete(path, before):
            return Submitted(str(target), Result.INCOMPLETE, reason)
        root = self._root_of(path)
        configuration = self._intake.configurations.of(path, root)
        if configuration.problem:
            raise configuration.problem
        overlay = self._overlay
        if overlay.output_dir is not None:
            check_output_dir(overlay.output_dir, settings.root)
            usual = self._intake.target(path, root, configuration, hdu=target.hdu)
            if _is_same(usual.parent, overlay.output_dir):
                # One mask file, one record.
                overlay = overlay.model_copy(update={"output_dir": None})
        mask = self._intake.target(
            path, root, configuration, hdu=target.hdu, output_dir=overlay.output_dir
        )
        self._refuse_a_clash(target, mask)
        if overlay.output_dir is not None:
            check_target(mask, path, self._intake.status)
        return self._offer(target, root, overlay)

    def _offer(self, target: Target, root: Path, overlay: Overlay) -> Submitted:
        offer = self._intake.offer(target.path, root, hdu=target.hdu, overlay=overlay)
        status = self._intake.status
        record = None if offer.is_sent else status.get(offer.key)
        if record and record.state is State.DONE and not _is_there(record):
            # Its mask was removed or is another one's by now: it is made again.
            status.forget(offer.key)
            offer = self._intake.offer(target.path, root, hdu=target.hdu, overlay=overlay)
            record = None if offer.is_sent else status.get(offer.key)
        if offer.is_sent:
            return Submitted(str(target), Result.QUEUED, key=offer.key)
        if record is None:
            reason = f"{target} was taken over by another version of it: submit it again."
            return Submitted(str(target), Result.FAILED, reason, offer.key)
        result = _RESULTS.get(record.state, Result.FAILED)
        return Submitted(str(target), result, _reason(record), offer.key)

    def _root_of(self, path: Path) -> Path:
        """Return the root that holds a path, or that its record knows, or else its directory."""
        root = root_of(path, self._intake.settings.root.directories)
        if root is None and (record := self._intake.status.current(path)):
            # `up DIR` knows roots that stand in no settings; with them, the keys are the same.
            root = root_of(path, [record.root])
        return root or path.parent

    def _refuse_a_clash(self, target: Target, mask: Path) -> None:
        other = self._written.setdefault(mask, target)
        if other != target:
            raise SourceClashError(
                f"The mask of {target} would overwrite {mask}, which is that of {other}: submit "
                "the two with different output directories."
            )


def _is_target(target: Target | PathError) -> TypeGuard[Target]:
    return isinstance(target, Target)


def _signature(path: Path) -> _Signature:
    try:
        stat = path.stat()
    except OSError:
        return None
    # ctime too: a copy may have been given the time of its original.
    return stat.st_size, max(stat.st_mtime_ns, stat.st_ctime_ns), stat.st_ino


def _incomplete(path: Path, before: _Signature) -> str:
    """Say why a file is not complete; nothing where it is."""
    found = check_complete(path)
    if before != _signature(path):
        return f"{path} is still being written: submit it again when it is whole."
    match found.verdict:
        case Verdict.COMPLETE | Verdict.PADDING_MISSING:
            return ""
        case Verdict.NOT_FITS:
            raise PathError(found.reason)
        case _:
            return found.reason


def _is_same(first: Path, second: Path) -> bool:
    return os.path.realpath(first) == os.path.realpath(second)


def _is_there(record: FileRecord) -> bool:
    return record.mask is not None and read_key(record.mask) == record.key


def _reason(record: FileRecord) -> str:
    """Say why an exposure that was asked for before is not masked, and what to do."""
    match record.state:
        case State.FAILED if record.error_kind == "transient":
            due = datetime.fromtimestamp(record.retry_at or 0, UTC)
            return (
                f"{record.reason} A watcher tries it again at {due:%H:%M:%S} UTC; without one, "
                "submit it again then."
            )
        case State.FAILED | State.QUARANTINED | State.SKIPPED:
            return (
                f"{record.reason} It ended so before ({record.state}), and file and options are "
                "the same: change one of them, `touch` is enough, to have it tried again."
            )
        case _:
            return ""
