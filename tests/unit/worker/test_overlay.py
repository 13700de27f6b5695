"""What a command asks for survives its message, and is checked by the schema of the settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from settings.schema import MaskSettings
from worker.overlay import NO_OVERLAY, Order, Overlay, OverlayError


def test_only_what_was_asked_for_travels() -> None:
    overlay = Overlay(mask={"hdus": ["SCI*"], "track": True}, output_dir=Path("/masks"))
    options = overlay.as_options()
    assert options == {"mask": {"hdus": ["SCI*"], "track": True}, "output_dir": "/masks"}
    assert Overlay.read(json.loads(json.dumps(options))) == overlay
    assert NO_OVERLAY.as_options() == {}


def test_it_is_laid_over_the_settings_of_whoever_reads_it() -> None:
    own = MaskSettings(tiles="reference", classes=("CR",), config_dir=Path("/etc/night"))
    both = Overlay(mask={"format": "bitmask", "classes": ["HP", "CR"]}).over(own)
    assert both == MaskSettings(
        tiles="reference", format="bitmask", classes=("HP", "CR"), config_dir=Path("/etc/night")
    )
    assert NO_OVERLAY.over(own) is own


def test_what_contradicts_the_readers_settings_is_refused() -> None:
    with pytest.raises(OverlayError, match="columns and lines are told apart"):
        Overlay(mask={"format": "probabilities"}).over(MaskSettings(vocabulary="2018"))


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"batch_size": "many"}, "option batch_size: Input should be a valid integer"),
        ({"output_dir": "here"}, "option output_dir: Value error, it must be absolute"),
        ({"mask": None}, "option mask: Input should be a valid dictionary"),
        ({"other": 1}, "option other: Extra inputs"),
        ({1: 2}, "no names of options"),
    ],
)
def test_options_that_do_not_fit_are_refused_in_a_sentence(
    options: dict[str, object], sentence: str
) -> None:
    with pytest.raises(OverlayError, match=sentence):
        Overlay.read(options)


def test_an_order_knows_whether_a_watcher_may_have_given_it() -> None:
    place = {"root": "/data", "configuration": "c0ffee", "hdu": None}
    assert not Order.read(place).is_submission
    for more in ({"hdu": 0}, {"mask": {"tiles": "wide"}}, {"output_dir": "/m"}, {"batch_size": 1}):
        assert Order.read(place | more).is_submission
