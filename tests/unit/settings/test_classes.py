"""The class files: what is accepted, and the sentence for everything else."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from settings.classes import ClassFileError, read_class_file

NEW = ("CR", "HCL", "BG")
OLD = ("CR", "HC", "BG")


def read(folder: Path, name: str, text: str, **options: object) -> dict[str, float]:
    (folder / name).write_text(text)
    return read_class_file(folder / name, [NEW, OLD], **options)


def test_values_are_read_by_class_whatever_the_order_and_spacing(tmp_path: Path) -> None:
    text = "BG  0.9\nHCL 1e-5\n\nCR 0.0005\n"
    assert read(tmp_path, "classes.priors", text) == {"CR": 0.0005, "HCL": 1e-5, "BG": 0.9}


def test_the_names_of_the_other_release_are_accepted_as_a_whole(tmp_path: Path) -> None:
    text = "CR 1\nHC 0\nBG 1\n"
    assert read(tmp_path, "classes.flags", text) == {"CR": 1, "HC": 0, "BG": 1}


@pytest.mark.parametrize(
    ("name", "text", "sentence"),
    [
        ("classes.flags", "CR 1\nBG 1\n", "has no line for HCL: give each of the 3 classes"),
        ("classes.flags", "CR 1\nXX 1\nBG 1\n", "line 2: there is no class XX: expected one of"),
        ("classes.flags", "CR 1\nHCL 1\nCR 0\nBG 1\n", "line 3: class CR stands in line 1 already"),
        ("classes.flags", "CR 1\nHCL 1\nHC 1\nBG 1\n", "line 3: class HC is of another release"),
        ("classes.flags", "CR 1\nHCL 2\nBG 1\n", "line 2: class HCL has the flag 2: write 1"),
        ("classes.flags", "CR 1\nHCL yes\nBG 1\n", "line 2: 'yes' is no number: write for example"),
        ("classes.flags", "CR 1\n1 HCL\nBG 1\n", "line 2: the value stands before the class"),
        ("classes.flags", "CR 1\nHCL\nBG 1\n", "line 2: 1 columns instead of a class and its"),
        ("classes.flags", "CR 1\nHCL 1 # x\nBG 1\n", "line 2: 4 columns instead of"),
        ("classes.flags", "", "has no line for CR HCL BG"),
        ("classes.priors", "CR 0\nHCL .1\nBG .5\n", "line 1: class CR has the prior 0: write"),
        ("classes.priors", "CR .1\nHCL 1\nBG .5\n", "line 2: class HCL has the prior 1: write"),
        ("classes.priors", "CR .1\nHCL nan\nBG .5\n", "line 2: class HCL has the prior nan"),
        ("classes.priors", "CR .1\nHCL -.1\nBG .5\n", "line 2: class HCL has the prior -0.1: w"),
        ("classes.thresh", "CR .1\nHCL 1.5\nBG .5\n", "line 2: class HCL has the threshold 1.5"),
        ("classes.thresh", "CR .1\nHCL -1\nBG .5\n", "line 2: class HCL has the threshold -1"),
    ],
)
def test_anything_else_is_refused_with_file_line_and_what_to_write(
    name: str, text: str, sentence: str, tmp_path: Path
) -> None:
    with pytest.raises(ClassFileError) as error:
        read(tmp_path, name, text)
    assert str(error.value).startswith(str(tmp_path / name))
    assert sentence in str(error.value)
    assert re.search(r": (write|use|remove|expected|give) .+\.\Z", str(error.value))
    assert "\n" not in str(error.value)


def test_of_classes_that_are_not_requested_only_the_form_matters(tmp_path: Path) -> None:
    text = "CR .1\nHCL 7\nBG .5\n"
    assert read(tmp_path, "classes.priors", text, requested={"CR"})["HCL"] == 7
    with pytest.raises(ClassFileError, match="line 2: 'seven' is no number"):
        read(tmp_path, "classes.priors", "CR .1\nHCL seven\nBG .5\n", requested={"CR"})


def test_what_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "classes.flags").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(ClassFileError, match=r"classes\.flags cannot be read .*mend it"):
        read_class_file(tmp_path / "classes.flags", [NEW])
