"""Reads masked pixels: a mask file and the names of classes in, one boolean array out."""

from __future__ import annotations

import errno
import warnings
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from model.card import BACKGROUND_CLASS
from model.probability import ProductFormat
from settings.errors import PermanentError, TransientError
from worker.completeness import Verdict, check_complete
from worker.exposure import BROKEN, PASSING

__all__ = ["PixelMaskError", "PixelMaskUnavailableError", "read_pixel_mask"]


class PixelMaskError(PermanentError):
    """A mask file, an HDU or a class from which no pixel mask can be read."""


class PixelMaskUnavailableError(TransientError):
    """A mask file that cannot be read now: its share went away."""


def read_pixel_mask(
    path: Path | str, *, classes: str | Iterable[str], hdu: int | str | None = None
) -> NDArray[np.bool_]:
    """
    Read from a mask file which pixels belong to at least one of some classes.

    Parameters
    ----------
    path : Path or str
        The mask file, of any format, plain, tile-compressed or gzipped.
    classes : str or iterable of str
        Short names of the classes, as the cards ``MMCLSn`` of the mask file give them.
    hdu : int or str, optional
        The HDU of the exposure: its number there, the primary HDU being 0, or its EXTNAME, without
        regard to case. Not needed where the mask file has the masks of one HDU only.

    Returns
    -------
    ndarray, shape (ny, nx), bool
        True where a pixel is masked, as in `~astropy.nddata.CCDData`, photutils and numpy's masked
        arrays. Of a cube, shape (n_channels, ny, nx).

    Raises
    ------
    PixelMaskError
        Where the file is no mask file or cannot be read, the HDU has no masks, or a class has none.
    PixelMaskUnavailableError
        Where the file system fails in a way that may pass.

    Notes
    -----
    The number of an HDU is that in the exposure (card ``MMHDU``), also where its masks stand
    elsewhere: masks of one HDU stand in the primary HDU, compressed masks of a primary HDU in an
    extension, and HDUs that were left out move all that follow. Without that card, an HDU has the
    number that it has in the mask file.

    Probabilities are cut at the thresholds of the header (cards ``MMTHRn``): a pixel is masked
    where its probability is greater, so never where it is NaN.

    Examples
    --------
    >>> mask = read_pixel_mask("a.masks.fits", classes=["CR", "SAT"], hdu="CCD1")  # doctest: +SKIP
    >>> sky = np.ma.masked_array(fits.getdata("a.fits", "CCD1"), mask)  # doctest: +SKIP
    """
    path = Path(path)
    names = (classes,) if isinstance(classes, str) else tuple(classes)
    with _explained(path), _opened(path) as file:
        planes = _choose(path, list(_mask_planes(path, file)), hdu)
        for name in names:
            planes.check(name)
        if not names:
            raise PixelMaskError(
                f"No class of {planes} is asked for: name one or more of {planes.spelled}."
            )
        return planes.read(names)


@dataclass(frozen=True)
class _MaskPlanes:
    """The masks of one HDU: where they stand, and what they are."""

    path: Path
    hdu: Any
    number: int
    format: ProductFormat

    def __str__(self) -> str:
        return f"HDU {self.number} in {self.path}"

    @property
    def header(self) -> fits.Header:
        return self.hdu.header

    @property
    def name(self) -> str:
        return str(self.header.get("EXTNAME", "")).strip()

    @property
    def classes(self) -> dict[str, int]:
        """Numbers of the planes by class, from 1."""
        cards = self.header["MMCLS*"]
        return {str(name): int(keyword[len("MMCLS") :]) for keyword, name in cards.items()}

    @property
    def spelled(self) -> str:
        return " ".join(self.classes)

    def check(self, name: str) -> None:
        """Raise where a class cannot be read."""
        if name not in self.classes:
            raise PixelMaskError(
                f"{self} has no masks of class {name!r}: use {self.spelled}, or mask the exposure "
                "again with that class in mask.classes or its mask.vocabulary."
            )
        if self.format is ProductFormat.BITMASK and f"MP_{name}" not in self.header:
            what = " (clean pixels are 0)" if name == BACKGROUND_CLASS else ""
            raise PixelMaskError(
                f"{self} is a bit mask and has no bit for class {name!r}{what}: use another class, "
                "or mask the exposure again with mask.format masks."
            )
        if self.format is ProductFormat.PROBABILITIES and self._threshold_card(name) is None:
            raise PixelMaskError(
                f"{self} holds probabilities without a threshold for class {name!r}: mask the "
                "exposure again, or compare the probabilities yourself."
            )

    def read(self, names: Iterable[str]) -> NDArray[np.bool_]:
        """Combine the masks of some classes, reading one plane at a time."""
        if self.format is ProductFormat.BITMASK:
            bits = sum({1 << int(self.header[f"MP_{name}"]) for name in names})
            return np.asarray(self.hdu.data & bits, bool)
        masks = (self._mask(name) for name in names)
        combined = next(masks)
        for mask in masks:
            combined |= mask
        return combined

    def _mask(self, name: str) -> NDArray[np.bool_]:
        position = self.classes[name] - 1
        is_cube = len(self.hdu.shape) > 3  # noqa: PLR2004 (class, y, x; of a cube, channels before)
        section = self.hdu.section
        plane = np.asarray(section[:, position] if is_cube else section[position])
        if self.format is ProductFormat.PROBABILITIES:
            return plane > np.float32(self._threshold_card(name))
        return plane.astype(bool)

    def _threshold_card(self, name: str) -> Any:
        return self.header.get(f"MMTHR{self.classes[name]}")


def _opened(path: Path) -> fits.HDUList:
    """Open a file that is there to its end: a copy that was cut short lacks masks."""
    completeness = check_complete(path)
    if completeness.verdict in {Verdict.EMPTY, Verdict.SHORT, Verdict.NOT_FITS}:
        raise PixelMaskError(f"{completeness.reason} Name a whole mask file of maximaskd.")
    return fits.open(path, memmap=False)


def _mask_planes(path: Path, file: fits.HDUList) -> Iterator[_MaskPlanes]:
    for index, hdu in enumerate(file):
        header = hdu.header
        if "MMFORMAT" in header:
            number = int(header.get("MMHDU", index))
            yield _MaskPlanes(path, hdu, number, ProductFormat(header["MMFORMAT"]))


def _choose(path: Path, all_planes: list[_MaskPlanes], hdu: int | str | None) -> _MaskPlanes:
    if not all_planes:
        raise PixelMaskError(
            f"{path} is no mask file of maximaskd (no HDU has a card MMFORMAT): name the file that "
            "stands beside the exposure and ends in .masks.fits or .masks.fits.fz."
        )
    if hdu is None:
        chosen = all_planes
    elif isinstance(hdu, str):
        chosen = [planes for planes in all_planes if planes.name.upper() == hdu.strip().upper()]
    else:
        chosen = [planes for planes in all_planes if planes.number == hdu]
    there = ", ".join(
        f"{planes.number} ({planes.name})" if planes.name else f"{planes.number}"
        for planes in all_planes
    )
    if not chosen:
        raise PixelMaskError(f"{path} has no masks of HDU {hdu!r}: use one of {there}.")
    if len(chosen) > 1:
        named = "" if hdu is None else f" named {hdu!r}"
        raise PixelMaskError(
            f"{path} has masks of {len(chosen)} HDUs{named}: give hdu the number of one of {there}."
        )
    return chosen[0]


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what a broken file makes the libraries raise into one sentence."""
    try:
        with warnings.catch_warnings():
            # Cards of real exposures that break rules stand in their masks' headers too.
            warnings.simplefilter("ignore")
            yield
    except OSError as error:
        if error.errno in PASSING - {errno.ENOENT}:
            raise PixelMaskUnavailableError(
                f"{path} cannot be read now ({error.strerror}): try again when its share is back."
            ) from error
        raise PixelMaskError(
            f"{path} cannot be read ({error.strerror or error}): name a mask file of maximaskd."
        ) from error
    except BROKEN as error:
        raise PixelMaskError(
            f"{path} is broken ({type(error).__name__}: {error}): mask its exposure again."
        ) from error
