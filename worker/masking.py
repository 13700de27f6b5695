"""Masks one exposure: its file and a masker in, the published mask file out."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from settings.errors import PermanentError
from worker.exposure import Exposure, HduAction
from worker.product import MaskFile, foreign_source, remove_stale

if TYPE_CHECKING:
    from model.masker import Masker
    from model.probability import Recipe
    from model.tiles import TilePlan

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
        Masked part of all pixels, by class; empty for probabilities.
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
    ExposureError, ExposureChangedError, ProductError
        As the exposure or the mask file fails.
    """
    other = foreign_source(job.target, job.path.name)
    if other:
        raise SourceClashError(
            f"The mask of {job.path} would overwrite {job.target.name}, which is that of {other}: "
            "rename one of the two exposures."
        )
    remove_stale(job.target)
    with Exposure.open(job.path, hdu=job.hdu) as exposure:
        to_mask = [plan for plan in exposure.plans if plan.action is HduAction.MASK]
        if not to_mask:
            raise NothingToMaskError(_why_nothing(job, exposure.plans))
        work = _Work(job, masker, exposure, len(to_mask), progress)
        with MaskFile(job.target, provenance=work.provenance(), recipe=job.recipe) as mask_file:
            for plan in exposure.plans:
                if plan.action is HduAction.MASK:
                    planes, note = work.planes(plan)
                    header = exposure.header(plan.index)
                    mask_file.append_masks(
                        planes, header, primary=job.hdu is not None or plan.index == 0, note=note
                    )
                else:
                    mask_file.append_copy(exposure.copy_hdu(plan.index))
            if work.n_blank == work.n_planes:
                raise NothingToMaskError(
                    f"{job.path} holds nothing to mask ({work.notes[0]}): check the exposure."
                )
            exposure.check_unchanged()
            mask_file.publish()
    return MaskedExposure(
        mask=job.target,
        hdus=len(to_mask),
        mpix=exposure.mpix,
        fractions=work.fractions(),
        notes=tuple(work.notes),
    )
