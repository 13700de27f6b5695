"""Tells whether a file is whole: its path in, whether its bytes hold every HDU they declare out."""

from __future__ import annotations

import gzip
import math
import os
import zlib
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path
from typing import BinaryIO

__all__ = ["Completeness", "Verdict", "check_complete"]

#: FITS 4.0 section 3.1: everything comes in blocks of this many bytes.
BLOCK = 2880
#: FITS 4.0 section 4.1: a card.
CARD = 80
#: Blocks of a header that are read until it is given up: 28 MB of cards.
MOST_HEADER_BLOCKS = 10_000
#: Bytes that are decompressed at a time.
CHUNK = 1 << 20
GZIP_MAGIC = b"\x1f\x8b"
FITS_MAGIC = b"SIMPLE  ="
EXTENSION_MAGIC = b"XTENSION="


class Verdict(StrEnum):
    """What the bytes say."""

    COMPLETE = "complete"
    SHORT = "short"
    EMPTY = "empty"
    NOT_FITS = "not FITS"
    PADDING_MISSING = "padding missing"
    EXTENSIONS_MISSING = "extensions missing"


@dataclass(frozen=True)
class Completeness:
    """
    The verdict on a file.

    Parameters
    ----------
    verdict : Verdict
        `COMPLETE`; `PADDING_MISSING`: only the bytes that fill the last block are not there, as
        some software leaves it; `EXTENSIONS_MISSING`: it ends with an HDU, but before the number
        of extensions that it announces; `SHORT`; `EMPTY`; `NOT_FITS`: more bytes will not mend it.
    reason : str
        One sentence; empty where the file is complete.
    n_hdus : int
        HDUs that are there with all their bytes.
    """

    verdict: Verdict
    reason: str
    n_hdus: int


def check_complete(path: Path) -> Completeness:
    """
    Walk a file's HDUs by their declared lengths.

    Parameters
    ----------
    path : Path
        A FITS file, plain, tile-compressed or gzipped; its name does not matter.

    Returns
    -------
    Completeness
        The verdict.

    Raises
    ------
    OSError
        Where the file cannot be read.

    Notes
    -----
    Where the primary header says how many extensions follow (``NEXTEND``), fewer are not enough;
    where it has no data and allows extensions (``EXTEND``), one has to follow. A gzipped file is
    decompressed to its end, which checks its CRC. Bytes after the last HDU that are no HDU are
    special records, which may be there.

    References
    ----------
    FITS 4.0, sections 3 and 4.4.1.
    """
    with path.open("rb") as file:
        magic = file.read(len(GZIP_MAGIC))
        file.seek(0)
        if not magic:
            return Completeness(Verdict.EMPTY, f"{path} is empty.", 0)
        try:
            if magic == GZIP_MAGIC:
                with gzip.GzipFile(fileobj=file) as stream:
                    return _walk(_Gzipped(stream), path)
            return _walk(_Plain(file), path)
        except (EOFError, zlib.error, gzip.BadGzipFile) as error:
            return Completeness(
                Verdict.SHORT, f"The gzip stream of {path} breaks off ({error}).", 0
            )


class _Plain:
    """A file whose bytes can be passed over without reading them."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._size = os.fstat(file.fileno()).st_size

    def read(self, n_bytes: int) -> bytes:
        return self._file.read(n_bytes)

    def skip(self, n_bytes: int) -> int:
        """Pass over bytes and return how many there were."""
        here = self._file.tell()
        there = min(here + n_bytes, self._size)
        self._file.seek(there)
        return there - here

    def drain(self) -> None:
        """Nothing is left to be checked."""


class _Gzipped:
    """A gzipped file: what is passed over is decompressed and checked."""

    def __init__(self, stream: gzip.GzipFile) -> None:
        self._stream = stream

    def read(self, n_bytes: int) -> bytes:
        return self._stream.read(n_bytes)

    def skip(self, n_bytes: int) -> int:
        """Pass over bytes and return how many there were."""
        left = n_bytes
        while left and (chunk := self._stream.read(min(left, CHUNK))):
            left -= len(chunk)
        return n_bytes - left

    def drain(self) -> None:
        """Decompress the rest, which checks the CRC."""
        while self._stream.read(CHUNK):
            pass


class _CutError(Exception):
    """The bytes end inside an HDU."""


class _UndeclaredError(Exception):
    """A header does not say how long its data are."""


def _walk(stream: _Plain | _Gzipped, path: Path) -> Completeness:
    n_hdus, n_extensions, whole = 0, 0, True
    block = stream.read(BLOCK)
    try:
        while block.startswith(EXTENSION_MAGIC if n_hdus else FITS_MAGIC):
            cards, whole = _pass_hdu(block, stream)
            if not n_hdus:
                n_extensions = _announced(cards)
            n_hdus += 1
            block = stream.read(BLOCK)
    except _CutError as error:
        return Completeness(Verdict.SHORT, f"{path} is truncated: HDU {n_hdus} {error}.", n_hdus)
    except (_UndeclaredError, ValueError) as error:
        reason = f"The header of HDU {n_hdus} of {path} does not declare its size ({error})."
        return Completeness(Verdict.NOT_FITS, reason, n_hdus)
    if not n_hdus:
        return _no_fits(block, path)
    if block and EXTENSION_MAGIC.startswith(block):
        # Special records do not begin like an extension: this is one that has just been begun.
        reason = f"{path} is truncated in the first card of HDU {n_hdus}."
        return Completeness(Verdict.SHORT, reason, n_hdus)
    stream.drain()
    verdict, reason = Verdict.COMPLETE, ""
    if n_hdus <= n_extensions:
        verdict = Verdict.EXTENSIONS_MISSING
        reason = (
            f"{path} has {n_hdus - 1} of the {n_extensions} extensions that its header announces: "
            "correct NEXTEND or EXTEND if the file is whole."
        )
    elif not whole:
        verdict, reason = Verdict.PADDING_MISSING, f"The last block of {path} is not full."
    return Completeness(verdict, reason, n_hdus)


def _announced(cards: Mapping[str, str]) -> int:
    """Return how many extensions a primary header announces."""
    # A value that is no number announces nothing: the card is not needed to read the file.
    with suppress(KeyError, ValueError):
        return int(cards["NEXTEND"])
    # A header without data that allows extensions is there for their sake.
    return int(cards.get("NAXIS") == "0" and cards.get("EXTEND") == "T")


def _no_fits(block: bytes, path: Path) -> Completeness:
    if FITS_MAGIC.startswith(block):
        return Completeness(Verdict.SHORT, f"{path} is truncated in its first card.", 0)
    if GZIP_MAGIC.startswith(block):
        return Completeness(Verdict.SHORT, f"{path} ends with its first byte.", 0)
    return Completeness(Verdict.NOT_FITS, f"{path} is not FITS: it does not begin so.", 0)


def _pass_hdu(block: bytes, stream: _Plain | _Gzipped) -> tuple[Mapping[str, str], bool]:
    """Pass over one HDU; return its header, and whether its last block is full."""
    header = _read_header(block, stream)
    if header is None:
        raise _CutError("breaks off in its header")
    cards, whole = header
    length = _data_length(cards)
    there = stream.skip(length)
    if there < length:
        raise _CutError(f"has {there} of {length} bytes of data")
    padding = -length % BLOCK
    return cards, whole and stream.skip(padding) == padding


def _read_header(block: bytes, stream: _Plain | _Gzipped) -> tuple[Mapping[str, str], bool] | None:
    """Return the values of a header as text, and whether its last block is whole; None if cut."""
    cards: dict[str, str] = {}
    for _ in range(MOST_HEADER_BLOCKS):
        for start in range(0, len(block), CARD):
            card = block[start : start + CARD].decode("ascii", "replace")
            keyword = card[:8].rstrip()
            if keyword == "END" and not card[8:].strip():
                return cards, len(block) == BLOCK
            if card[8:10] == "= ":
                cards.setdefault(keyword, card[10:].partition("/")[0].strip())
        if len(block) < BLOCK:
            return None
        block = stream.read(BLOCK)
    return None


def _data_length(cards: Mapping[str, str]) -> int:
    """Return the bytes of an HDU's data without padding (FITS 4.0 equations 1, 2 and 4)."""
    missing = {"BITPIX", "NAXIS"} - cards.keys()
    if missing:
        raise _UndeclaredError(f"without {' and '.join(sorted(missing))}")
    n_axes = int(cards["NAXIS"])
    if n_axes == 0:
        return 0
    sides = [int(cards.get(f"NAXIS{axis}", "")) for axis in range(1, n_axes + 1)]
    if sides[0] == 0 and cards.get("GROUPS") == "T":
        sides = sides[1:]
    n_values = int(cards.get("GCOUNT", 1)) * (int(cards.get("PCOUNT", 0)) + math.prod(sides))
    length = abs(int(cards["BITPIX"])) // 8 * n_values
    if length < 0:
        raise _UndeclaredError("its sides are negative")
    return length
