"""A preset's arrays on disk: a NumPy archive and its checksum in, plain arrays out."""

from __future__ import annotations

import hashlib
import io
import zlib
from collections.abc import Mapping
from pathlib import Path
from zipfile import BadZipFile

import numpy as np
from numpy.typing import NDArray

from model.card import PresetError

__all__ = ["Arrays", "read_arrays", "write_arrays"]

#: Arrays by their names in the archive.
Arrays = Mapping[str, NDArray[np.float32]]


def read_arrays(path: Path, sha256: str) -> dict[str, NDArray[np.float32]]:
    """
    Read an archive and check it.

    Parameters
    ----------
    path : Path
        The file.
    sha256 : str
        Its checksum, in hexadecimal digits.

    Returns
    -------
    dict of str to ndarray
        All arrays by their names.

    Raises
    ------
    PresetError
        Where the file cannot be read, or is not the one that the checksum was made of.
    """
    try:
        content = path.read_bytes()
        digest = hashlib.sha256(content).hexdigest()
        if digest != sha256:
            raise PresetError(
                f"The weights {path} have SHA-256 {digest}, but their card says {sha256}: "
                "restore the preset from the distribution."
            )
        with np.load(io.BytesIO(content), allow_pickle=False) as arrays:
            return dict(arrays)
    except (OSError, ValueError, BadZipFile, zlib.error) as error:
        raise PresetError(
            f"The weights {path} cannot be read ({error}): restore them from the distribution."
        ) from error


def write_arrays(arrays: Arrays, path: Path, *, compressed: bool = False) -> str:
    """
    Write an archive, the same bytes for the same arrays.

    Parameters
    ----------
    arrays : Arrays
        The arrays.
    path : Path
        The file to write.
    compressed : bool, optional
        Whether it is deflated.

    Returns
    -------
    str
        The file's SHA-256 in hexadecimal digits.
    """
    write = np.savez_compressed if compressed else np.savez
    write(path, allow_pickle=False, **arrays)
    return hashlib.sha256(path.read_bytes()).hexdigest()
