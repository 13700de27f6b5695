"""Turns a task into a job: its path and order in, what is to be masked how out, or why not.

A worker does only what its own settings agree with: the same configuration, and places below its
roots.
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

from settings.errors import PermanentError
from worker.board import Board
from worker.identity import exposure_key
from worker.masking import Job, SourceClashError, make_job
from worker.overlay import Order
from worker.places import check_exposure, check_output_dir
from worker.product import read_key
from worker.variants import Variant

if TYPE_CHECKING:
    from worker.preload import Preloaded

__all__ = ["ConfigurationError", "OutdatedError", "check_target", "make_task_job"]


class ConfigurationError(PermanentError):
    """A task that was made with another configuration than this worker's."""


class OutdatedError(PermanentError):
    """A submission of a file that has changed since."""


def make_task_job(
    path: Path, order: Order, variant: Variant, *, loaded: Preloaded, key: str, attempt: int
) -> Job:
    """
    Turn a task into a job.

    Parameters
    ----------
    path : Path
        The exposure.
    order : Order
        What the task asks for.
    variant : Variant
        What masks it.
    loaded : Preloaded
        What the worker's process holds.
    key : str
        The exposure's key.
    attempt : int
        Which attempt this is.

    Returns
    -------
    Job
        For `mask_exposure`.

    Raises
    ------
    ConfigurationError
        Where the task was made with another configuration.
    PlaceError
        Where the exposure or its mask lies outside the worker's roots.
    OutdatedError
        Where a submitted file has changed: only a watcher follows changes.
    SourceClashError
        Where the mask file is that of another exposure.
    ClassFileError, RecipeError
        Where a class file is malformed or asks for what the preset has not.
    """
    settings = loaded.settings
    configuration = variant.configurations.of(path, order.root)
    if order.configuration != configuration.hash:
        remedy = (
            "give command and worker the same settings and submit it again."
            if order.is_submission
            else "give watcher and worker the same settings; class files that changed since are "
            "followed by the next sweep."
        )
        raise ConfigurationError(
            f"The task for {path} was made with other mask settings, class files or another preset "
            f"({order.configuration}) than this worker's ({configuration.hash}): {remedy}"
        )
    check_exposure(path, settings.root)
    if order.output_dir is not None:
        check_output_dir(order.output_dir, settings.root)
    if order.is_submission:
        _refuse_a_changed_file(path, order, key)
    job = make_job(
        path,
        settings,
        configuration,
        card=variant.masker.card,
        hdu=order.hdu,
        root=order.root,
        key=key,
        versions=loaded.versions,
        attempt=attempt,
        output_dir=order.output_dir,
        batch_size=order.batch_size,
    )
    if order.output_dir is not None:
        check_target(job.target, path, loaded.status)
    return job


def check_target(target: Path, path: Path, board: Board) -> None:
    """
    Make sure that a mask in a named directory does not overwrite that of another exposure.

    Parameters
    ----------
    target : Path
        The mask file to write.
    path : Path
        The exposure.
    board : Board
        The records, which know where a mask comes from.

    Raises
    ------
    SourceClashError
        Where the mask file is that of another exposure which is still there.
    """
    key = read_key(target)
    other = board.get(key) if key else None
    if other and other.path != path and os.path.isfile(other.path):  # noqa: PTH113 (raises nothing)
        raise SourceClashError(
            f"The mask of {path} would overwrite {target}, which is that of {other.path}: name "
            "another output directory."
        )


def _refuse_a_changed_file(path: Path, order: Order, key: str) -> None:
    try:
        stat = path.stat()
    except OSError:
        # Reading it says what is wrong.
        return
    expected = exposure_key(
        order.root,
        path,
        size=stat.st_size,
        mtime_ns=stat.st_mtime_ns,
        configuration=order.configuration,
        hdu=order.hdu,
        output_dir=order.output_dir,
    )
    if key != expected:
        raise OutdatedError(f"{path} has changed since it was submitted: submit it again.")
