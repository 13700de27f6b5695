"""Tells where exposures may lie and masks may go: a path in, nothing or an error out.

Where roots are configured, a message can make a worker read and write below them and nowhere else.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path

from settings.errors import PermanentError
from settings.schema import RootSettings

__all__ = ["PlaceError", "check_exposure", "check_output_dir", "root_of"]


class PlaceError(PermanentError):
    """A path outside all roots."""


def root_of(path: Path, roots: Iterable[Path]) -> Path | None:
    """
    Find the root that holds a path.

    Parameters
    ----------
    path : Path
        The path.
    roots : iterable of Path
        The roots.

    Returns
    -------
    Path or None
        The innermost one, where one lies in another; None where none holds it.
    """
    inside = [root for root in roots if path.is_relative_to(root)]
    return max(inside, key=lambda root: len(root.parts), default=None)


def check_exposure(path: Path, settings: RootSettings) -> None:
    """
    Make sure that an exposure lies under a watched root.

    Parameters
    ----------
    path : Path
        The exposure, absolute.
    settings : RootSettings
        The roots; without any, it may lie anywhere.

    Raises
    ------
    PlaceError
        Where it lies under none.

    Notes
    -----
    Links are not resolved: a root may hold links to exposures elsewhere.
    """
    plain = Path(os.path.abspath(path))  # noqa: PTH100 (resolve() would follow links)
    if settings.directories and root_of(plain, settings.directories) is None:
        raise PlaceError(
            f"{path} lies under none of the watched roots: add its directory to root.directories."
        )


def check_output_dir(directory: Path, settings: RootSettings) -> None:
    """
    Make sure that masks may be written into a directory.

    Parameters
    ----------
    directory : Path
        The directory, absolute; it need not be there yet.
    settings : RootSettings
        The roots; without any, it may be anywhere.

    Raises
    ------
    PlaceError
        Where it lies, links resolved, neither under a watched root nor under `root.output_root`.
    """
    allowed = [*settings.directories, *filter(None, [settings.output_root])]
    real = Path(os.path.realpath(directory))
    roots = [Path(os.path.realpath(root)) for root in allowed]
    if settings.directories and root_of(real, roots) is None:
        raise PlaceError(
            f"The output directory {directory} lies under none of the watched roots and not under "
            "root.output_root: name one that does, or add it to root.directories."
        )
