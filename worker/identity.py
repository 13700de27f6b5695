"""A file and a configuration in, the key out under which its record and its task are known.

The key says which bytes are masked how: a file that changed, or other settings, give a new key and
so a new mask; everything else gives the old key and so no second one.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from pathlib import Path

from settings.schema import MaskSettings

__all__ = ["ARRIVAL_PREFIX", "arrival_key", "configuration_hash", "exposure_key", "path_hash"]

#: Hexadecimal digits of a key: 128 bits, so that no two files of an archive share one.
KEY_DIGITS = 32
#: Hexadecimal digits of a configuration's hash; it stands in FITS headers, hence short.
CONFIGURATION_DIGITS = 16
#: What the key of a file that is not complete begins with. No exposure's key can: it is hex.
ARRIVAL_PREFIX = "arrival-"


def configuration_hash(
    mask_settings: MaskSettings, networks: Sequence[str], *, problem: str = ""
) -> str:
    """
    Condense what decides about a mask, apart from the exposure itself.

    Parameters
    ----------
    mask_settings : MaskSettings
        The settings; the order of mappings does not matter, that of `classes` does, since
        it is the order of the planes.
    networks : sequence of str
        Checksums of the networks that take part, weights and cards, in hexadecimal: a preset's
        name alone may come to stand for others.
    problem : str, optional
        Why nothing can be masked so; mended, it is another configuration.

    Returns
    -------
    str
        16 hexadecimal digits.
    """
    # Where class files lie does not matter, what they say does.
    settings = mask_settings.model_dump(mode="json", exclude={"config_dir"})
    parts = {"mask": settings, "networks": list(networks), "problem": problem}
    return _digest(parts)[:CONFIGURATION_DIGITS]


def exposure_key(
    root: Path,
    path: Path,
    *,
    size: int,
    mtime_ns: int,
    configuration: str,
    hdu: int | None = None,
    output_dir: Path | None = None,
) -> str:
    """
    Return the key of one version of one exposure under one configuration.

    Parameters
    ----------
    root : Path
        The watched root, absolute.
    path : Path
        The exposure, below the root.
    size : int
        Its bytes.
    mtime_ns : int
        When it was last written, in nanoseconds since 1970.
    configuration : str
        What `configuration_hash` returned.
    hdu : int, optional
        The one HDU that is asked for (`file.fits[N]`); without it, the whole file.
    output_dir : Path, optional
        Directory that was named for this one mask; without it, where the settings put it.

    Returns
    -------
    str
        32 hexadecimal digits, which are also the id of the Celery task.
    """
    elsewhere = [] if output_dir is None else [str(output_dir)]
    parts = [*_place(root, path), size, mtime_ns, configuration, hdu, *elsewhere]
    return _digest(parts)[:KEY_DIGITS]


def arrival_key(root: Path, path: Path) -> str:
    """
    Return the key of a file that is still being written.

    Parameters
    ----------
    root : Path
        The watched root, absolute.
    path : Path
        The file, below the root.

    Returns
    -------
    str
        The prefix `arrival-` and 32 hexadecimal digits; the same however the file grows.
    """
    return ARRIVAL_PREFIX + _digest(_place(root, path))[:KEY_DIGITS]


def path_hash(
    path: Path | str, *, hdu: int | None = None, output_dir: Path | str | None = None
) -> str:
    """
    Condense what has one current record: a path, one HDU of it, or its masks elsewhere.

    Parameters
    ----------
    path : Path or str
        The path; bytes that are not UTF-8 as Python's surrogates.
    hdu : int, optional
        The one HDU.
    output_dir : Path or str, optional
        The directory that was named for the mask.

    Returns
    -------
    str
        SHA-256 in hexadecimal: of the path's bytes, followed by the rest where there is any.
    """
    name = os.fsencode(path)
    if hdu is not None or output_dir is not None:
        # No path holds a zero byte: no other file can mean the same.
        number = b"" if hdu is None else b"%d" % hdu
        directory = b"" if output_dir is None else os.fsencode(output_dir)
        name = b"\0".join([name, number, directory])
    return hashlib.sha256(name).hexdigest()


def _place(root: Path, path: Path) -> list[str]:
    # By `relpath`, not `relative_to`: a path outside its root has a key too (`submit PATH`).
    return [str(root), os.path.relpath(path, root)]


def _digest(value: object) -> str:
    # ASCII alone leaves the encoder: surrogates become escapes, and the result is one for
    # every locale. Sorted keys without spaces: one text for one value.
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=True)
    return hashlib.sha256(text.encode("ascii")).hexdigest()
