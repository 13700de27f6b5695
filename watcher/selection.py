"""Says by its name whether a file is an exposure, a root in and the paths of its exposures out."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from pathlib import Path

from settings.logs import get_logger
from settings.schema import WatchSettings

__all__ = ["Selection", "walk"]

logger = get_logger(__name__)


@dataclass(frozen=True)
class Selection:
    """
    What is looked at below a root.

    Parameters
    ----------
    settings : WatchSettings
        The endings of exposures and the patterns of names that are ignored.

    Notes
    -----
    Names alone decide here; no file is opened or looked up. Endings are compared without regard
    to case, since cameras write `.FIT` and `.fits` alike; patterns as a shell does.
    """

    settings: WatchSettings
    # What the log has said already: a sweep a minute would say it again all night.
    _unread: dict[Path, OSError] = field(
        default_factory=dict, init=False, compare=False, repr=False
    )
    _no_files: dict[Path, str] = field(default_factory=dict, init=False, compare=False, repr=False)

    @property
    def passed_over(self) -> frozenset[Path]:
        """
        Return the directories that could not be read when they were last walked.

        Returns
        -------
        frozenset of Path
            Nothing is known of the files below them; they need not have gone away.
        """
        gone = FileNotFoundError
        return frozenset(path for path, why in self._unread.items() if not isinstance(why, gone))

    @property
    def no_files(self) -> Mapping[Path, str]:
        """
        Return what is named like an exposure without being a file.

        Returns
        -------
        mapping of Path to str
            What each is, as the last walk found it.
        """
        return dict(self._no_files)

    def is_exposure(self, path: Path, root: Path) -> bool:
        """
        Say whether a path is named like an exposure.

        Parameters
        ----------
        path : Path
            A path at any depth below the root.
        root : Path
            The watched root; its own name and place do not matter.

        Returns
        -------
        bool
            True where the ending is that of an exposure and no pattern matches the name of the file
            or of a directory between it and the root; False where it does not lie below the root.

        Examples
        --------
        >>> selection = Selection(WatchSettings())
        >>> selection.is_exposure(Path("/night/a.FITS.fz"), Path("/night"))
        True
        >>> selection.is_exposure(Path("/night/.~tmp~/a.fits"), Path("/night"))
        False
        """
        try:
            names = path.relative_to(root).parts
        except ValueError:
            return False
        if not names or ".." in names:
            return False
        return self.has_suffix(names[-1]) and not any(map(self.ignores, names))

    def has_suffix(self, name: str) -> bool:
        """
        Say whether a name ends like that of an exposure.

        Parameters
        ----------
        name : str
            Name of a file, without directories.

        Returns
        -------
        bool
            True where something stands before the ending, too.
        """
        lower = name.lower()
        suffixes = (suffix.lower() for suffix in self.settings.suffixes)
        return any(lower.endswith(suffix) and lower != suffix for suffix in suffixes)

    def ignores(self, name: str) -> bool:
        """
        Say whether a pattern matches a name.

        Parameters
        ----------
        name : str
            Name of one file or directory.

        Returns
        -------
        bool
            True where it is never looked at.
        """
        return any(fnmatchcase(name, pattern) for pattern in self.settings.ignore)

    def _note_unread(self, directory: Path, error: OSError) -> None:
        known = self._unread.get(directory)
        if known is None or known.errno != error.errno:
            reason = error.strerror or str(error)
            logger.warning("passed over directory=%s reason=%s", directory, reason)
        self._unread[directory] = error

    def _forget_no_files(self, root: Path, still: set[Path]) -> None:
        for path in [path for path in self._no_files if path.is_relative_to(root)]:
            if path not in still:
                del self._no_files[path]

    def _note_no_file(self, path: Path, kind: str) -> None:
        if self._no_files.get(path) != kind:
            logger.info(
                "passed over path=%s reason=it is named like an exposure but %s", path, kind
            )
        self._no_files[path] = kind

    def _forget_unread(self, root: Path, still: set[Path]) -> None:
        for directory in [path for path in self._unread if path.is_relative_to(root)]:
            if directory not in still:
                del self._unread[directory]


def walk(root: Path, selection: Selection, *, recursive: bool) -> Iterator[Path]:
    """
    Find every exposure below a root.

    Parameters
    ----------
    root : Path
        A directory.
    selection : Selection
        Which names count.
    recursive : bool
        Whether directories below the root are walked too.

    Yields
    ------
    Path
        Regular files and links to them, by name within each directory.

    Notes
    -----
    Each directory is walked once, even where links to directories make a cycle; where a link and
    the directory itself both lie below the root, the directory's own path is the one that counts.
    A directory that cannot be read is logged once and passed over, and so is what has an exposure's
    name without being a file: opening a FIFO would block for ever.
    """
    visited: set[tuple[int, int]] = set()
    unread: set[Path] = set()
    no_files: set[Path] = set()
    # Links are followed last, so that a directory is known by its own path where it has one here.
    directories, links = [root], list[Path]()
    while directories or links:
        directory = directories.pop() if directories else links.pop(0)
        try:
            stat = directory.stat()
            if (stat.st_dev, stat.st_ino) in visited:
                continue
            visited.add((stat.st_dev, stat.st_ino))
            with os.scandir(directory) as entries:
                listing = sorted(entries, key=lambda entry: entry.name)
        except OSError as error:
            selection._note_unread(directory, error)  # noqa: SLF001 (one module, one memory)
            unread.add(directory)
            continue
        below: list[Path] = []
        for entry in listing:
            if selection.ignores(entry.name):
                continue
            path = directory / entry.name
            is_named_so = selection.has_suffix(entry.name)
            match _kind(entry):
                case "file" if is_named_so:
                    yield path
                case "directory":
                    if is_named_so:
                        no_files.add(path)
                        selection._note_no_file(path, "is a directory")  # noqa: SLF001
                    if recursive:
                        (links if entry.is_symlink() else below).append(path)
                case "special" if is_named_so:
                    no_files.add(path)
                    selection._note_no_file(path, "is no regular file")  # noqa: SLF001
        directories.extend(reversed(below))
    selection._forget_unread(root, unread)  # noqa: SLF001
    selection._forget_no_files(root, no_files)  # noqa: SLF001


def _kind(entry: os.DirEntry[str]) -> str:
    """Return what an entry is, behind links, by looking it up as seldom as possible."""
    try:
        if entry.is_file():
            return "file"
        if entry.is_dir():
            return "directory"
        entry.stat()
    except OSError:
        # It went away since the listing, or it is a link to nowhere.
        return "gone"
    return "special"
