"""Finds the class files of an exposure: its directory and root in, the mask settings to use out."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path

from model.card import Card
from model.probability import make_recipe, speaks_2018
from model.track_weights import TRACK_PRESET, read_track_card
from model.vocabulary import CLASSES_2018, SOURCES_2018
from settings.classes import ClassFile, ClassFileError, read_class_file
from settings.errors import PermanentError
from settings.schema import MaskSettings
from worker.identity import configuration_hash

__all__ = ["CLASS_FILES", "Configuration", "Configurations"]

#: Names of the files that say which classes, priors and thresholds to use.
CLASS_FILES = frozenset(kind.value for kind in ClassFile)

_Signature = tuple[tuple[int, int, int] | None, ...]


@dataclass(frozen=True)
class Configuration:
    """
    What decides about the masks of the exposures in one directory.

    Parameters
    ----------
    mask : MaskSettings
        The settings, with what the class files say.
    files : mapping of str to Path
        The class files that were used, by their names.
    hash : str
        Short hash of all of it, and of the networks.
    problem : PermanentError or None
        Why nothing can be masked so: a class file is malformed.
    """

    mask: MaskSettings
    files: Mapping[str, Path]
    hash: str
    problem: PermanentError | None = None


class Configurations:
    """
    The configurations of all directories under one set of settings.

    Parameters
    ----------
    settings : MaskSettings
        The settings.
    card : Card
        The preset's card.
    look_s : float, optional
        Seconds for which a directory's class files are taken to be as they were seen.

    Notes
    -----
    Each class file is looked for in the exposure's directory, in its watched root, and in
    `mask.config_dir`; the first one found counts, whole. Where there is none, the settings and the
    preset's defaults count. A file that is malformed is never passed over: nothing is masked with
    a guess.
    """

    def __init__(self, settings: MaskSettings, card: Card, *, look_s: float = 0.0) -> None:
        self._settings, self._card, self._look_s = settings, card, look_s
        self._networks = [card.fingerprint]
        if settings.track:
            self._networks.append(read_track_card(TRACK_PRESET)[0].sha256)
        self._known: dict[tuple[Path, ...], tuple[float, _Signature, Configuration]] = {}

    def of(self, exposure: Path, root: Path | None = None) -> Configuration:
        """
        Return what decides about an exposure's masks.

        Parameters
        ----------
        exposure : Path
            The exposure.
        root : Path, optional
            The watched root that it lies in.

        Returns
        -------
        Configuration
            Also where a class file is malformed: then it says so.
        """
        places = (exposure.parent, root, self._settings.config_dir)
        directories = tuple(dict.fromkeys(place for place in places if place is not None))
        known = self._known.get(directories)
        if known and time.monotonic() - known[0] < self._look_s:
            return known[2]
        signature = _signature(directories)
        unchanged = known is not None and known[1] == signature
        configuration = known[2] if known and unchanged else self._read(directories)
        self._known[directories] = (time.monotonic(), signature, configuration)
        return configuration

    def _read(self, directories: Iterable[Path]) -> Configuration:
        files: dict[str, Path] = {}
        for kind in self._kinds():
            for directory in directories:
                if (directory / kind).exists():
                    files[kind.value] = directory / kind
                    break
        try:
            mask = self._settings.model_copy(update=self._values(files))
            make_recipe(self._card, mask)
        except PermanentError as error:
            digest = configuration_hash(self._settings, self._networks, problem=str(error))
            return Configuration(self._settings, files, digest, error)
        return Configuration(mask, files, configuration_hash(mask, self._networks))

    def _kinds(self) -> list[ClassFile]:
        """Return the files that matter: what is not applied is not looked for."""
        kinds = [ClassFile.FLAGS]
        if self._settings.prior_modif:
            kinds.append(ClassFile.PRIORS)
        if self._settings.format != "probabilities":
            kinds.append(ClassFile.THRESHOLDS)
        return kinds

    def _values(self, files: Mapping[str, Path]) -> dict[str, object]:
        names = tuple(mask_class.name for mask_class in self._card.classes)
        vocabularies = [names, CLASSES_2018] if speaks_2018(self._card) else [names]
        values: dict[str, object] = {}
        wanted: Iterable[str] = self._settings.classes or names
        of_wanted: Iterable[str] = names if set(wanted) <= set(names) else CLASSES_2018
        if path := files.get(ClassFile.FLAGS):
            flags = read_class_file(path, vocabularies)
            wanted, of_wanted = [name for name, flag in flags.items() if flag], flags
            if not wanted:
                raise ClassFileError(f"{path} asks for no class: set at least one flag to 1.")
            # All of the preset's own is what no file at all asks for.
            values["classes"] = () if wanted == list(names) else tuple(wanted)
        requested = _requested(set(wanted), set(of_wanted), {*names, *CLASSES_2018})
        for kind, field in ((ClassFile.PRIORS, "priors"), (ClassFile.THRESHOLDS, "thresholds")):
            if path := files.get(kind):
                read = read_class_file(path, vocabularies, requested=requested)
                values[field] = {name: read[name] for name in read if name in requested}
        return values


def _requested(wanted: set[str], vocabulary: set[str], names: Iterable[str]) -> set[str]:
    """Return, under the names of both releases, the classes that are asked for under one's."""
    sources = {SOURCES_2018.get(name, (name, None))[0] for name in wanted}
    return {
        name
        for name in names
        if name in wanted
        or (name not in vocabulary and SOURCES_2018.get(name, (name, None))[0] in sources)
    }


def _signature(directories: Iterable[Path]) -> _Signature:
    """Tell versions of the class files apart without reading them."""
    seen: list[tuple[int, int, int] | None] = []
    for directory in directories:
        for kind in ClassFile:
            try:
                stat = os.stat(directory / kind)  # noqa: PTH116 (thousands of times a sweep)
            except OSError:
                seen.append(None)
            else:
                seen.append((stat.st_mtime_ns, stat.st_size, stat.st_ino))
    return tuple(seen)
