"""What every test may use: the real exposures, where they are at hand."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

import pytest

REAL_EXPOSURES = Path(
    os.environ.get("REAL_EXPOSURES", Path(__file__).parents[2] / "shared" / "real")
)


@pytest.fixture(scope="session")
def real() -> Callable[[str], Path]:
    """Return a function from a name in the folder of real exposures to its path."""

    def path_of(name: str) -> Path:
        path = REAL_EXPOSURES / name
        if not path.exists():
            pytest.skip(f"no real exposure {name}: the folder {REAL_EXPOSURES} does not hold it")
        return path

    return path_of
