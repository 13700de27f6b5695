"""Reads classes.flags, classes.priors and classes.thresh: a file's text in, values by class out."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from enum import StrEnum
from pathlib import Path

from settings.errors import PermanentError

__all__ = ["ClassFile", "ClassFileError", "read_class_file"]

#: Columns of a class file: the class's short name, its value.
N_COLUMNS = 2


class ClassFileError(PermanentError):
    """A class file that does not say, for every class and without doubt, what it should."""


class ClassFile(StrEnum):
    """The three class files, by their names."""

    FLAGS = "classes.flags"
    PRIORS = "classes.priors"
    THRESHOLDS = "classes.thresh"


def read_class_file(
    path: Path, vocabularies: Sequence[Sequence[str]], *, requested: Collection[str] = ()
) -> dict[str, float]:
    """
    Read a class file strictly.

    Parameters
    ----------
    path : Path
        The file; its name is that of a `ClassFile`.
    vocabularies : sequence of sequences of str
        The sets of short names that a file may have, the usual one first. A file must have all
        classes of one of them, in any order, and no others.
    requested : collection of str, optional
        Classes whose values must make sense; of all others, only the form is looked at. All
        classes if empty.

    Returns
    -------
    dict of str to float
        The values by class, in the order of the vocabulary. Flags are 0 and 1.

    Raises
    ------
    ClassFileError
        Where the file cannot be read, a line is malformed or out of bounds, or a class is missing,
        unknown or repeated; the sentence names file and line, and what was expected there.

    References
    ----------
    The manual of MaxiMask 2018, "File syntax and class names".
    """
    kind = ClassFile(path.name)
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise ClassFileError(
            f"{path} cannot be read ({error}): mend it, or remove it to use the defaults."
        ) from error
    rows: dict[str, tuple[int, float]] = {}
    known = {name for names in vocabularies for name in names}
    for number, line in enumerate(lines, start=1):
        if not line.strip():
            continue
        name, value = _columns(line, known, f"{path}, line {number}", kind)
        if name in rows:
            raise ClassFileError(
                f"{path}, line {number}: class {name} stands in line {rows[name][0]} already: "
                "remove one of the two."
            )
        rows[name] = number, value
    vocabulary = _vocabulary(path, vocabularies, rows)
    for name in vocabulary:
        if not requested or name in requested:
            _check_value(kind, rows[name][1], f"{path}, line {rows[name][0]}: class {name}")
    return {name: rows[name][1] for name in vocabulary}


def _columns(line: str, known: set[str], where: str, kind: ClassFile) -> tuple[str, float]:
    """Split a line into a known class and a number."""
    columns = line.split()
    example = f"`{min(known)} {'1' if kind is ClassFile.FLAGS else '0.5'}`"
    if len(columns) != N_COLUMNS:
        raise ClassFileError(
            f"{where}: {len(columns)} columns instead of a class and its value: write for example "
            f"{example}."
        )
    name, text = columns
    if name not in known:
        if text in known and _number(name) is not None:
            raise ClassFileError(
                f"{where}: the value stands before the class: write `{text} {name}`."
            )
        raise ClassFileError(
            f"{where}: there is no class {name}: expected one of {' '.join(sorted(known))}."
        )
    value = _number(text)
    if value is None:
        raise ClassFileError(f"{where}: {text!r} is no number: write for example {example}.")
    return name, value


def _number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _vocabulary(
    path: Path, vocabularies: Sequence[Sequence[str]], rows: Mapping[str, tuple[int, float]]
) -> Sequence[str]:
    """Return the vocabulary that the file's classes are, whole and without others."""
    # The names that the vocabularies do not share tell which of them is meant.
    names = max(vocabularies, key=lambda names: len(set(names) & set(rows)))
    for name, (number, _) in rows.items():
        if name not in names:
            raise ClassFileError(
                f"{path}, line {number}: class {name} is of another release than the others: use "
                f"the names of one ({' '.join(names)})."
            )
    if missing := [name for name in names if name not in rows]:
        raise ClassFileError(
            f"{path} has no line for {' '.join(missing)}: give each of the {len(names)} classes "
            f"({' '.join(names)}) one."
        )
    return names


def _check_value(kind: ClassFile, value: float, where: str) -> None:
    match kind:
        case ClassFile.FLAGS if value not in (0, 1):
            raise ClassFileError(f"{where} has the flag {value:g}: write 1 (wanted) or 0 (not).")
        case ClassFile.PRIORS if not 0 < value < 1:
            raise ClassFileError(
                f"{where} has the prior {value:g}: write a number greater than 0 and less than 1."
            )
        case ClassFile.THRESHOLDS if not 0 <= value <= 1:
            raise ClassFileError(f"{where} has the threshold {value:g}: write a number 0 to 1.")
