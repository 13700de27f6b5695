"""Masks exposures at once, without queue or server: targets and settings in, mask files out."""

from __future__ import annotations

import importlib.metadata
import time
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import click
from rich.console import Console
from rich.markup import escape
from rich.progress import Progress as Bars

from model.engine import Device, EngineName, Precision
from model.masker import Masker
from model.preset import read_card
from model.tiles import TilePlan
from model.tracking import Tracker
from settings.errors import MaximaskdError
from settings.logs import get_logger
from settings.sources import Settings
from watcher.bars import Say, bars
from watcher.paths import PathError, Target
from worker.class_files import Configurations
from worker.identity import exposure_key
from worker.masking import (
    MaskedExposure,
    NothingToMaskError,
    Progress,
    SourceClashError,
    make_job,
    mask_exposure,
)
from worker.places import root_of
from worker.preload import DISTRIBUTIONS

__all__ = ["Totals", "mask_all"]

logger = get_logger(__name__)


@dataclass
class Totals:
    """
    What became of the exposures of a run.

    Parameters
    ----------
    masked, skipped, failed : int
        How many exposures.
    mpix : float
        Millions of pixels masked.
    """

    masked: int = 0
    skipped: int = 0
    failed: int = 0
    mpix: float = 0.0


def mask_all(
    targets: Iterable[Target | PathError],
    settings: Settings,
    device: str,
    console: Console,
    complain: Say,
    *,
    output_dir: Path | None = None,
) -> Totals:
    """
    Mask exposures one after the other; a bad one does not stop the others.

    Parameters
    ----------
    targets : iterable of Target or PathError
        The exposures, and what is wrong with the paths that stand for none.
    settings : Settings
        The settings.
    device : str
        Where the network runs: ``cpu`` or ``gpu``.
    console : Console
        Where progress and results are shown; bars only on a terminal.
    complain : callable
        Told in one sentence why an exposure was not masked.
    output_dir : Path, optional
        Directory of all masks; if not given, where the settings put them.

    Returns
    -------
    Totals
        What became of them.

    Raises
    ------
    MaximaskdError
        Where the preset, a class or the device cannot be used: then nothing is masked.
    """
    run = _Run(settings, Device(device), output_dir=output_dir)
    totals = Totals()
    everything = list(targets)
    with bars(console) as shown:
        of_files = shown.add_task("exposures", total=len(everything), done="") if shown else None
        for number, target in enumerate(everything, start=1):
            try:
                if isinstance(target, PathError):
                    raise target
                masked = run.mask(target, shown)
            except NothingToMaskError as error:
                totals.skipped += 1
                complain(f"skipped: {error}")
            except (MaximaskdError, OSError, MemoryError) as error:
                totals.failed += 1
                complain(str(error))
            else:
                totals.masked += 1
                totals.mpix += masked.mpix
                track = "" if masked.track is None else f" tracking error {masked.track:.4f}"
                # A terminal cannot show bytes that are not UTF-8.
                line = click.format_filename(f"{target} -> {masked.mask}{track}")
                console.print(escape(line), soft_wrap=True)
                for note in masked.notes:
                    complain(f"{target}: {note}")
            if shown and of_files is not None:
                shown.update(of_files, completed=number, done=f"{number}/{len(everything)}")
    return totals


class _Run:
    """The loaded network, and which mask files this run has written."""

    def __init__(self, settings: Settings, device: Device, *, output_dir: Path | None) -> None:
        self._settings, self._output_dir = settings, output_dir
        self._configurations = Configurations(settings.mask, read_card(settings.mask.preset))
        self._versions = {name: importlib.metadata.version(name) for name in DISTRIBUTIONS}
        started = time.monotonic()
        self._masker = Masker(
            settings.mask.preset,
            engine=EngineName(settings.worker.engine),
            device=device,
            precision=Precision(settings.worker.precision),
            threads=settings.worker.threads,
            batch_size=settings.worker.batch_size,
        )
        self._tracker = None
        if settings.mask.track:
            self._tracker = Tracker(device=device, threads=settings.worker.threads)
        logger.debug(
            "loaded preset=%s device=%s engine=%s seconds=%.1f",
            self._masker.card.name,
            self._masker.device,
            self._masker.engine_name(TilePlan(settings.mask.tiles)),
            time.monotonic() - started,
        )
        self._written: dict[Path, Target] = {}

    def mask(self, target: Target, shown: Bars | None) -> MaskedExposure:
        path, settings = target.path, self._settings
        root = root_of(path, settings.root.directories)
        configuration = self._configurations.of(path, root)
        stat = path.stat()
        key = exposure_key(
            root or path.parent,
            path,
            size=stat.st_size,
            mtime_ns=stat.st_mtime_ns,
            configuration=configuration.hash,
            hdu=target.hdu,
            output_dir=self._output_dir,
        )
        job = make_job(
            path,
            settings,
            configuration,
            card=self._masker.card,
            hdu=target.hdu,
            root=root,
            key=key,
            versions=self._versions,
            output_dir=self._output_dir,
        )
        other = self._written.setdefault(job.target, target)
        if other != target:
            raise SourceClashError(
                f"The mask of {path} would overwrite {job.target}, which this run made of "
                f"{other.path}: mask the two into different directories."
            )
        logger.debug("masking path=%s hdu=%s class_files=%s", path, target.hdu, job.class_files)
        name = escape(click.format_filename(path.name))
        of_tiles = shown.add_task(name, total=None, done="") if shown else None

        def progress(done: Progress) -> None:
            if shown and of_tiles is not None:
                mpix = f"{done.mpix_done:.1f}/{done.mpix:.1f} Mpix"
                shown.update(of_tiles, total=done.mpix, completed=done.mpix_done, done=mpix)

        try:
            return mask_exposure(job, self._masker, tracker=self._tracker, progress=progress)
        finally:
            if shown and of_tiles is not None:
                shown.remove_task(of_tiles)
