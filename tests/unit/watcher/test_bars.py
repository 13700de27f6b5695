"""Where bars are shown, and where what is said beside them goes."""

from __future__ import annotations

import io
import logging
import sys

import pytest
from rich.console import Console

from watcher.bars import SayingHandler, bars, speaker


class Stream(io.StringIO):
    """A stream that says whether it is a terminal."""

    def __init__(self, *, is_terminal: bool) -> None:
        super().__init__()
        self._is_terminal = is_terminal

    def isatty(self) -> bool:
        return self._is_terminal


@pytest.mark.parametrize("force", [None, True])
def test_only_a_terminal_has_bars(force: bool | None) -> None:
    for is_terminal in (False, True):
        console = Console(file=Stream(is_terminal=is_terminal), force_terminal=force)
        with bars(console) as shown:
            assert (shown is not None) is is_terminal


@pytest.mark.parametrize(
    ("out", "err", "above"), [(True, True, True), (True, False, False), (False, True, False)]
)
def test_only_on_a_shared_terminal_sentences_go_above_the_bars(
    out: bool, err: bool, above: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    stdout, stderr = Stream(is_terminal=out), Stream(is_terminal=err)
    monkeypatch.setattr(sys, "stderr", stderr)
    say = speaker(Console(file=stdout, width=20))
    sentence = "[red] :smile: a sentence longer than the terminal is wide: 17"
    say(sentence)
    said, silent = (stdout, stderr) if above else (stderr, stdout)
    assert (said.getvalue(), silent.getvalue()) == (f"{sentence}\n", "")


def test_records_of_the_log_are_said() -> None:
    said: list[str] = []
    handler = SayingHandler(said.append)
    handler.setFormatter(logging.Formatter("%(levelname)s %(message)s"))
    handler.handle(logging.LogRecord("x", logging.INFO, "", 1, "masked hdu=%d", (3,), None))
    assert said == ["INFO masked hdu=3"]
