"""What the header of a mask HDU says: a source header, provenance and recipe in, a header out."""

from __future__ import annotations

import re
import warnings
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from astropy.io import fits

from worker.selection import ALL_HDUS, HduSelection

if TYPE_CHECKING:
    from model.probability import Recipe

__all__ = ["Provenance", "card_text", "make_header", "text_of_card"]

#: Cards that describe the source's own array and not the masks of it (FITS 4.0 section 4.4), or
#: its compressed form (section 10), or its place in its file.
_NOT_KEPT = re.compile(
    r"SIMPLE|XTENSION|BITPIX|NAXIS\d*|PCOUNT|GCOUNT|GROUPS|EXTEND|NEXTEND|BSCALE|BZERO|BLANK|BUNIT|"
    r"DATAMIN|DATAMAX|DATE|CHECKSUM|DATASUM|INHERIT|TFIELDS|T(TYPE|FORM|UNIT|DIM)\d+|"
    r"Z(IMAGE|SIMPLE|TENSION|BITPIX|NAXIS\d*|TILE\d+|CMPTYPE|NAME\d+|VAL\d+|QUANTIZ|DITHER0|BLANK|"
    r"EXTEND|PCOUNT|GCOUNT|HECKSUM|DATASUM)|"
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
    "openvino": "MMVOVINO",
    "tensorflow": "MMVTF",
    "keras": "MMVKERAS",
    "astropy": "MMVASTRO",
    "numpy": "MMVNUMPY",
}

#: Keywords that say which class files were used.
CLASS_FILE_CARDS = {
    "MMFLAGSF": "classes.flags",
    "MMPRIORF": "classes.priors",
    "MMTHRESF": "classes.thresh",
}


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
    selection : HduSelection, optional
        Which HDUs are exposures.
    class_files : mapping of str to Path, optional
        The class files that were used, by their names.
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
    selection: HduSelection = ALL_HDUS
    class_files: Mapping[str, Path] = field(default_factory=dict)
    created: datetime = field(default_factory=lambda: datetime.now(UTC))


def make_header(
    source: fits.Header,
    provenance: Provenance,
    recipe: Recipe | None = None,
    *,
    hdu: int | None = None,
    note: str = "",
) -> fits.Header:
    """
    Make the header of an HDU of a mask file.

    Parameters
    ----------
    source : astropy.io.fits.Header
        Header of the same HDU of the exposure.
    provenance : Provenance
        Where the mask file comes from.
    recipe : Recipe, optional
        What the planes are; not given where the HDU has none.
    hdu : int, optional
        Number of the HDU in the exposure; its masks can stand elsewhere in the mask file.
    note : str, optional
        What a reader of the masks should know.

    Returns
    -------
    astropy.io.fits.Header
        What is true of the masks too, then what we say.
    """
    header = _kept(source)
    header.extend(_provenance_cards(provenance), end=True)
    if hdu is not None:
        header["MMHDU"] = (hdu, "number of this HDU in the exposure")
    if recipe is not None:
        header.extend(_plane_cards(recipe), end=True)
    if note:
        header["MMNOTE"] = (card_text(note), "what to know about these masks")
    return header


def card_text(text: str) -> str:
    """
    Spell a text in the characters that a FITS card can hold.

    Parameters
    ----------
    text : str
        Any text.

    Returns
    -------
    str
        ASCII, everything else as Python escapes it (FITS 4.0 section 4.2.1).
    """
    return text.encode("unicode_escape").decode("ascii")


def text_of_card(spelled: str) -> str:
    """
    Return the text that `card_text` has spelled.

    Parameters
    ----------
    spelled : str
        The value of a card.

    Returns
    -------
    str
        The text.

    Raises
    ------
    ValueError
        Where it was not spelled so.
    """
    return spelled.encode("ascii").decode("unicode_escape")


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


def _provenance_cards(made: Provenance) -> list[tuple[str, Any, str]]:
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
        ("MMSOURCE", card_text(made.source), "the exposure's file"),
        ("MMSRCSHA", made.source_sha256, "SHA-256 of the exposure's file"),
        ("MMDATE", made.created.strftime("%Y-%m-%dT%H:%M:%S"), "[UTC] date of the masks"),
        ("MMDEVICE", made.device, "device of the network"),
        ("MMENGINE", made.engine, "what ran the network"),
        ("MMTILES", made.tiles, "how the planes were cut"),
        ("MMTRY", made.attempt, "attempt that made this file"),
        *versions,
        (
            "MMHDUS",
            card_text(" ".join(made.selection.selectors)) or "all",
            "which HDUs are exposures",
        ),
        (
            "MMOTHERS",
            "copy" if made.selection.copies_others else "drop",
            "what became of the others",
        ),
        *(
            (keyword, card_text(str(made.class_files.get(name, ""))) or "default", f"{name} used")
            for keyword, name in CLASS_FILE_CARDS.items()
        ),
    ]


def _plane_cards(recipe: Recipe) -> Iterator[tuple[str, Any, str]]:
    is_bitmask = recipe.format.value == "bitmask"
    yield "MMFORMAT", recipe.format.value, "masks, probabilities or bitmask"
    shifted = any(plane.prior is not None for plane in recipe.planes)
    yield "MMPRIOR", shifted, "were probabilities shifted to these priors?"
    for number, plane in enumerate(recipe.planes, start=1):
        mask_class = plane.mask_class
        yield f"MMCLS{number}", mask_class.name, mask_class.full_name
        if plane.prior is not None:
            yield f"MMPRI{number}", plane.prior, f"prior of {mask_class.name}"
        # Probabilities are not cut there, but who does so later needs to know where.
        yield f"MMTHR{number}", plane.threshold, f"threshold of {mask_class.name}"
        if is_bitmask and mask_class.bit:
            bit = mask_class.bit.bit_length() - 1
            yield f"MP_{mask_class.name}", bit, f"bit of {mask_class.full_name}"
