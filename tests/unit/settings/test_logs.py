"""The one log format."""

from __future__ import annotations

import io
import logging
import re
from collections.abc import Iterator

import pytest

from settings.logs import configure, get_logger


@pytest.fixture
def stream() -> Iterator[io.StringIO]:
    root = logging.getLogger()
    before = root.handlers, root.level
    stream = io.StringIO()
    configure("INFO", handler=logging.StreamHandler(stream))
    yield stream
    root.handlers, level = before
    root.setLevel(level)


def test_a_record_has_time_in_utc_level_and_logger(stream: io.StringIO) -> None:
    get_logger("worker.tasks").info("masked path=%s", "a.fits")
    time = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z"
    text = r"INFO    maximaskd\.worker\.tasks masked path=a\.fits\n"
    assert re.fullmatch(f"{time} {text}", stream.getvalue())


def test_libraries_speak_from_warning_on(stream: io.StringIO) -> None:
    logging.getLogger("somebody.else").info("chatter")
    logging.getLogger("somebody.else").warning("trouble")
    assert "chatter" not in stream.getvalue()
    assert "trouble" in stream.getvalue()
