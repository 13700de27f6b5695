"""Which networks a worker keeps for what its tasks ask for."""

from __future__ import annotations

import shutil
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from model.preset import PRESETS, read_card
from settings.schema import MaskSettings
from worker.class_files import Configurations
from worker.overlay import NO_OVERLAY, Overlay
from worker.variants import KEPT, Variant, Variants


class Loader:
    """Stands for networks, and counts them."""

    def __init__(self) -> None:
        self.maskers: list[str] = []
        self.trackers = 0

    def masker(self, preset: str) -> Any:
        self.maskers.append(preset)
        return SimpleNamespace(card=read_card(preset))

    def tracker(self) -> Any:
        self.trackers += 1
        return SimpleNamespace(number=self.trackers)


@pytest.fixture
def loader() -> Loader:
    return Loader()


@pytest.fixture
def own() -> Variant:
    mask, masker = MaskSettings(), SimpleNamespace(card=read_card("maximask-1.4"))
    return Variant(mask, Configurations(mask, masker.card), masker, None)  # type: ignore[arg-type]


@pytest.fixture
def variants(loader: Loader) -> Variants:
    return Variants(loader.masker, loader.tracker)


def test_nothing_asked_for_is_the_workers_own(own: Variant, variants: Variants) -> None:
    assert variants.of(own, NO_OVERLAY) is own
    assert variants.of(own, Overlay(batch_size=1)) is own


def test_other_settings_share_the_network(own: Variant, variants: Variants, loader: Loader) -> None:
    first = variants.of(own, Overlay(mask={"format": "bitmask"}))
    assert first.masker is own.masker
    assert first.mask == MaskSettings(format="bitmask")
    path = Path("/nowhere/a.fits")
    assert first.configurations.of(path).hash != own.configurations.of(path).hash
    again = variants.of(own, Overlay(mask={"format": "bitmask"}))
    assert again.configurations is first.configurations
    assert loader.maskers == []


def test_one_other_preset_is_kept_and_followed(
    own: Variant, variants: Variants, loader: Loader, tmp_path: Path
) -> None:
    for name in ("one", "two"):
        shutil.copytree(PRESETS / "maximask-1.4", tmp_path / name)
    one, two = (Overlay(mask={"preset": str(tmp_path / name)}) for name in ("one", "two"))
    assert variants.of(own, one).masker is variants.of(own, one).masker
    assert variants.of(own, two).masker is not own.masker
    variants.of(own, one)
    card = tmp_path / "one" / "card.toml"
    card.write_text(card.read_text().replace("threshold = ", "threshold = 0.0001 # "))
    changed = variants.of(own, one)
    assert {mask_class.threshold for mask_class in changed.masker.card.classes} == {0.0001}
    assert [Path(preset).name for preset in loader.maskers] == ["one", "two", "one", "one"]


def test_the_tracker_is_loaded_when_it_is_first_asked_for(
    own: Variant, variants: Variants, loader: Loader
) -> None:
    assert variants.of(own, Overlay(mask={"tiles": "reference"})).tracker is None
    for prior in (0.1, 0.2):
        tracking = variants.of(own, Overlay(mask={"track": True, "track_prior": prior}))
        assert tracking.tracker is not None
    assert loader.trackers == 1


def test_few_configurations_are_kept(own: Variant, variants: Variants) -> None:
    first = variants.of(own, Overlay(mask={"track_prior": 0.5}))
    for number in range(KEPT):
        variants.of(own, Overlay(mask={"track_prior": (number + 1) / 100}))
    again = variants.of(own, Overlay(mask={"track_prior": 0.5}))
    assert again.configurations is not first.configurations
