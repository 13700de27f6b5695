"""Reads an exposure: a FITS file in, a plan for each HDU, and their planes, out."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import warnings
import zlib
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Self

import numpy as np
from astropy.io import fits
from astropy.io.fits.hdu.compressed._compression import CfitsioException
from numpy.typing import NDArray

from model.plane import STRIP, Plane
from settings.errors import PermanentError, TransientError
from worker.completeness import BLOCK, Verdict, check_complete
from worker.selection import ALL_HDUS, HduSelection
from worker.stored_plane import StoredPlane

__all__ = [
    "Exposure",
    "ExposureChangedError",
    "ExposureError",
    "ExposureUnavailableError",
    "HduAction",
    "HduPlan",
    "parse_path",
    "plane_problem",
]

#: Shortest side of a plane that the network can mask, in pixels.
SHORTEST_SIDE = 2
#: Dimensions of images that are masked: a plane, or a cube of planes (channel, y, x).
MASKED_DIMENSIONS = (2, 3)
#: Bytes that are read at a time.
CHUNK = 1 << 20
#: Failures of a file system that may pass; all others are about the file.
PASSING = frozenset({errno.EIO, errno.ESTALE, errno.ENOENT, errno.ETIMEDOUT, errno.EAGAIN})
#: What reading broken content can raise, beside `OSError`.
BROKEN = (
    ValueError,
    TypeError,
    KeyError,
    IndexError,
    AttributeError,
    EOFError,
    ArithmeticError,
    zlib.error,
    fits.VerifyError,
    # What the tile decompressors raise stands in none of astropy's public modules.
    CfitsioException,
)

_WITH_HDU = re.compile(r"(?P<path>.+)\[(?P<hdu>\d+)\]")


class ExposureError(PermanentError):
    """An exposure that cannot be read, whoever tries."""


class ExposureUnavailableError(TransientError):
    """An exposure that cannot be read now: it or its share went away."""


class ExposureChangedError(TransientError):
    """An exposure that was written to while it was read."""


class HduAction(StrEnum):
    """What is done with an HDU."""

    MASK = "mask"
    COPY = "copy"
    SKIP = "skip"
    DROP = "drop"


@dataclass(frozen=True)
class HduPlan:
    """
    One HDU and what is done with it.

    Parameters
    ----------
    index : int
        Its number in the file, the primary HDU being 0.
    action : HduAction
        `MASK`: its planes are masked; `COPY`: it holds no plane; `SKIP`: it holds a plane too small
        to be masked, and is copied; `DROP`: it is no exposure and left out.
    name : str
        Its EXTNAME, empty without one.
    shape : tuple of int
        Shape of its image, slowest axis first; empty for anything else.
    reason : str
        Why it is not masked.
    """

    index: int
    action: HduAction
    name: str
    shape: tuple[int, ...]
    reason: str


def parse_path(text: str) -> tuple[Path, int | None]:
    """
    Split CFITSIO's notation for one HDU of a file.

    Parameters
    ----------
    text : str
        ``file.fits`` or ``file.fits[N]``.

    Returns
    -------
    (Path, int or None)
        The file and the HDU asked for; a file whose very name ends in brackets wins.

    Examples
    --------
    >>> parse_path("night/a.fits[3]")
    (PosixPath('night/a.fits'), 3)
    """
    match = _WITH_HDU.fullmatch(text)
    if match is None or Path(text).exists():
        return Path(text), None
    return Path(match["path"]), int(match["hdu"])


def plane_problem(plane: Plane) -> str | None:
    """
    Tell why a plane holds nothing to mask.

    Parameters
    ----------
    plane : Plane, shape (ny, nx), float32
        The plane, in ADU; it is read up to the first two values that differ.

    Returns
    -------
    str or None
        The reason; None where there is something to mask.
    """
    low, high = np.inf, -np.inf
    for y in range(0, plane.shape[0], STRIP):
        strip = plane[y : y + STRIP, :]
        finite = strip[np.isfinite(strip)]
        if finite.size:
            low, high = min(low, finite.min()), max(high, finite.max())
        if low < high:
            return None
    if low > high:
        return "no pixel is a number"
    return "all pixels are 0" if low == 0 else f"all pixels are {low:g}"


class Exposure:
    """
    An open exposure.

    Parameters
    ----------
    path : Path
        The FITS file, plain, tile-compressed or gzipped.
    hdu : int, optional
        The one HDU to mask; all if not given.
    selection : HduSelection, optional
        Which HDUs are exposures; all image HDUs if not given.

    Attributes
    ----------
    plans : tuple of HduPlan
        What is done with each HDU, or with the one asked for.

    Raises
    ------
    ExposureError
        Where the file is not FITS, empty, truncated, unreadable or a directory, or the HDU asked
        for is not there or no image.
    ExposureUnavailableError
        Where the file went away.

    Notes
    -----
    A file that misses only the padding of its last block is read. Planes are read row by row,
    without memory mapping: a file that shrinks under a map ends the process.
    """

    def __init__(
        self,
        path: Path,
        *,
        hdu: int | None = None,
        selection: HduSelection = ALL_HDUS,
    ) -> None:
        self.path = path
        self._selection = selection
        with _explained(path):
            self._stat = path.stat()
            if path.is_dir():
                raise ExposureError(f"{path} is a directory: exposures are files.")
            completeness = check_complete(path)
            if completeness.verdict in {Verdict.EMPTY, Verdict.SHORT, Verdict.NOT_FITS}:
                raise ExposureError(f"{completeness.reason} Write the file again.")
            self._file = fits.open(path, memmap=False, ignore_missing_end=True)
        try:
            self.plans = self._plan(hdu, completeness.n_hdus)
        except Exception:
            self._file.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    @property
    def mpix(self) -> float:
        """Millions of pixels to mask."""
        sizes = [np.prod(plan.shape) for plan in self.plans if plan.action is HduAction.MASK]
        return float(sum(sizes)) / 1e6

    @cached_property
    def sha256(self) -> str:
        """SHA-256 of the file's bytes, in hexadecimal digits."""
        with _explained(self.path), self.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    @property
    def instrument(self) -> str:
        """INSTRUME of the first HDU that names one, empty without."""
        for plan in self.plans:
            # A card that cannot be understood names no instrument.
            with suppress(fits.VerifyError):
                if name := self.header(plan.index).get("INSTRUME"):
                    return str(name)
        return ""

    def header(self, index: int) -> fits.Header:
        """
        Return the header of an HDU.

        Parameters
        ----------
        index : int
            Its number in the file.

        Returns
        -------
        astropy.io.fits.Header
            As an ordinary image's, also where the file holds the image compressed.
        """
        with _explained(self.path):
            return self._file[index].header

    def planes(self, index: int) -> Iterator[StoredPlane]:
        """
        Read the planes of an HDU.

        Parameters
        ----------
        index : int
            Its number in the file.

        Yields
        ------
        StoredPlane, shape (ny, nx), float32
            Pixel values after BSCALE and BZERO; BLANK as NaN. A cube gives each of its channels.

        Notes
        -----
        An image that is not compressed stays in the file, and is read where its plane is sliced.
        """
        with _explained(self.path):
            hdu = self._file[index]
            shape = tuple(hdu.shape)
            is_packed = isinstance(hdu, fits.CompImageHDU) or hdu.fileinfo()["file"].compression
            rows_of = np.asarray(hdu.data) if is_packed else hdu.section
            # What is not held here need not be held there.
            if is_packed:
                del hdu.data
        for channel in np.ndindex(*shape[:-2]):
            yield StoredPlane(shape[-2:], partial(self._read_rows, rows_of, channel))

    def data(self, index: int) -> NDArray[np.generic] | None:
        """
        Read the data of an HDU that is not masked.

        Parameters
        ----------
        index : int
            Its number in the file.

        Returns
        -------
        ndarray or None
            As astropy gives it; None where it has none, and for random groups, which are no array
            (FITS 4.0 section 6).
        """
        with _explained(self.path):
            hdu = self._file[index]
            return None if isinstance(hdu, fits.GroupsHDU) else hdu.data

    def raw(self, index: int) -> bytes:
        """
        Read an extension as it stands in the file.

        Parameters
        ----------
        index : int
            Its number in the file.

        Returns
        -------
        bytes
            Header and data, whole blocks.
        """
        with _explained(self.path):
            info = self._file[index].fileinfo()
            stream = self._file[index]._file  # noqa: SLF001 (the only way into a gzipped file)
            stream.seek(info["hdrLoc"])
            content = bytes(stream.read(info["datLoc"] + info["datSpan"] - info["hdrLoc"]))
        return content + bytes(-len(content) % BLOCK)

    def check_unchanged(self) -> None:
        """
        Make sure that what was read is one version of the file.

        Raises
        ------
        ExposureChangedError
            Where the file was written to since it was opened.
        """
        with _explained(self.path):
            now = self.path.stat()
        before = self._stat
        if (now.st_size, now.st_mtime_ns, now.st_ino) != (
            before.st_size,
            before.st_mtime_ns,
            before.st_ino,
        ):
            raise ExposureChangedError(
                f"{self.path} was written to while it was masked: it is masked again when it rests."
            )

    def _read_rows(self, image: Any, channel: tuple[int, ...], rows: slice) -> NDArray[Any]:
        """Read whole rows of an image; where that fails since the file changed, say that."""
        try:
            with _explained(self.path):
                return np.asarray(image[(*channel, rows)])
        except ExposureError:
            self.check_unchanged()
            raise

    def _plan(self, hdu: int | None, n_hdus: int) -> tuple[HduPlan, ...]:
        # What follows the last HDU is no HDU, whatever it looks like (FITS 4.0 section 3.5).
        with _explained(self.path):
            plans = tuple(_plan_hdu(index, self._file[index]) for index in range(n_hdus))
            if hdu is None:
                return tuple(self._selected(plan) for plan in plans)
        if hdu >= len(plans):
            raise ExposureError(
                f"{self.path} has no HDU {hdu}: the last of its {len(plans)} is {len(plans) - 1}."
            )
        if plans[hdu].action is not HduAction.MASK:
            raise ExposureError(
                f"HDU {hdu} of {self.path} cannot be masked ({plans[hdu].reason}): name another."
            )
        return (plans[hdu],)

    def _selected(self, plan: HduPlan) -> HduPlan:
        """Take from a plan what is not selected."""
        chosen = self._selection
        if plan.action in {HduAction.MASK, HduAction.SKIP} and not chosen.has(
            plan.index, plan.name, self._file[plan.index].header
        ):
            plan = replace(plan, action=HduAction.COPY, reason="mask.hdus does not name it")
        # A FITS file begins with a primary HDU, so that its header stays (FITS 4.0 section 3.1).
        if plan.action is not HduAction.MASK and plan.index and not chosen.copies_others:
            plan = replace(plan, action=HduAction.DROP)
        return plan


def _plan_hdu(index: int, hdu: Any) -> HduPlan:
    if not hdu.is_image or isinstance(hdu, fits.GroupsHDU):
        return HduPlan(index, HduAction.COPY, hdu.name, (), "it is no image")
    shape = tuple(hdu.shape)
    if not shape:
        action, reason = HduAction.COPY, "it has no data"
    elif len(shape) not in MASKED_DIMENSIONS:
        action, reason = HduAction.COPY, f"its image has {len(shape)} dimensions"
    elif min(shape[-2:]) < SHORTEST_SIDE or 0 in shape:
        sides = " x ".join(str(side) for side in reversed(shape))
        action, reason = HduAction.SKIP, f"its image of {sides} pixels is too small"
    else:
        action, reason = HduAction.MASK, ""
    return HduPlan(index, action, hdu.name, shape, reason)


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what a broken file makes the libraries raise into one sentence."""
    try:
        with warnings.catch_warnings():
            # Headers of real exposures break rules by the dozen; what matters raises.
            warnings.simplefilter("ignore")
            yield
    except PermissionError as error:
        raise ExposureError(
            f"{path} may not be read by user {os.getuid()}: give it read permission."
        ) from error
    except OSError as error:
        if error.errno in PASSING:
            raise ExposureUnavailableError(
                f"{path} cannot be read now ({error.strerror}): it is tried again later."
            ) from error
        raise ExposureError(f"{path} cannot be read ({error}): check the file.") from error
    except BROKEN as error:
        raise ExposureError(
            f"{path} is broken ({type(error).__name__}: {error}): write the file again."
        ) from error
