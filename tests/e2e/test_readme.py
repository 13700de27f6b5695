"""What the README shows in Python runs as it stands there."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

README = Path(__file__).parents[2] / "README.md"


def test_the_python_of_the_readme_runs() -> None:
    (program,) = re.findall(r"```python\n(.*?)```", README.read_text(encoding="utf-8"), re.DOTALL)
    names = {"plane": np.random.default_rng(1).normal(100, 5, (60, 70))}
    exec(program, names)  # noqa: S102 (our own README)
    assert names["masks"].shape == (14, 60, 70)
    assert names["masks"].dtype == np.uint8


def test_every_file_that_the_readme_links_to_is_there() -> None:
    links = re.findall(r"\]\((?!https?:)([^)#]+)\)", README.read_text(encoding="utf-8"))
    assert links
    assert [link for link in links if not (README.parent / link).exists()] == []
