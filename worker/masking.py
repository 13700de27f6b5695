"""Masks one exposure: its file and a masker in, the published mask file out."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from model.card import Card, Preprocessing
from model.normalise import normalise_plane
from model.plane import Plane
from model.planes import ProductPlanes, Stack, empty_planes
from model.probability import Recipe, make_recipe
from model.tiles import TilePlan
from model.tracking import aggregate, blocks, choose_hdus
from settings.errors import PermanentError
from settings.logs import get_logger
from settings.schema import SettingsTree
from worker.class_files import Configuration
from worker.exposure import Exposure, HduAction, HduPlan, plane_problem
from worker.header import Provenance
from worker.product import Compression, MaskFile, foreign_source, mask_path, remove_stale
from worker.selection import ALL_HDUS, HduSelection

if TYPE_CHECKING:
    from model.masker import Masker
    from model.tracking import Tracker

__all__ = [
    "Job",
    "MaskedExposure",
    "NothingToMaskError",
    "Progress",
    "SourceClashError",
    "make_job",
    "mask_exposure",
]


logger = get_logger(__name__)


class NothingToMaskError(PermanentError):
    """An exposure without a plane that could hold a contaminant."""


class SourceClashError(PermanentError):
    """Two exposures whose masks would be the same file."""


@dataclass(frozen=True)
class Progress:
    """
    How far the masking of an exposure is.

    Parameters
    ----------
    hdus, hdus_done : int
        HDUs to mask, HDUs masked.
    mpix, mpix_done : float
        The same in millions of pixels.
    instrument : str
        Instrument in the header, empty where there is none.
    """

    hdus: int
    hdus_done: int
    mpix: float
    mpix_done: float
    instrument: str


@dataclass(frozen=True)
class MaskedExposure:
    """
    What became of an exposure.

    Parameters
    ----------
    mask : Path
        The mask file.
    hdus : int
        HDUs that were masked.
    mpix : float
        Their millions of pixels.
    fractions : mapping of str to float
        Part of all pixels that is masked, by class.
    notes : tuple of str
        What a user should know, for example a plane without data.
    track : float or None
        Probability that it suffered a tracking error, the mean over its two-dimensional HDUs; None
        where nobody asked or no plane is large enough.
    """

    mask: Path
    hdus: int
    mpix: float
    fractions: Mapping[str, float]
    notes: tuple[str, ...]
    track: float | None = None


@dataclass(frozen=True)
class Job:
    """
    What is to be masked, and how.

    Parameters
    ----------
    path : Path
        The exposure.
    hdu : int or None
        The one HDU to mask; None for all.
    target : Path
        The mask file to publish.
    recipe : Recipe
        What to make of the probabilities.
    tiles : TilePlan
        How planes are cut.
    key, configuration : str
        The exposure's key and the configuration's hash, for the header.
    versions : mapping of str to str
        Versions by distribution, for the header.
    attempt : int
        Which attempt this is, for the header.
    selection : HduSelection, optional
        Which HDUs are exposures.
    compress : Compression, optional
        How the masks are compressed.
    class_files : mapping of str to Path, optional
        The class files that the recipe follows, for the header.
    track_prior, track_frac : float, optional
        Proportion of exposures with a tracking error, and part of the HDUs to look at for one.
    batch_size : int, optional
        How much passes through the network at once; as the masker was made if not given.
    """

    path: Path
    hdu: int | None
    target: Path
    recipe: Recipe
    tiles: TilePlan
    key: str
    configuration: str
    versions: Mapping[str, str]
    attempt: int
    selection: HduSelection = ALL_HDUS
    compress: Compression = Compression.NONE
    class_files: Mapping[str, Path] = field(default_factory=dict)
    track_prior: float = 0.05
    track_frac: float = 1.0
    batch_size: int | None = None


def make_job(
    path: Path,
    settings: SettingsTree,
    configuration: Configuration,
    *,
    card: Card,
    hdu: int | None,
    root: Path | None,
    key: str,
    versions: Mapping[str, str],
    attempt: int = 1,
    output_dir: Path | None = None,
    batch_size: int | None = None,
) -> Job:
    """
    Turn the settings into what is to be done with an exposure.

    Parameters
    ----------
    path : Path
        The exposure.
    settings : SettingsTree
        The settings.
    configuration : Configuration
        The mask settings with what the class files say.
    card : Card
        The preset's card.
    hdu : int or None
        The one HDU to mask; None for all.
    root : Path or None
        The watched root that it lies in.
    key : str
        The exposure's key.
    versions : mapping of str to str
        Versions by distribution.
    attempt : int, optional
        Which attempt this is.
    output_dir : Path, optional
        Directory that was named for the mask; if not given, where the settings put it.
    batch_size : int, optional
        How much passes through the network at once; as the masker was made if not given.

    Returns
    -------
    Job
        For `mask_exposure`.

    Raises
    ------
    ClassFileError, RecipeError
        Where a class file is malformed or asks for what the preset has not.
    """
    if configuration.problem:
        raise configuration.problem
    mask = configuration.mask
    compress = Compression(mask.compress)
    return Job(
        path=path,
        hdu=hdu,
        target=mask_path(
            path,
            hdu=hdu,
            root=root,
            output_root=settings.root.output_root,
            output_dir=output_dir,
            compress=compress,
        ),
        recipe=make_recipe(card, mask),
        tiles=TilePlan(mask.tiles),
        key=key,
        configuration=configuration.hash,
        versions=versions,
        attempt=attempt,
        selection=HduSelection(mask.hdus, copies_others=mask.others == "copy"),
        compress=compress,
        class_files=configuration.files,
        track_prior=mask.track_prior,
        track_frac=mask.track_frac,
        batch_size=batch_size,
    )


def mask_exposure(
    job: Job,
    masker: Masker,
    *,
    tracker: Tracker | None = None,
    progress: Callable[[Progress], None] | None = None,
) -> MaskedExposure:
    """
    Mask every plane of an exposure and publish the mask file.

    Parameters
    ----------
    job : Job
        What is to be masked, and how.
    masker : Masker
        The loaded network.
    tracker : Tracker, optional
        The network for tracking errors, where they are asked for.
    progress : callable, optional
        Called as the work goes on; what it raises stops the work, and nothing is published.

    Returns
    -------
    MaskedExposure
        Where the masks are, and what they hold.

    Raises
    ------
    NothingToMaskError
        Where no HDU has a two-dimensional image, or all planes are blank.
    SourceClashError
        Where the mask file belongs to another exposure that is still there.
    ExposureError, ExposureUnavailableError, ExposureChangedError
        As reading the exposure fails.
    MaskFileError, MaskFileUnwritableError
        As writing the mask file fails.
    """
    other = foreign_source(job.target, job.path)
    if other:
        raise SourceClashError(
            f"The mask of {job.path} would overwrite {job.target.name}, which is that of {other}: "
            "rename one of the two exposures."
        )
    remove_stale(job.target.parent)
    with Exposure(job.path, hdu=job.hdu, selection=job.selection) as exposure:
        if not any(plan.action is HduAction.MASK for plan in exposure.plans):
            raise NothingToMaskError(_why_nothing(job, exposure.plans))
        work = _Work(job, masker, tracker, exposure, progress)
        with MaskFile(
            job.target, provenance=work.provenance(), recipe=job.recipe, compress=job.compress
        ) as mask_file:
            for plan in exposure.plans:
                work.write(plan, mask_file)
            if work.n_blank == work.n_planes:
                raise NothingToMaskError(
                    f"{job.path} holds nothing to mask ({work.notes[0]}): check the exposure."
                )
            exposure.check_unchanged()
            if work.track is not None:
                mask_file.note_track(work.track)
            mask_file.publish()
        return work.result()


class _Work:
    """The masking of one exposure, HDU by HDU, and what has been counted so far."""

    def __init__(
        self,
        job: Job,
        masker: Masker,
        tracker: Tracker | None,
        exposure: Exposure,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._job, self._masker, self._exposure = job, masker, exposure
        self._report, self._tracker = progress, tracker
        # MaxiTrack sees whole blocks: an HDU without one must not take the place of another.
        large = [
            plan.index
            for plan in exposure.plans
            if plan.action is HduAction.MASK and blocks(plan.shape[-2:])
        ]
        self._tracked = choose_hdus(large, job.track_frac, job.key) if tracker else ()
        self._scores: list[float] = []
        self._n_hdus = sum(plan.action is HduAction.MASK for plan in exposure.plans)
        self._hdus_done = 0
        self._mpix_done = 0.0
        self._instrument = exposure.instrument
        self._masked = np.zeros(len(job.recipe.planes), np.int64)
        self.n_planes = 0
        self.n_blank = 0
        self.notes: list[str] = []

    def provenance(self) -> Provenance:
        """Say where the masks come from."""
        job, card = self._job, self._masker.card
        return Provenance(
            key=job.key,
            configuration=job.configuration,
            preset=card.name,
            preset_sha256=card.sha256,
            source=job.path.name,
            source_sha256=self._exposure.sha256,
            device=self._masker.device.value,
            engine=self._masker.engine_name(job.tiles),
            tiles=job.tiles.value,
            attempt=job.attempt,
            versions=job.versions,
            selection=job.selection,
            class_files=job.class_files,
        )

    def write(self, plan: HduPlan, mask_file: MaskFile) -> None:
        """Mask or copy one HDU."""
        exposure = self._exposure
        if plan.action is HduAction.MASK:
            started, done = time.monotonic(), self._mpix_done
            planes, scores, note = self._planes(plan)
            is_cube = len(plan.shape) > 2  # noqa: PLR2004 (y and x)
            mask_file.append_masks(
                Stack(planes) if is_cube else planes[0],
                exposure.header(plan.index),
                hdu=plan.index,
                note=note,
                track=scores,
            )
            # The channels of a cube are exposures each.
            if not is_cube:
                self._scores += scores
            self._hdus_done += 1
            seconds, mpix = time.monotonic() - started, self._mpix_done - done
            logger.debug(
                "masked hdu=%d of=%s mpix=%.2f seconds=%.2f mpix_per_s=%.3f",
                plan.index,
                exposure.path,
                mpix,
                seconds,
                mpix / seconds,
            )
        elif plan.action is HduAction.DROP:
            return
        elif plan.index == 0:
            mask_file.append_header(exposure.header(0), exposure.data(0))
        else:
            mask_file.append_raw(exposure.raw(plan.index))
        if plan.action is HduAction.SKIP:
            self.notes.append(f"HDU {plan.index} is not masked: {plan.reason}.")

    def result(self) -> MaskedExposure:
        """Say what became of the exposure."""
        n_pixels = self._mpix_done * 1e6
        fractions = {
            name: float(count / n_pixels)
            for name, count in zip(self._job.recipe.names, self._masked, strict=True)
        }
        return MaskedExposure(
            mask=self._job.target,
            hdus=self._n_hdus,
            mpix=self._mpix_done,
            fractions=fractions,
            notes=tuple(self.notes),
            track=self.track,
        )

    @property
    def track(self) -> float | None:
        """The probability of a tracking error, over what has been masked so far."""
        return aggregate(self._scores)

    def _planes(self, plan: HduPlan) -> tuple[list[ProductPlanes], list[float], str]:
        """Mask the planes of an HDU; a blank one gets empty masks and a note, and no score."""
        results, scores, problems = [], list[float](), []
        for number, plane in enumerate(self._exposure.planes(plan.index)):
            problem = plane_problem(plane)
            if problem is None:
                masks, score = self._mask(plane, is_tracked=plan.index in self._tracked)
                results.append(masks)
                scores += [] if score is None else [score]
            else:
                results.append(empty_planes(self._job.recipe, plane.shape))
                channel = f" channel {number}" if len(plan.shape) > 2 else ""  # noqa: PLR2004
                problems.append(f"HDU {plan.index}{channel}: {problem}")
            self._mpix_done += plane.shape[0] * plane.shape[1] / 1e6
            self._tell(0.0)
        self.n_planes += len(results)
        self.n_blank += len(problems)
        self.notes += problems
        return results, scores, "; ".join(problems)

    def _mask(self, plane: Plane, *, is_tracked: bool) -> tuple[ProductPlanes, float | None]:
        mpix = plane.shape[0] * plane.shape[1] / 1e6
        normalised = self._masker.normalise(plane)
        planes = self._masker.mask(
            normalised,
            self._job.recipe,
            tiles=self._job.tiles,
            batch_size=self._job.batch_size,
            progress=lambda part: self._tell(part * mpix),
        )
        self._masked += planes.count()
        score = None
        if self._tracker and is_tracked:
            # MaxiTrack knows one preprocessing only, whatever that of the masks is.
            if self._masker.card.preprocessing is not Preprocessing.V1_4:
                normalised = normalise_plane(plane)
            score = self._tracker(
                normalised.clean, normalised.background, prior=self._job.track_prior
            )
        return planes, score

    def _tell(self, mpix_of_plane: float) -> None:
        if self._report:
            self._report(
                Progress(
                    hdus=self._n_hdus,
                    hdus_done=self._hdus_done,
                    mpix=self._exposure.mpix,
                    mpix_done=self._mpix_done + mpix_of_plane,
                    instrument=self._instrument,
                )
            )


def _why_nothing(job: Job, plans: Sequence[HduPlan]) -> str:
    path = job.path
    if job.selection.selectors and any(plan.shape for plan in plans):
        return (
            f"{path} has no image HDU that mask.hdus ({' '.join(job.selection.selectors)}) names: "
            "correct the setting, or leave it empty to mask every image."
        )
    images = [plan for plan in plans if plan.action is HduAction.SKIP]
    if images:
        return f"{path} holds nothing to mask: {images[0].reason}."
    return f"{path} has no HDU with a two-dimensional image: nothing to mask."
