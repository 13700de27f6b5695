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
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from astropy.io import fits
from numpy.typing import NDArray

from settings.errors import PermanentError, TransientError

if TYPE_CHECKING:
    from model.probability import Recipe

__all__ = [
    "MaskFile",
    "MaskFileError",
    "MaskFileUnwritableError",
    "Provenance",
    "foreign_source",
    "mask_path",
    "read_key",
    "remove_stale",
]

#: Endings that are not part of an exposure's own name, longest first.
_SUFFIXES = re.compile(r"\.(fits|fit|fts)(\.(fz|gz))?\Z", re.IGNORECASE)
#: Age in seconds from which a temporary file is nobody's any more: longer than any task takes.
STALE_S = 6 * 3600.0
#: Failures of a file system that another attempt will meet again; all others may pass.
LASTING = frozenset({errno.EACCES, errno.EPERM, errno.EROFS, errno.ENAMETOOLONG, errno.ENOTDIR})
#: Cards that describe the source's own array and not the masks of it (FITS 4.0 section 4.4), or
#: its compressed form (section 10), or its place in its file.
_NOT_KEPT = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|GROUPS|EXTEND|NEXTEND|BSCALE|BZERO|BLANK|BUNIT|"
    r"DATAMIN|DATAMAX|DATE|CHECKSUM|DATASUM|INHERIT|TFIELDS|Z[A-Z]+\d*|T(TYPE|FORM|UNIT|DIM)\d+|"
    r"HISTORY|COMMENT|END|MM.*|MP_.*|"
)
#: World coordinates of the third axis on, also alternative ones (FITS 4.0 section 8.2.1): that axis
#: of the masks is the class.
_OTHER_AXES = re.compile(
    r"((CTYPE|CUNIT|CRVAL|CRPIX|CDELT|CROTA|CNAME)[3-9]|"
    r"(CD|PC)(0*\d+_0*[3-9]|0*[3-9]_0*\d+)|(PV|PS)[3-9]_\d+)[A-Z]?"
)
_WCS_AXES = re.compile(r"WCSAXES[A-Z]?")
#: Keywords of versions by distribution.
VERSION_CARDS = {
    "tensorflow": "MMVTF",
    "keras": "MMVKERAS",
    "astropy": "MMVASTRO",
    "numpy": "MMVNUMPY",
}


class MaskFileError(TransientError):
    """A mask file that cannot be written now: the disk is full, the share is away."""


class MaskFileUnwritableError(PermanentError):
    """A directory in which no mask file may be written."""


@dataclass(frozen=True)
class Provenance:
    """
    Where a mask file comes from, as its header says.

    Parameters
    ----------
    key, configuration : str
        The exposure's key, and the hash of all that decides about a mask.
    preset, preset_sha256 : str
        Name of the preset and checksum of its weights.
    source, source_sha256 : str
        Name of the exposure's file and checksum of its bytes.
    device, engine, tiles : str
        What ran the network, and how planes were cut.
    attempt : int
        Which attempt this was.
    versions : mapping of str to str
        Versions by distribution.
    created : datetime, optional
        When, UTC.
    """

    key: str
    configuration: str
    preset: str
    preset_sha256: str
    source: str
    source_sha256: str
    device: str
    engine: str
    tiles: str
    attempt: int
    versions: Mapping[str, str]
    created: datetime = field(default_factory=lambda: datetime.now(UTC))


def mask_path(
    exposure: Path,
    *,
    hdu: int | None = None,
    root: Path | None = None,
    output_root: Path | None = None,
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
    name = f"{_SUFFIXES.sub('', exposure.name)}.masks{'' if hdu is None else hdu}.fits"
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
    if not source or source == _card_text(exposure.name):
        return None
    try:
        there = exposure.with_name(_text_of_card(source)).exists()
    except (ValueError, OSError):
        # Not written by us: no file can have this name.
        return None
    return source if there else None


def remove_stale(target: Path) -> None:
    """
    Remove what earlier attempts at a mask file left when they were killed.

    Parameters
    ----------
    target : Path
        The mask file.
    """
    with suppress(OSError):
        for path in target.parent.iterdir():
            ours = path.name.startswith(f".{target.name}.") and path.name.endswith(".tmp")
            if ours and time.time() - path.stat().st_mtime > STALE_S:
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

    Raises
    ------
    MaskFileUnwritableError
        On entry, where the directory is read-only.
    MaskFileError
        Where the file system fails in a way that may pass.
    """

    def __init__(self, target: Path, *, provenance: Provenance, recipe: Recipe) -> None:
        self._target, self._provenance, self._recipe = target, provenance, recipe
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
        self, planes: NDArray[np.generic], source: fits.Header, *, note: str = ""
    ) -> None:
        """
        Write the masks of one HDU.

        Parameters
        ----------
        planes : ndarray
            Shape (n_planes, ny, nx), for a cube (n_channels, n_planes, ny, nx); without n_planes
            for a bit mask.
        source : astropy.io.fits.Header
            Header of the HDU that was masked.
        note : str, optional
            What a reader of the masks should know.
        """
        header = _kept(source)
        header.extend(self._provenance_cards(), end=True)
        header.extend(self._plane_cards(), end=True)
        if note:
            header["MMNOTE"] = (_card_text(note), "what to know about these masks")
        self._append(planes, header)

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
        header = _kept(source)
        header.extend(self._provenance_cards(), end=True)
        self._append(data, header)

    def append_raw(self, content: bytes) -> None:
        """
        Write an extension as it stands in the exposure.

        Parameters
        ----------
        content : bytes
            Header and data, whole blocks.
        """
        with _explained(self._target), self._temporary.open("ab") as file:
            file.write(content)
        self._n_hdus += 1

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

    def _append(self, data: NDArray[Any] | None, header: fits.Header) -> None:
        with _explained(self._target), warnings.catch_warnings():
            # Cards of real exposures that break rules are mended or left out on writing.
            warnings.simplefilter("ignore", fits.verify.VerifyWarning)
            if self._n_hdus:
                hdu = fits.ImageHDU(data, header)
                hdu.add_checksum()
                with fits.open(self._temporary, mode="append", memmap=False) as file:
                    file.append(hdu)
            else:
                header["EXTEND"] = (True, "extensions may follow")
                hdu = fits.PrimaryHDU(data, header)
                hdu.writeto(self._temporary, checksum=True, output_verify="silentfix")
        self._n_hdus += 1

    def _provenance_cards(self) -> list[tuple[str, Any, str]]:
        made = self._provenance
        versions = [
            (VERSION_CARDS[name], version, f"version of {name}")
            for name, version in made.versions.items()
            if name in VERSION_CARDS
        ]
        return [
            ("MMVERS", made.versions.get("maximaskd", ""), "version of maximaskd"),
            ("MMKEY", made.key, "key of exposure and configuration"),
            ("MMCONF", made.configuration, "hash of the configuration"),
            ("MMPRESET", made.preset, "preset: the network's weights"),
            ("MMPRESHA", made.preset_sha256, "SHA-256 of the weights"),
            ("MMSOURCE", _card_text(made.source), "the exposure's file"),
            ("MMSRCSHA", made.source_sha256, "SHA-256 of the exposure's file"),
            ("MMDATE", made.created.strftime("%Y-%m-%dT%H:%M:%S"), "[UTC] date of the masks"),
            ("MMDEVICE", made.device, "device of the network"),
            ("MMENGINE", made.engine, "what ran the network"),
            ("MMTILES", made.tiles, "how the planes were cut"),
            ("MMTRY", made.attempt, "attempt that made this file"),
            *versions,
        ]

    def _plane_cards(self) -> Iterator[tuple[str, Any, str]]:
        recipe = self._recipe
        is_bitmask = recipe.format.value == "bitmask"
        yield "MMFORMAT", recipe.format.value, "masks, probabilities or bitmask"
        shifted = any(plane.prior is not None for plane in recipe.planes)
        yield "MMPRIOR", shifted, "were probabilities shifted to these priors?"
        for number, plane in enumerate(recipe.planes, start=1):
            mask_class = plane.mask_class
            yield f"MMCLS{number}", mask_class.name, mask_class.full_name
            if plane.prior is not None:
                yield f"MMPRI{number}", plane.prior, f"prior of {mask_class.name}"
            if recipe.format.value != "probabilities":
                yield f"MMTHR{number}", plane.threshold, f"threshold of {mask_class.name}"
            if is_bitmask and mask_class.bit:
                bit = mask_class.bit.bit_length() - 1
                yield f"MP_{mask_class.name}", bit, f"bit of {mask_class.full_name}"


def _kept(source: fits.Header) -> fits.Header:
    """Return the cards of a source that are true of its masks too: WCS, names, circumstances."""
    kept = fits.Header()
    with warnings.catch_warnings():
        # Real headers break rules; what can be kept is, and nobody has to hear of it every time.
        warnings.simplefilter("ignore")
        for card in source.cards:
            _keep(card, kept)
    return kept


def _keep(card: fits.Card, kept: fits.Header) -> None:
    """Append a card that is true of the masks too; one that cannot be understood is left out."""
    with suppress(fits.VerifyError, ValueError, TypeError):
        keyword, value, comment = card.keyword, card.value, card.comment
        if _NOT_KEPT.fullmatch(keyword) or _OTHER_AXES.fullmatch(keyword):
            return
        if isinstance(value, fits.card.Undefined):
            return
        if _WCS_AXES.fullmatch(keyword):
            value = min(value, 2)
        kept.append((keyword, value, comment), end=True)


def _card_text(text: str) -> str:
    """Spell a text in the characters that a FITS card can hold (FITS 4.0 section 4.2.1)."""
    return text.encode("unicode_escape").decode("ascii")


def _text_of_card(spelled: str) -> str:
    """Return the text that `_card_text` has spelled."""
    return spelled.encode("ascii").decode("unicode_escape")


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
