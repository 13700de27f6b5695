"""Tells which image HDUs of a file are exposures: selectors in, yes or no for each HDU out."""

from __future__ import annotations

from dataclasses import dataclass
from fnmatch import fnmatchcase

from astropy.io import fits

__all__ = ["ALL_HDUS", "HduSelection"]


@dataclass(frozen=True)
class HduSelection:
    """
    Which image HDUs are exposures, and what becomes of all other HDUs.

    Parameters
    ----------
    selectors : tuple of str, optional
        Numbers (``1``), EXTNAME patterns (``SCI*``, without regard to case) or header cards
        (``IMAGETYP=object``, the value a pattern likewise); one that fits is enough. Empty: every
        image HDU.
    copies_others : bool, optional
        Whether the other HDUs are copied into the mask file.
    """

    selectors: tuple[str, ...] = ()
    copies_others: bool = True

    def has(self, index: int, name: str, header: fits.Header) -> bool:
        """
        Tell whether an HDU is an exposure.

        Parameters
        ----------
        index : int
            Its number in the file.
        name : str
            Its EXTNAME.
        header : astropy.io.fits.Header
            Its header.

        Returns
        -------
        bool
            True where a selector fits, or there is none.
        """
        return not self.selectors or any(
            _fits(selector, index, name, header) for selector in self.selectors
        )


#: Every image HDU is an exposure, as in the published tool.
ALL_HDUS = HduSelection()


def _fits(selector: str, index: int, name: str, header: fits.Header) -> bool:
    if selector.isdecimal():
        return int(selector) == index
    keyword, equals, pattern = selector.partition("=")
    if not equals:
        return _is_like(name, selector)
    try:
        value = header.get(keyword.strip())
    except fits.VerifyError:
        # A card that cannot be understood has no value.
        return False
    return value is not None and _is_like(_spelled(value), pattern.strip())


def _spelled(value: object) -> str:
    """Spell a card's value as FITS does (FITS 4.0 section 4.2)."""
    return {True: "T", False: "F"}.get(value, str(value)) if isinstance(value, bool) else str(value)


def _is_like(text: str, pattern: str) -> bool:
    return fnmatchcase(text.strip().upper(), pattern.upper())
