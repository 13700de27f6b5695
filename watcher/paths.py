"""Finds what a path on the command line stands for: a file, one HDU, a directory or a list in."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from settings.errors import PermanentError
from settings.schema import WatchSettings
from watcher.selection import Selection, walk
from worker.exposure import parse_path

__all__ = ["PathError", "Target", "find_targets"]

#: Ending of a file that lists exposures, one path a line (MaxiMask 1.4.1).
LIST_SUFFIX = ".list"


class PathError(PermanentError):
    """A path that stands for no exposure."""


@dataclass(frozen=True)
class Target:
    """
    One exposure to mask.

    Parameters
    ----------
    path : Path
        The file, absolute.
    hdu : int or None
        The one HDU; None for all.
    """

    path: Path
    hdu: int | None = None

    def __str__(self) -> str:
        return str(self.path) if self.hdu is None else f"{self.path}[{self.hdu}]"


def find_targets(paths: Iterable[str], settings: WatchSettings) -> Iterator[Target | PathError]:
    """
    Find the exposures that paths stand for.

    Parameters
    ----------
    paths : iterable of str
        Files, single HDUs as ``file.fits[N]``, directories (all exposures in them, without those
        below), ``.list`` files with such paths, one a line.
    settings : WatchSettings
        Which files of a directory are exposures.

    Yields
    ------
    Target or PathError
        The exposures in order, each once, and what is wrong with a path in its place.
    """
    seen: set[Target] = set()
    for found in _find(paths, settings):
        if isinstance(found, PathError) or found not in seen:
            yield found
        if isinstance(found, Target):
            seen.add(found)


def _find(paths: Iterable[str], settings: WatchSettings) -> Iterator[Target | PathError]:
    for text in paths:
        path, hdu = parse_path(text)
        path = path.absolute()
        if path.is_dir():
            exposures = list(walk(path, Selection(settings), recursive=False))
            yield from map(Target, exposures)
            if not exposures:
                endings = " ".join(settings.suffixes)
                yield PathError(
                    f"{path} holds no exposure ({endings}): name another directory or a file."
                )
        elif not path.is_file():
            yield PathError(f"{path} does not exist: name a file, file[N], directory or list.")
        elif path.suffix == LIST_SUFFIX and hdu is None:
            yield from _in_list(path, settings)
        else:
            yield Target(path, hdu)


def _in_list(path: Path, settings: WatchSettings) -> Iterator[Target | PathError]:
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        yield PathError(f"{path} cannot be read ({error}): give one path a line.")
        return
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        # A list in a list could name itself.
        if line.strip().endswith(LIST_SUFFIX):
            yield PathError(f"{path}, line {number}: a list in a list: name exposures.")
            continue
        for found in _find([line.strip()], settings):
            if isinstance(found, PathError):
                yield PathError(f"{path}, line {number}: {found}")
            else:
                yield found
