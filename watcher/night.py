"""Finds the night of an exposure: a file and the site's longitude in, a date out.

A night runs from local noon to local noon and is named by the date of its evening, so that the
exposures before and after midnight belong together wherever the telescope stands.
"""

from __future__ import annotations

import gzip
import math
import re
import zlib
from collections.abc import Iterator, Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import BinaryIO, TypeGuard, cast

from worker.completeness import BLOCK, CARD

__all__ = ["night_of", "night_of_file", "observation_time"]

#: Blocks of a header and HDUs of a file that are searched: the date stands early or nowhere.
MOST_HEADER_BLOCKS, MOST_HDUS = 1000, 4
#: Keywords that hold the date, with the time or without; the time alone; both as a count of days.
DATE_KEYWORDS = ("DATE-OBS", "DATE-BEG")
TIME_KEYWORDS = ("TIME-OBS", "UTC-OBS", "UT-OBS", "UTSTART", "UTC", "UT", "UTSHUT")
MJD_KEYWORDS = ("MJD-OBS", "MJD-BEG")
GZIP_MAGIC = b"\x1f\x8b"

#: No digital exposure is older; older dates are unset clocks and two-digit years of this century.
EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
MJD_EPOCH = datetime(1858, 11, 17, tzinfo=UTC)
#: MJD of 1970-01-01 and of about the year 2132, beyond which no day count is meant.
MJD_RANGE = (40587.0, 100_000.0)
#: Bounds of a time of day: midnight may be 24:00, and a minute with a leap second has 61 seconds.
MOST_HOURS, MOST_MINUTES, LEAP_MINUTE_S = 24, 59, 61.0
HALF_DAY = timedelta(hours=12)

_ISO_DATE = re.compile(r"(\d{4})-(\d\d?)-(\d\d?)(?:[T ]+(\S+))?")
# Some clocks counted on after 1999 and wrote 2002 as 102.
_OLD_DATE = re.compile(r"(\d\d?)/(\d\d?)/(\d\d\d?)")
_TIME = re.compile(r"(\d\d?):(\d\d?):(\d\d?(?:\.\d*)?)(?:Z|([+-])(\d\d):?(\d\d))?")


def night_of(moment: datetime, longitude_deg: float) -> date:
    """
    Return the night of a moment.

    Parameters
    ----------
    moment : datetime
        A moment; UTC where it names no time zone.
    longitude_deg : float
        Longitude of the site in degrees, east positive.

    Returns
    -------
    date
        The date of the evening, by local mean solar time: the date at the noon with which the night
        begins.

    Examples
    --------
    Four o'clock UTC is the late evening before in Chile:

    >>> night_of(datetime(2026, 11, 24, 4, tzinfo=UTC), -70.7)
    datetime.date(2026, 11, 23)
    """
    moment = moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)
    return (moment + timedelta(hours=longitude_deg / 15) - HALF_DAY).date()


def night_of_file(path: Path, longitude_deg: float) -> date:
    """
    Return the night of an exposure.

    Parameters
    ----------
    path : Path
        A file, which need not be complete, nor readable, nor there.
    longitude_deg : float
        Longitude of the site in degrees, east positive.

    Returns
    -------
    date
        The night of its observation; else that of the file's last change; else the present one.

    Notes
    -----
    A date without a time is taken for the date of the evening, as observing logs have it. It cannot
    be told from a date in UTC, but it is one night off at most, while the time of the last change
    is that of a copy as often as not.
    """
    observed = _observed(path)
    if isinstance(observed, datetime):
        return night_of(observed, longitude_deg)
    return observed or night_of(_last_change(path), longitude_deg)


def observation_time(path: Path) -> datetime | None:
    """
    Return when an exposure was taken, by its header.

    Parameters
    ----------
    path : Path
        A FITS file, plain or gzipped; the beginning is enough.

    Returns
    -------
    datetime or None
        The moment in UTC that DATE-OBS or DATE-BEG names, alone or with a keyword for the time, or
        else MJD-OBS or MJD-BEG; None where none of them does, where the date has no time, is before
        1970 or later than tomorrow, and where the file cannot be read.

    Notes
    -----
    The primary header comes first, then the first extension that has a date. Only headers are
    read. Time scales other than UTC differ by about a minute, which no night notices.

    References
    ----------
    FITS 4.0, section 9.1; the old form DD/MM/YY belongs to the years 1900 to 1999.
    """
    observed = _observed(path)
    return observed if isinstance(observed, datetime) else None


def _last_change(path: Path) -> datetime:
    try:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    except (OSError, OverflowError, ValueError):
        return datetime.now(UTC)


def _observed(path: Path) -> datetime | date | None:
    """Return the moment of the observation, or its bare date where no HDU has more."""
    bare: date | None = None
    try:
        with path.open("rb") as file:
            magic = file.read(len(GZIP_MAGIC))
            file.seek(0)
            # A GzipFile reads, seeks and tells as a plain file does.
            stream = cast(BinaryIO, gzip.GzipFile(fileobj=file)) if magic == GZIP_MAGIC else file
            for cards in _headers(stream):
                found = _when(cards)
                if isinstance(found, datetime):
                    return found
                bare = bare or found
    except (OSError, EOFError, zlib.error):
        # Not there, not readable, not whole: what has been read so far counts.
        pass
    return bare


def _headers(stream: BinaryIO) -> Iterator[Mapping[str, str]]:
    for _ in range(MOST_HDUS):
        cards: dict[str, str] = {}
        if not _read_header(stream, cards):
            # A broken header may still hold a date among its first cards.
            yield cards
            return
        yield cards
        try:
            length = _data_length(cards)
            stream.seek(max(-(-length // BLOCK), 0) * BLOCK, 1)
        except (KeyError, ValueError, OverflowError):
            # Sizes that are missing, no numbers or beyond what a file can hold.
            return


def _read_header(stream: BinaryIO, cards: dict[str, str]) -> bool:
    """Collect the values of a header as text, and say whether it has an end."""
    for n_block in range(MOST_HEADER_BLOCKS):
        block = stream.read(BLOCK)
        if n_block == 0 and not block.startswith((b"SIMPLE  =", b"XTENSION=")):
            return False
        for start in range(0, len(block), CARD):
            card = block[start : start + CARD].decode("ascii", "replace")
            if card.rstrip() == "END":
                return True
            if card[8:10] == "= ":
                cards.setdefault(card[:8].rstrip(), _value(card[10:]))
        if len(block) < BLOCK:
            break
    return False


def _value(text: str) -> str:
    text = text.strip()
    if text.startswith("'"):
        return text[1:].partition("'")[0].strip()
    return text.partition("/")[0].strip()


def _data_length(cards: Mapping[str, str]) -> int:
    """Return the bytes of an HDU's data (FITS 4.0 equation 2; random groups hold no exposure)."""
    sides = [int(cards[f"NAXIS{axis + 1}"]) for axis in range(int(cards["NAXIS"]))]
    if not sides:
        return 0
    n_values = int(cards.get("GCOUNT", 1)) * (int(cards.get("PCOUNT", 0)) + math.prod(sides))
    return abs(int(cards["BITPIX"])) // 8 * n_values


def _when(cards: Mapping[str, str]) -> datetime | date | None:
    """Return the first plausible moment that a header names, or else the first such date."""
    days = [_date(cards.get(keyword, "")) for keyword in DATE_KEYWORDS]
    times = [_time(cards.get(keyword, "")) for keyword in TIME_KEYWORDS]
    since_midnight = next((time for time in times if time is not None), None)
    whole = (day + time for day, time in days if day and time is not None)
    joined = (day + since_midnight for day, _ in days if day and since_midnight is not None)
    counted = (_from_mjd(cards.get(keyword, "")) for keyword in MJD_KEYWORDS)
    for moment in (*whole, *joined, *counted):
        if _is_plausible(moment):
            return moment
    return next((day.date() for day, _ in days if day and _is_plausible(day)), None)


def _date(text: str) -> tuple[datetime | None, timedelta | None]:
    """Return midnight of a date and, where the text has it, the time since then."""
    try:
        if match := _ISO_DATE.fullmatch(text):
            year, month, day = (int(part) for part in match.groups()[:3])
            return datetime(year, month, day, tzinfo=UTC), _time(match[4] or "")
        if match := _OLD_DATE.fullmatch(text):
            day, month, year = (int(part) for part in match.groups())
            return datetime(1900 + year, month, day, tzinfo=UTC), None
    except ValueError:
        # There is no such day: an unset clock writes 0000-00-00.
        pass
    return None, None


def _time(text: str) -> timedelta | None:
    """Return the time since midnight in UTC, which a zone can put outside the day."""
    if not (match := _TIME.fullmatch(text)):
        return None
    hours, minutes, seconds = int(match[1]), int(match[2]), float(match[3])
    if hours > MOST_HOURS or minutes > MOST_MINUTES or seconds >= LEAP_MINUTE_S:
        return None
    zone = timedelta(hours=int(match[5] or 0), minutes=int(match[6] or 0))
    since_midnight = timedelta(hours=hours, minutes=minutes, seconds=seconds)
    return since_midnight + zone if match[4] == "-" else since_midnight - zone


def _from_mjd(text: str) -> datetime | None:
    try:
        days = float(text.upper().replace("D", "E"))
    except ValueError:
        return None
    return MJD_EPOCH + timedelta(days=days) if MJD_RANGE[0] <= days < MJD_RANGE[1] else None


def _is_plausible(moment: datetime | None) -> TypeGuard[datetime]:
    return moment is not None and EARLIEST <= moment <= datetime.now(UTC) + timedelta(days=1)
