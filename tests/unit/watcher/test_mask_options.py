"""What the options of a mask mean, whichever command takes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import click
import pytest
from click.testing import CliRunner
from maximask_and_maxitrack.utils import str2bool

from settings.schema import MaskSettings
from watcher.mask_command import mask
from watcher.mask_options import mask_options, overlay_of
from watcher.submit_command import submit
from worker.overlay import NO_OVERLAY, Overlay


def read(*words: str) -> Overlay:
    """Parse words as the commands do."""
    found: list[Overlay] = []

    @click.command()
    @mask_options
    def command(**options: object) -> None:
        found.append(overlay_of(options))

    result = CliRunner().invoke(command, words, standalone_mode=False)
    if result.exception:
        raise result.exception
    return found[0]


def test_no_option_asks_for_nothing() -> None:
    assert read() == NO_OVERLAY


@pytest.mark.parametrize(
    ("words", "mask"),
    [
        (("--proba_thresh", "no"), {"format": "probabilities"}),
        (("--proba_thresh", "yes"), {"format": "masks"}),
        (("--single_mask", "yes"), {"format": "bitmask"}),
        (("--single_mask", "no"), {"format": "masks"}),
        (("--single_mask", "no", "--format", "bitmask"), {"format": "bitmask"}),
        (("--prior_modif", "no"), {"prior_modif": False}),
        (("--hdus", "1", "--hdus", "SCI*"), {"hdus": ["1", "SCI*"]}),
        (("--others", "drop", "--compress", "rice"), {"others": "drop", "compress": "rice"}),
        (("--vocabulary", "2018", "--tiles", "wide"), {"vocabulary": "2018", "tiles": "wide"}),
        (
            ("--track", "--prior", "0.1", "--frac", "0.5"),
            {"track": True, "track_prior": 0.1, "track_frac": 0.5},
        ),
    ],
)
def test_options_are_mask_settings(words: tuple[str, ...], mask: dict[str, object]) -> None:
    assert read(*words) == Overlay(mask=mask)
    assert set(mask) <= set(MaskSettings.model_fields)


def test_paths_are_made_absolute_and_shipped_presets_are_not(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path / "home"))
    for name in ("mine", "maximask-1.4"):
        (tmp_path / name).mkdir()
    words = ("--net_dir", "mine", "--config_dir", "~/etc", "--output-dir", "out")
    assert read(*words) == Overlay(
        mask={"preset": str(tmp_path / "mine"), "config_dir": str(tmp_path / "home" / "etc")},
        output_dir=tmp_path / "out",
    )
    for name in ("maximask-1.4", "nowhere"):
        assert read("--net_path", name) == Overlay(mask={"preset": name})


@pytest.mark.parametrize("word", ["yes", "true", "t", "y", "1", "no", "false", "f", "n", "0"])
@pytest.mark.parametrize("spell", [str.lower, str.title, str.upper])
def test_booleans_are_spelled_as_in_the_published_tool(
    spell: Callable[[str], str], word: str
) -> None:
    assert read("--prior_modif", spell(word)).mask == {"prior_modif": str2bool(spell(word))}
    product = "bitmask" if str2bool(word) else "masks"
    assert read("--single_mask", spell(word)).mask == {"format": product}


def test_submit_takes_every_option_of_mask_with_the_same_spelling() -> None:
    def options(command: click.Command) -> dict[str, tuple[object, ...]]:
        return {
            word: (one.name, one.type.name, one.help, one.multiple)
            for one in command.params
            if isinstance(one, click.Option)
            for word in one.opts
            if word not in {"-v", "--verbose"}
        }

    assert options(mask).items() <= options(submit).items()
    assert {"-v", "--verbose"} <= {word for one in submit.params for word in one.opts}


def test_batch_size_is_no_mask_setting() -> None:
    assert read("--batch_size", "3") == Overlay(batch_size=3)
