"""Writes the mask file of an exposure: planes and source headers in, a published FITS file out.

A mask file is there whole or not at all: it is written under a hidden name in its own directory,
forced to the disk, and renamed.
"""

from __future__ import annotations

import errno
import os
import re
import secrets
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from enum import StrEnum
from functools import lru_cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Self

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from model.plane import STRIP
from model.planes import Planes
from settings.errors import PermanentError, TransientError
from worker.checksum import Checksum
from worker.completeness import BLOCK
from worker.header import Provenance, card_text, make_header, text_of_card

if TYPE_CHECKING:
    from model.probability import Recipe

__all__ = [
    "Compression",
    "MaskFile",
    "MaskFileError",
    "MaskFileUnwritableError",
    "foreign_source",
    "mask_path",
    "read_key",
    "remove_stale",
]

#: Endings that are not part of an exposure's own name, longest first.
_SUFFIXES = re.compile(r"\.(fits|fit|fts)(\.(fz|gz))?\Z", re.IGNORECASE)
#: Names of mask files that are being written.
_TEMPORARY = re.compile(r"\..+\.masks\d*\.fits(\.fz)?\.\d+-[0-9a-f]{8}\.tmp")
#: Age in seconds from which a temporary file is nobody's any more: longer than any task takes.
STALE_S = 6 * 3600.0
#: Bytes that are moved at a time.
CHUNK = 1 << 20
#: Failures of a file system that another attempt will meet again; all others may pass.
LASTING = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR})


class Compression(StrEnum):
    """How masks are compressed, tile by tile (FITS 4.0 section 10)."""

    NONE = "none"
    RICE = "rice"
    GZIP = "gzip"


#: What astropy calls them; GZIP_2 shuffles bytes, which makes small numbers smaller.
_ALGORITHMS = {Compression.RICE: "RICE_1", Compression.GZIP: "GZIP_2"}


class MaskFileError(TransientError):
    """A mask file that cannot be written now: the disk is full, the share is away."""


class MaskFileUnwritableError(PermanentError):
    """A directory in which no mask file may be written."""


def mask_path(
    exposure: Path,
    *,
    hdu: int | None = None,
    root: Path | None = None,
    output_root: Path | None = None,
    output_dir: Path | None = None,
    compress: Compression = Compression.NONE,
) -> Path:
    """
    Return where an exposure's masks go.

    Parameters
    ----------
    exposure : Path
        The exposure.
    hdu : int, optional
        The one HDU that is masked; all if not given.
    root : Path, optional
        The watched root that it lies in.
    output_root : Path, optional
        Where the trees of the roots are mirrored; beside the exposures if not given.
    output_dir : Path, optional
        The directory that was named for this one mask: then the roots do not matter.
    compress : Compression, optional
        How the masks are compressed.

    Returns
    -------
    Path
        The mask file.

    Examples
    --------
    >>> mask_path(Path("/data/night1/a.fits.fz"))
    PosixPath('/data/night1/a.masks.fits')
    >>> mask_path(Path("/data/n/a.fit"), hdu=2, root=Path("/data"), output_root=Path("/masks"))
    PosixPath('/masks/data/n/a.masks2.fits')
    """
    ending = "fits" if compress is Compression.NONE else "fits.fz"
    name = f"{_SUFFIXES.sub('', exposure.name)}.masks{'' if hdu is None else hdu}.{ending}"
    if output_dir is not None:
        return output_dir / name
    if output_root is None:
        return exposure.with_name(name)
    if root is not None and exposure.is_relative_to(root):
        return output_root / root.name / exposure.relative_to(root).with_name(name)
    return output_root / name


def read_key(target: Path) -> str | None:
    """
    Read the key that a published mask file was made under.

    Parameters
    ----------
    target : Path
        The mask file.

    Returns
    -------
    str or None
        The key; None where there is no mask file of ours.
    """
    return _read_card(target, "MMKEY")


def foreign_source(target: Path, exposure: Path) -> str | None:
    """
    Tell whose masks a file holds, if they are another exposure's.

    Parameters
    ----------
    target : Path
        The mask file that an exposure's masks would go to.
    exposure : Path
        The exposure.

    Returns
    -------
    str or None
        Name of the other exposure, where it is still there; ``a.fits`` and ``a.fits.fz`` in one
        directory have the same mask file.
    """
    source = _read_card(target, "MMSOURCE")
    if not source or source == card_text(exposure.name):
        return None
    try:
        there = exposure.with_name(text_of_card(source)).exists()
    except (ValueError, OSError):
        # Not written by us: no file can have this name.
        return None
    return source if there else None


def remove_stale(directory: Path) -> None:
    """
    Remove what attempts at mask files left in a directory when they were killed.

    Parameters
    ----------
    directory : Path
        Where the mask files are.

    Notes
    -----
    A process looks through a directory once in `STALE_S`: it may hold a night's files, and this is
    called for each.
    """
    _remove_stale(directory, int(time.time() / STALE_S))


@lru_cache(maxsize=256)
def _remove_stale(directory: Path, _period: int) -> None:
    with suppress(OSError):
        for path in directory.iterdir():
            if _TEMPORARY.fullmatch(path.name) and time.time() - path.stat().st_mtime > STALE_S:
                path.unlink(missing_ok=True)


class MaskFile:
    """
    A mask file that is being written; leaving it unpublished leaves nothing.

    Parameters
    ----------
    target : Path
        The mask file.
    provenance : Provenance
        For the headers.
    recipe : Recipe
        What the planes are, for the headers.
    compress : Compression, optional
        How the masks are compressed. A primary HDU cannot be: its masks then stand in the first
        extension, as fpack puts them.

    Raises
    ------
    MaskFileUnwritableError
        On entry, where the directory is read-only.
    MaskFileError
        Where the file system fails in a way that may pass.
    """

    def __init__(
        self,
        target: Path,
        *,
        provenance: Provenance,
        recipe: Recipe,
        compress: Compression = Compression.NONE,
    ) -> None:
        self._target, self._provenance, self._recipe = target, provenance, recipe
        self._compress = compress
        self._temporary = target.with_name(
            f".{target.name}.{os.getpid()}-{secrets.token_hex(4)}.tmp"
        )
        self._n_hdus = 0

    def __enter__(self) -> Self:
        with _explained(self._target):
            self._target.parent.mkdir(parents=True, exist_ok=True)
            self._temporary.touch(exist_ok=False)
        return self

    def __exit__(self, *_: object) -> None:
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)

    def append_masks(
        self,
        planes: NDArray[np.generic] | Planes,
        source: fits.Header,
        *,
        hdu: int | None = None,
        note: str = "",
        track: Sequence[float] = (),
    ) -> None:
        """
        Write the masks of one HDU.

        Parameters
        ----------
        planes : ndarray or Planes
            Shape (n_planes, ny, nx), for a cube (n_channels, n_planes, ny, nx); without n_planes
            for a bit mask. Only a few rows of them are made at a time, unless they are compressed.
        source : astropy.io.fits.Header
            Header of the HDU that was masked.
        hdu : int, optional
            Its number in the exposure.
        note : str, optional
            What a reader of the masks should know.
        track : sequence of float, optional
            Probability of a tracking error of each plane that was looked at for one.
        """
        header = make_header(source, self._provenance, self._recipe, hdu=hdu, note=note)
        for number, score in enumerate(track, start=1):
            header[f"MMTRK{number}"] = (score, "probability of a tracking error, this plane")
        if self._compress is Compression.NONE:
            self._append_rows(planes, header)
            return
        if not self._n_hdus:
            self.append_header(source)
        # Level 0: probabilities are kept as they are, not rounded to steps of their noise.
        packed = fits.CompImageHDU(
            np.asarray(planes),
            header,
            compression_type=_ALGORITHMS[self._compress],
            quantize_level=0,
        )
        with self._writing():
            packed.add_checksum()
            with fits.open(self._temporary, mode="append", memmap=False) as file:
                file.append(packed)

    def append_header(self, source: fits.Header, data: NDArray[np.generic] | None = None) -> None:
        """
        Write a primary HDU that is not masked itself.

        Parameters
        ----------
        source : astropy.io.fits.Header
            Its header in the exposure.
        data : ndarray, optional
            Its data, where it has some.
        """
        hdu = fits.PrimaryHDU(data, make_header(source, self._provenance))
        with self._writing():
            hdu.writeto(self._temporary, checksum=True, output_verify="silentfix")
            # Astropy leaves the card out where nothing follows yet.
            self._add_card("EXTEND", True, "extensions may follow", after=len(hdu.shape) + 2)

    def append_raw(self, content: bytes) -> None:
        """
        Write an extension as it stands in the exposure.

        Parameters
        ----------
        content : bytes
            Header and data, whole blocks.
        """
        with self._writing(), self._temporary.open("ab") as file:
            file.write(content)

    def note_track(self, score: float) -> None:
        """
        Say in the primary HDU how likely the exposure suffered a tracking error.

        Parameters
        ----------
        score : float
            The probability.
        """
        with _explained(self._target):
            self._add_card("MMTRACK", score, "probability of a tracking error")

    def publish(self) -> None:
        """Force the file to the disk and give it its name."""
        with _explained(self._target):
            with self._temporary.open("rb+") as file:
                os.fsync(file.fileno())
            self._temporary.replace(self._target)
            directory = os.open(self._target.parent, os.O_RDONLY | os.O_DIRECTORY)
            try:
                os.fsync(directory)
            finally:
                os.close(directory)

    def _append_rows(self, planes: NDArray[Any] | Planes, header: fits.Header) -> None:
        """Write an image a few rows at a time; its header says what it holds when all are there."""
        # Astropy's card for each axis, for an array that takes no memory.
        like = np.broadcast_to(planes.dtype.type(0), planes.shape)
        if self._n_hdus:
            hdu = fits.ImageHDU(like, header)
        else:
            hdu = fits.PrimaryHDU(like, header)
            # Astropy leaves it out, and puts it in where it reads: then the sum would be wrong.
            hdu.header.set("EXTEND", True, "extensions may follow", after=like.ndim + 2)
        with self._writing(), self._temporary.open("rb+") as file:
            hdu.verify("silentfix")
            start = file.seek(0, os.SEEK_END)
            file.write(_with_checksum(hdu.header, Checksum()))
            data = Checksum()
            for rows in _rows(planes):
                data.add(rows)
                file.write(rows)
            file.write(bytes(-file.tell() % BLOCK))
            file.seek(start)
            file.write(_with_checksum(hdu.header, data))

    def _add_card(
        self, keyword: str, value: bool | float, comment: str, *, after: int | None = None
    ) -> None:
        """Add a card to the header of the primary HDU, with its sums."""
        with self._temporary.open("rb+") as file:
            header = fits.Header.fromfile(file)
            end = file.tell()
            header.set(keyword, value, comment, after=after)
            content = _with_checksum(header, Checksum(int(header["DATASUM"])))
            _move_end(file, end, len(content) - end)
            file.seek(0)
            file.write(content)

    @contextmanager
    def _writing(self) -> Iterator[None]:
        """Write an HDU; cards of real exposures that break rules are mended or left out."""
        with _explained(self._target), warnings.catch_warnings():
            warnings.simplefilter("ignore", fits.verify.VerifyWarning)
            yield
        self._n_hdus += 1


def _rows(planes: NDArray[Any] | Planes) -> Iterator[memoryview]:
    """Return an image piece by piece, as it stands in a file."""
    stored = planes.dtype.newbyteorder(">")
    for plane in np.ndindex(*planes.shape[:-2]):
        for y in range(0, planes.shape[-2], STRIP):
            strip = planes[(*plane, slice(y, y + STRIP))]
            yield np.ascontiguousarray(strip, stored).view(np.uint8).ravel().data


def _with_checksum(header: fits.Header, data: Checksum) -> bytes:
    """Say in a header what the sums over it and its data are, and return it as it is written."""
    now = datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S")
    header["CHECKSUM"] = ("0" * 16, f"HDU checksum updated {now}")
    header["DATASUM"] = (str(data.total), f"data unit checksum updated {now}")
    whole = Checksum(data.total)
    whole.add(header.tostring().encode("ascii"))
    header["CHECKSUM"] = whole.encode()
    return header.tostring().encode("ascii")


def _move_end(file: BinaryIO, start: int, by: int) -> None:
    """Move all that stands behind a place of a file further back."""
    if by <= 0:
        return
    stop = file.seek(0, os.SEEK_END)
    for first in reversed(range(start, stop, CHUNK)):
        file.seek(first)
        content = file.read(min(CHUNK, stop - first))
        file.seek(first + by)
        file.write(content)


def _read_card(target: Path, keyword: str) -> str | None:
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = fits.getheader(target, 0, memmap=False).get(keyword)
    except (OSError, ValueError, KeyError, IndexError, fits.VerifyError):
        return None
    return None if value is None else str(value)


@contextmanager
def _explained(target: Path) -> Iterator[None]:
    """Turn a failing file system into one sentence."""
    try:
        yield
    except OSError as error:
        what = error.strerror or str(error)
        if error.errno in LASTING:
            raise MaskFileUnwritableError(
                f"{target} cannot be written ({what}): give its directory write permission, or "
                "send masks elsewhere with root.output_root (MAXIMASKD_ROOT_OUTPUT_ROOT)."
            ) from error
        raise MaskFileError(
            f"{target} cannot be written now ({what}): it is tried again later."
        ) from error
