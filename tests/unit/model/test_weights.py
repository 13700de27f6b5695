"""Weights: read, checked, written, imported."""

from __future__ import annotations

import dataclasses
import shutil
from pathlib import Path

import numpy as np
import pytest
from maximask_and_maxitrack.maximask.maximask import MaxiMask_inference

from model import converter
from model.card import PresetError
from model.preset import PRESETS, find_preset, read_card
from model.weights import LayerWeights, check_weights, main, read_weights, write_weights

PRESET = "maximask-1.4"


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    shutil.copytree(PRESETS / PRESET, folder)
    return folder


def test_a_preset_may_be_a_folder(preset: Path) -> None:
    found = find_preset(str(preset))
    assert found.card.classes == read_card(PRESET).classes
    assert set(read_weights(found)) >= {"conv1", "final_conv"}


def test_damaged_weights_are_refused_by_their_checksum(preset: Path) -> None:
    with (preset / "weights.npz").open("r+b") as file:
        file.seek(1000)
        file.write(b"x")
    with pytest.raises(PresetError, match=r"weights\.npz have SHA-256 .* restore the preset"):
        read_weights(find_preset(str(preset)))


def test_weights_without_a_layer_are_refused(preset: Path) -> None:
    weights = dict(read_weights(find_preset(PRESET)))
    del weights["upconv2"]
    digest = write_weights(weights, preset / "weights.npz")
    found = find_preset(str(preset))
    found = dataclasses.replace(found, card=dataclasses.replace(found.card, sha256=digest))
    with pytest.raises(PresetError, match="no upconv2/kernel, upconv2/bias: restore"):
        read_weights(found)


def test_weights_that_are_not_there_are_named(preset: Path) -> None:
    (preset / "weights.npz").unlink()
    with pytest.raises(PresetError, match=r"weights\.npz cannot be read .*No such file.*: restore"):
        read_weights(find_preset(str(preset)))


def test_every_layer_of_a_wrong_shape_is_listed() -> None:
    weights = dict(read_weights(find_preset(PRESET)))
    for name in ("conv2", "final_conv"):
        layer = weights[name]
        weights[name] = LayerWeights(layer.kernel[:, :, 1:], layer.bias)
    with pytest.raises(PresetError, match=r"here do not fit the network: conv2 .*; final_conv "):
        check_weights(weights, where="here")


def test_weights_are_plain_arrays_without_pickle() -> None:
    with np.load(PRESETS / PRESET / "weights.npz", allow_pickle=False) as arrays:
        assert {array.dtype for array in arrays.values()} == {np.dtype(np.float32)}


def test_the_same_weights_are_written_as_the_same_bytes(tmp_path: Path) -> None:
    weights = read_weights(find_preset(PRESET))
    assert write_weights(weights, tmp_path / "again.npz") == read_card(PRESET).sha256


def test_a_missing_preset_is_named_with_those_that_exist() -> None:
    with pytest.raises(PresetError, match=r"no preset 'nothing': name one of maximask-1\.4"):
        find_preset("nothing")


def test_a_card_with_a_missing_field_is_refused(preset: Path) -> None:
    card = preset / "card.toml"
    card.write_text(card.read_text().replace('paper = "', 'papers = "'))
    with pytest.raises(PresetError, match=r"card\.toml cannot be used .*papers"):
        read_card(str(preset))


def test_the_import_writes_the_committed_preset_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(converter.import_maximask, "__defaults__", (tmp_path,))
    assert main(["import-maximask"]) == 0
    assert str(tmp_path / PRESET) in capsys.readouterr().out
    for name in ("card.toml", "weights.npz", "LICENSE"):
        assert (tmp_path / PRESET / name).read_bytes() == (PRESETS / PRESET / name).read_bytes()
    assert "Copyright 2018 Maxime Paillassa" in (tmp_path / PRESET / "LICENSE").read_text()


def test_the_import_says_what_is_missing(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(converter, "PACKAGE", "maximask-of-tomorrow")
    assert main(["import-maximask"]) == 1
    assert "maximask-of-tomorrow is not installed" in capsys.readouterr().err
    monkeypatch.setattr(converter, "PACKAGE", "numpy")
    assert main(["import-maximask"]) == 1
    assert "install numpy==1.4.1" in capsys.readouterr().err


def test_other_words_than_import_maximask_get_the_usage(
    capsys: pytest.CaptureFixture[str],
) -> None:
    assert main(["import"]) == 2
    assert "usage:" in capsys.readouterr().err


def test_the_card_has_the_published_classes_priors_and_thresholds() -> None:
    classes = read_card(PRESET).classes
    assert " ".join(c.name for c in classes) == "CR HCL DCL HP DP P TRL FR NEB SAT SP OV BBG BG"
    assert [c.index for c in classes] == list(range(14))
    trained_with = [c.training_prior for c in classes]
    np.testing.assert_array_equal(np.float32(trained_with), MaxiMask_inference.tr_priors)
    assert [c.bit for c in classes] == [*(1 << k for k in range(13)), 0]
