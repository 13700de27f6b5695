"""What the tests of the model share: a masker, loaded once."""

from __future__ import annotations

import pytest

from model.engine import Device
from model.masker import Masker


@pytest.fixture(scope="session")
def masker() -> Masker:
    """Return the default preset's masker on the CPU."""
    return Masker(device=Device.CPU)
