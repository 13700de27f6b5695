"""Masks one exposure: its file and a masker in, the published mask file out."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from model.probability import Recipe
from model.tiles import TilePlan
from settings.errors import PermanentError
from worker.exposure import Exposure, HduAction, HduPlan, plane_problem
from worker.header import Provenance
from worker.product import MaskFile, foreign_source, remove_stale

if TYPE_CHECKING:
    from model.masker import Masker

__all__ = [
    "Job",
    "MaskedExposure",
    "NothingToMaskError",
    "Progress",
    "SourceClashError",
    "mask_exposure",
]


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
    """

    mask: Path
    hdus: int
    mpix: float
    fractions: Mapping[str, float]
    notes: tuple[str, ...]


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


def mask_exposure(
    job: Job, masker: Masker, *, progress: Callable[[Progress], None] | None = None
) -> MaskedExposure:
    """
    Mask every plane of an exposure and publish the mask file.

    Parameters
    ----------
    job : Job
        What is to be masked, and how.
    masker : Masker
        The loaded network.
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
    remove_stale(job.target)
    with Exposure(job.path, hdu=job.hdu) as exposure:
        if not any(plan.action is HduAction.MASK for plan in exposure.plans):
            raise NothingToMaskError(_why_nothing(job.path, exposure.plans))
        work = _Work(job, masker, exposure, progress)
        with MaskFile(job.target, provenance=work.provenance(), recipe=job.recipe) as mask_file:
            for plan in exposure.plans:
                work.write(plan, mask_file)
            if work.n_blank == work.n_planes:
                raise NothingToMaskError(
                    f"{job.path} holds nothing to mask ({work.notes[0]}): check the exposure."
                )
            exposure.check_unchanged()
            mask_file.publish()
        return work.result()


class _Work:
    """The masking of one exposure, HDU by HDU, and what has been counted so far."""

    def __init__(
        self,
        job: Job,
        masker: Masker,
        exposure: Exposure,
        progress: Callable[[Progress], None] | None,
    ) -> None:
        self._job, self._masker, self._exposure = job, masker, exposure
        self._report = progress
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
            engine=self._masker.engine,
            tiles=job.tiles.value,
            attempt=job.attempt,
            versions=job.versions,
        )

    def write(self, plan: HduPlan, mask_file: MaskFile) -> None:
        """Mask or copy one HDU."""
        exposure = self._exposure
        if plan.action is HduAction.MASK:
            planes, note = self._planes(plan)
            mask_file.append_masks(planes, exposure.header(plan.index), note=note)
            self._hdus_done += 1
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
        )

    def _planes(self, plan: HduPlan) -> tuple[NDArray[Any], str]:
        """Mask the planes of an HDU; a blank one gets empty masks and a note."""
        results, problems = [], []
        for number, plane in enumerate(self._exposure.planes(plan.index)):
            problem = plane_problem(plane)
            if problem is None:
                results.append(self._mask(plane))
            else:
                results.append(self._job.recipe.empty(plane.shape))
                channel = f" channel {number}" if len(plan.shape) > 2 else ""  # noqa: PLR2004
                problems.append(f"HDU {plan.index}{channel}: {problem}")
            self._mpix_done += plane.size / 1e6
            self._tell(0.0)
        self.n_planes += len(results)
        self.n_blank += len(problems)
        self.notes += problems
        planes = results[0] if len(plan.shape) == 2 else np.stack(results)  # noqa: PLR2004
        return planes, "; ".join(problems)

    def _mask(self, plane: NDArray[np.float32]) -> NDArray[Any]:
        mpix = plane.size / 1e6
        recipe = self._job.recipe
        planes = self._masker(
            plane,
            recipe,
            tiles=self._job.tiles,
            progress=lambda part: self._tell(part * mpix),
        )
        self._masked += recipe.count(planes)
        return planes

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


def _why_nothing(path: Path, plans: Sequence[HduPlan]) -> str:
    images = [plan for plan in plans if plan.action is HduAction.SKIP]
    if images:
        return f"{path} holds nothing to mask: {images[0].reason}."
    return f"{path} has no HDU with a two-dimensional image: nothing to mask."
