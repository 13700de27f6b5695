"""The settings table of the README."""

from __future__ import annotations

from pathlib import Path

import pytest

from settings.sources import variable_names
from settings.table import settings_table


@pytest.fixture(autouse=True)
def default_state_directory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("XDG_STATE_HOME", raising=False)


def test_every_setting_has_a_row_with_its_meaning() -> None:
    rows = settings_table().splitlines()[2:]
    assert len(rows) == len(variable_names())
    assert all(row.split(" | ")[3].strip(" |") for row in rows)
    assert (
        "| `worker.max_attempts` | `MAXIMASKD_WORKER_MAX_ATTEMPTS` | `3` | "
        "Attempts that end without a result before an exposure is quarantined. |"
    ) in rows


def test_the_readme_shows_this_table() -> None:
    readme = Path(__file__).parents[3] / "README.md"
    assert settings_table() in readme.read_text(encoding="utf-8")
