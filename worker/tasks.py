"""The task that masks one exposure: a message in, the record's final state out.

Only here errors become states. Delivery is at least once: the record's lease, not the message,
decides who works on an exposure, and a message that finds nothing to do ends quietly.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import redis
from billiard.common import terminate_handler_fired
from celery.exceptions import SoftTimeLimitExceeded

from model.tiles import TilePlan
from settings.errors import PermanentError, TransientError
from settings.logs import get_logger
from worker.celery_app import TASK_NAME, app
from worker.lease import Lease, is_dead_here
from worker.masking import MaskedExposure, NothingToMaskError, Progress, mask_exposure
from worker.overlay import Order
from worker.preload import Preloaded, here
from worker.status import Begin, Outcome, State
from worker.task_job import make_task_job

__all__ = ["mask_exposure_task"]

logger = get_logger(__name__)

#: Seconds between two notes of progress in the record.
PROGRESS_S = 0.5
#: Seconds after the end of a lease until it is taken for lost.
LEASE_GRACE_S = 1.0
#: Most seconds until a transient failure is tried again.
RETRY_CAP_S = 3600.0


class LeaseLostError(TransientError):
    """The exposure belongs to another worker by now."""


@dataclass(frozen=True)
class _Task:
    """What a message asks for, and which attempt at it this is."""

    path: Path
    key: str
    options: Mapping[str, Any]
    attempt: int


@app.task(name=TASK_NAME, bind=True)  # type: ignore[untyped-decorator] # Celery has no types
def mask_exposure_task(
    self: Any, path: str, key: str, options: Mapping[str, Any]
) -> dict[str, Any]:
    """
    Mask one exposure.

    Parameters
    ----------
    self : celery.Task
        The task.
    path : str
        The exposure.
    key : str
        Its key, under which its record stands.
    options : mapping
        As `worker.overlay.Order` reads them: ``root``, ``configuration``, ``hdu``, and what is
        asked for beyond the worker's settings.

    Returns
    -------
    dict
        ``state`` and, when done, ``mask``.
    """
    loaded = here()
    begun = _begin(loaded, key, self.request.id or "")
    if begun.outcome is not Outcome.STARTED:
        logger.info("passed over path=%s key=%s because=%s", path, key, begun.outcome)
        return {"state": begun.outcome.value}
    started = time.monotonic()
    with Lease(loaded.status, key, loaded.owner, lease_s=loaded.settings.worker.lease_s) as lease:
        state, fields = _outcome(loaded, lease, _Task(Path(path), key, options, begun.attempt))
    fields["seconds"] = round(time.monotonic() - started, 3)
    if not loaded.status.finish(key, loaded.owner, state, **fields):
        logger.warning("dropped path=%s key=%s because=lease lost", path, key)
        return {"state": Outcome.STALE.value}
    _log(state, path, begun.attempt, fields)
    return {"state": state.value, "mask": str(fields.get("mask", ""))}


def _begin(loaded: Preloaded, key: str, message: str) -> Begin:
    """Begin an attempt; a lease that its owner does not renew any more is waited for."""
    lease_until = None
    while True:
        begun = _try_to_begin(loaded, key, message)
        if begun.outcome is Outcome.BUSY and is_dead_here(begun.owner):
            begun = _try_to_begin(loaded, key, message, dead_owner=begun.owner)
        renewed = lease_until is not None and begun.lease_until != lease_until
        if begun.outcome is not Outcome.BUSY or begun.lease_until is None or renewed:
            return begun
        lease_until = begun.lease_until
        time.sleep(max(lease_until - time.time(), 0) + LEASE_GRACE_S)


def _try_to_begin(loaded: Preloaded, key: str, message: str, *, dead_owner: str = "") -> Begin:
    worker = loaded.settings.worker
    return loaded.status.begin(
        key,
        loaded.owner,
        lease_s=worker.lease_s,
        max_attempts=worker.max_attempts,
        dead_owner=dead_owner,
        message=message,
        worker=loaded.owner,
        device=loaded.masker.device.value,
        engine=loaded.masker.engine_name(TilePlan(loaded.settings.mask.tiles)),
    )


def _outcome(loaded: Preloaded, lease: Lease, task: _Task) -> tuple[State, dict[str, Any]]:
    """Do the work and say how it ended."""
    reporter = _Reporter(loaded, lease, task.key)
    try:
        order = Order.read(task.options)
        variant = loaded.variants.of(loaded.own, order)
        job = make_task_job(
            task.path, order, variant, loaded=loaded, key=task.key, attempt=task.attempt
        )
        masked = mask_exposure(job, variant.masker, tracker=variant.tracker, progress=reporter)
    except Exception as error:  # noqa: BLE001 (no file may stop the night, whatever it raises)
        return _ended_by(error, loaded, task, reporter)
    return State.DONE, _success(masked) | {"engine": variant.masker.engine_name(job.tiles)}


def _ended_by(
    error: Exception, loaded: Preloaded, task: _Task, reporter: _Reporter
) -> tuple[State, dict[str, Any]]:
    """Tell which end an error is."""
    # Signals raise wherever the process stands, and Keras passes over all that is raised while it
    # asks a tensor for its shape: what goes wrong after that only follows from the signal.
    if terminate_handler_fired():
        raise SystemExit from error
    if reporter.is_overdue and not isinstance(error, TransientError):
        error = SoftTimeLimitExceeded()
    match error:
        case TransientError() if not task.path.exists():
            return State.VANISHED, {"reason": f"{task.path} went away before it was masked."}
        case TransientError():
            return State.FAILED, _transient(loaded, error, task.attempt)
        case MemoryError():
            reason = f"Masking {task.path} needs more memory than is free: it is tried again later."
            return State.FAILED, _transient(loaded, error, task.attempt) | {"reason": reason}
        case NothingToMaskError():
            return State.SKIPPED, _permanent(error, str(error))
        case _:
            return State.FAILED, _permanent(error, _sentence(error, loaded, task))


def _sentence(error: Exception, loaded: Preloaded, task: _Task) -> str:
    if isinstance(error, PermanentError):
        return str(error)
    if isinstance(error, SoftTimeLimitExceeded):
        return (
            f"Masking {task.path} took longer than {loaded.settings.worker.soft_time_limit_s} s "
            "and was given up: raise worker.soft_time_limit_s or use a faster device."
        )
    # Whatever a library raises on a file must not stop the night; the log has the details.
    logger.error("unforeseen path=%s key=%s", task.path, task.key, exc_info=error)
    return f"Masking {task.path} failed unexpectedly ({error!r}): report it with the worker's log."


def _success(masked: MaskedExposure) -> dict[str, Any]:
    return {
        "mask": masked.mask,
        "hdus": masked.hdus,
        "hdus_done": masked.hdus,
        "mpix": round(masked.mpix, 6),
        "mpix_done": round(masked.mpix, 6),
        "fractions": {name: round(part, 9) for name, part in masked.fractions.items()},
        "reason": " ".join(masked.notes),
        "track": None if masked.track is None else round(masked.track, 6),
    }


def _permanent(error: Exception, reason: str) -> dict[str, Any]:
    return {"error": type(error).__name__, "error_kind": "permanent", "reason": reason}


def _transient(loaded: Preloaded, error: Exception, attempt: int) -> dict[str, Any]:
    delay = min(loaded.settings.worker.retry_s * 2 ** (attempt - 1), RETRY_CAP_S)
    return {
        "error": type(error).__name__,
        "error_kind": "transient",
        "reason": str(error),
        "retry_at": round(time.time() + delay, 3),
    }


def _log(state: State, path: str, attempt: int, fields: Mapping[str, Any]) -> None:
    if state is State.DONE:
        logger.info(
            "masked path=%s hdus=%d mpix=%.1f seconds=%.1f attempt=%d",
            path,
            fields["hdus"],
            fields["mpix"],
            fields["seconds"],
            attempt,
        )
    elif state is State.FAILED and fields["error_kind"] == "permanent":
        logger.error("failed path=%s attempt=%d reason=%s", path, attempt, fields["reason"])
    else:
        logger.warning("%s path=%s attempt=%d reason=%s", state, path, attempt, fields["reason"])


class _Reporter:
    """Writes progress into the record, and stops work that is not ours any more."""

    def __init__(self, loaded: Preloaded, lease: Lease, key: str) -> None:
        self._loaded, self._lease, self._key = loaded, lease, key
        self._next = 0.0
        self._overdue = time.monotonic() + loaded.settings.worker.soft_time_limit_s

    @property
    def is_overdue(self) -> bool:
        """Whether the work takes longer than it may, also where the signal of that got lost."""
        return time.monotonic() >= self._overdue

    def __call__(self, progress: Progress) -> None:
        if terminate_handler_fired():
            raise SystemExit
        if self.is_overdue:
            raise SoftTimeLimitExceeded
        if self._lease.lost:
            raise LeaseLostError("Another worker has taken this exposure over: nothing to do.")
        if time.monotonic() < self._next:
            return
        self._next = time.monotonic() + PROGRESS_S
        try:
            self._loaded.status.progress(
                self._key,
                self._loaded.owner,
                hdus=progress.hdus,
                hdus_done=progress.hdus_done,
                mpix=round(progress.mpix, 6),
                mpix_done=round(progress.mpix_done, 6),
                instrument=progress.instrument,
            )
        except redis.RedisError as error:
            # The mask counts, not the progress bar.
            logger.warning("progress not noted key=%s reason=%s", self._key, error)
