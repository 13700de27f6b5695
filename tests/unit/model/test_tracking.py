"""Tracking errors: scores against the published MaxiTrack, blocks, presets."""

from __future__ import annotations

import dataclasses
import hashlib
import importlib.metadata
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf
from astropy.io import fits
from maximask_and_maxitrack.maxitrack.maxitrack import MaxiTrack_inference

from model import converter
from model.background_1_4 import clean_plane, estimate_background
from model.card import PresetError
from model.preset import PRESETS
from model.track_converter import SLOPE_STEP, import_maxitrack, prune_track, published_layers
from model.track_weights import (
    CONVOLUTIONS,
    TrackLayer,
    TrackWeights,
    fit_layers,
    read_track_card,
    read_track_weights,
    write_track_weights,
)
from model.tracking import BLOCK, Tracker, aggregate, blocks, choose_hdus
from model.weights import main

PRESET = "maxitrack-1.4"
REAL = (
    "nickel_series/d1047.fits",
    "lco_0m4_kb29_banzai.fits.fz",
    "apogee_eso085_aligned.fit",
    "saao_ste3_a8280271.fits",
    "hsc_trail_400.fits",
    "lco_0m4_trails_400.fits",
    "vatt4k_trails_400.fits",
    "panoptes_dslr_bayer.fits",
    "twomass_m17_K.fits.gz",
)
#: Lengths of the trails of synthetic stars, in pixels, from well tracked to lost.
TRAILS = (0, 2, 4, 5, 6, 20)

Published = Callable[[np.ndarray, "float | None"], np.ndarray]


@pytest.fixture(scope="module")
def tracker() -> Tracker:
    return Tracker()


@pytest.fixture(scope="module")
def model() -> Any:
    """Return the published model."""
    folder = importlib.metadata.distribution("maximask").locate_file(
        "maximask_and_maxitrack/maxitrack/model"
    )
    return tf.saved_model.load(str(folder))


@pytest.fixture(scope="module")
def published(model: Any) -> Published:
    """Return the published model as a function from a normalised plane to its blocks' scores."""

    def scores(plane: np.ndarray, prior: float | None) -> np.ndarray:
        # More blocks than a batch would meet the defect that leaves zeros behind.
        return np.asarray(MaxiTrack_inference("", "", prior, 1, 64).process_image(plane, model))

    return scores


@pytest.fixture(scope="module")
def layers() -> TrackWeights:
    return published_layers()


@pytest.fixture
def preset(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    shutil.copytree(PRESETS / PRESET, folder)
    return folder


def first_plane(path: Path) -> np.ndarray:
    with fits.open(path) as hdus:
        return next(np.array(hdu.data) for hdu in hdus if hdu.is_image and hdu.data is not None)


def star_field(trail: float, *, seed: int, shape: tuple[int, int] = (BLOCK, BLOCK)) -> np.ndarray:
    """Draw stars that moved by so many pixels during the exposure."""
    chance = np.random.default_rng(seed)
    yy, xx = np.mgrid[: shape[0], : shape[1]]
    steps = np.linspace(-0.5, 0.5, max(3 * int(trail), 1)) * trail
    angle = chance.uniform(0, np.pi)
    plane = np.full(shape, 1000.0)
    for _ in range(shape[0] * shape[1] // 3000):
        y, x = chance.uniform(0, shape[0]), chance.uniform(0, shape[1])
        peak = np.exp(chance.uniform(3, 7)) * 3 / steps.size
        for step in steps:
            cy, cx = y + step * np.sin(angle), x + step * np.cos(angle)
            near = np.s_[max(int(cy) - 8, 0) : int(cy) + 9, max(int(cx) - 8, 0) : int(cx) + 9]
            plane[near] += peak * np.exp(-((yy[near] - cy) ** 2 + (xx[near] - cx) ** 2) / 6.5)
    return chance.poisson(plane) + chance.normal(0, 5, shape)


def assert_published_score(tracker: Tracker, published: Published, plane: np.ndarray) -> float:
    clean = clean_plane(plane)
    background = estimate_background(clean)
    normalised = background.normalise(clean)
    for prior in (None, 0.05):
        ours = tracker(clean, background, prior=prior)
        assert ours == pytest.approx(published(normalised, prior).mean(), rel=0, abs=1e-4)
    assert ours is not None
    return ours


@pytest.mark.parametrize("name", REAL)
def test_scores_of_real_planes_are_the_published(
    name: str, tracker: Tracker, published: Published, real: Callable[[str], Path]
) -> None:
    assert_published_score(tracker, published, first_plane(real(name)))


def test_scores_of_trailed_stars_are_the_published(tracker: Tracker, published: Published) -> None:
    scores = [
        assert_published_score(tracker, published, star_field(trail, seed=0)) for trail in TRAILS
    ]
    assert scores[0] < 0.01
    assert scores[-1] > 0.99
    assert sum(0.01 < score < 0.99 for score in scores) >= 2


def test_logits_are_the_published_before_the_softmax(tracker: Tracker, model: Any) -> None:
    tiles = []
    for trail in TRAILS:
        clean = clean_plane(star_field(trail, seed=0))
        tiles.append(estimate_background(clean).normalise(clean))
    batch = np.stack(tiles)
    both = np.asarray(model(batch[..., None], False), np.float64)
    expected = np.log(both[:, 1]) - np.log(both[:, 0])
    assert np.ptp(expected) > 5
    np.testing.assert_allclose(tracker._logits(batch), expected, rtol=0, atol=1e-3)


def test_the_whole_package_agrees_on_a_file(tracker: Tracker, model: Any, tmp_path: Path) -> None:
    plane = star_field(6, seed=3, shape=(850, 430)).astype(np.float32)
    fits.writeto(tmp_path / "exposure.fits", plane)
    package = MaxiTrack_inference("", "", 0.05, 1, 16)
    (expected,), _ = package.process_hdu(str(tmp_path / "exposure.fits"), 0, model)
    clean = clean_plane(plane)
    ours = tracker(clean, estimate_background(clean))
    assert ours == pytest.approx(expected, rel=0, abs=1e-4)


def test_the_size_of_the_batches_does_not_matter(tracker: Tracker) -> None:
    clean = clean_plane(star_field(6, seed=4, shape=(1210, 420)))
    background = estimate_background(clean)
    whole = tracker(clean, background)
    assert Tracker(batch_size=2)(clean, background) == pytest.approx(whole, rel=0, abs=1e-6)


def test_a_plane_smaller_than_a_block_has_no_score(tracker: Tracker) -> None:
    clean = np.zeros((399, 1000), np.float32)
    assert tracker(clean, estimate_background(clean)) is None


def test_blocks_end_at_the_far_edges_and_do_not_overlap() -> None:
    cut = blocks((1056, 1024))
    assert [(rows.start, columns.start) for rows, columns in cut] == [
        (256, 224), (256, 624), (656, 224), (656, 624)
    ]  # fmt: skip
    assert {side.stop - side.start for window in cut for side in window} == {BLOCK}
    assert blocks((400, 400)) == [(slice(0, 400), slice(0, 400))]
    assert blocks((400, 399)) == []


def test_blocks_are_those_of_the_package() -> None:
    package = MaxiTrack_inference("", "", None, 1, 16)
    for shape in ((401, 1999), (800, 2048), (399, 500)):
        ours = [[columns.start, rows.start] for rows, columns in blocks(shape)]
        assert ours == package.get_block_coords(*shape)


def test_the_score_of_an_exposure_is_the_mean_of_its_hdus() -> None:
    assert aggregate([0.25, 0.75, 0.5]) == pytest.approx(0.5)
    assert aggregate([]) is None


def test_the_choice_of_hdus_depends_on_the_exposure_alone() -> None:
    chosen = choose_hdus(range(1, 63), 0.1, "night/a")
    assert len(chosen) == 6
    assert list(chosen) == sorted(set(chosen))
    assert chosen == choose_hdus(range(62, 0, -1), 0.1, "night/a")
    assert chosen != choose_hdus(range(1, 63), 0.1, "night/b")
    assert len(choose_hdus((3, 5), 0.01, "x")) == 1
    assert choose_hdus((5, 3), 1.0, "x") == (3, 5)
    assert choose_hdus((), 0.5, "x") == ()


def test_the_preset_holds_the_published_weights(
    layers: TrackWeights, tracker: Tracker, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    monkeypatch.setattr(import_maxitrack, "__defaults__", (tmp_path,))
    assert main(["import-maxitrack"]) == 0
    assert str(tmp_path / PRESET) in capsys.readouterr().out
    for preset in (PRESET, str(tmp_path / PRESET)):
        card, folder = read_track_card(preset)
        for name, layer in read_track_weights(card, folder).items():
            np.testing.assert_array_equal(layer.kernel, layers[name].kernel)
            np.testing.assert_array_equal(layer.bias, layers[name].bias)
            if layer.slopes is not None:
                step = SLOPE_STEP if name in CONVOLUTIONS else 0
                np.testing.assert_allclose(layer.slopes, layers[name].slopes, 0, step / 2)
        assert "Copyright 2018 Maxime Paillassa" in (folder / "LICENSE").read_text()
    assert (tracker.name, tracker.sha256) == (PRESET, read_track_card(PRESET)[0].sha256)


def test_dead_filters_go_with_all_that_reads_them(layers: TrackWeights) -> None:
    changed = dict(layers)
    for name in ("conv2", "conv5"):
        layer = layers[name]
        kernel, bias, slopes = layer.kernel.copy(), layer.bias.copy(), np.array(layer.slopes)
        kernel[..., :2], bias[:2], slopes[..., 0], slopes[..., 1] = 0, -1, 0, 0.5
        changed[name] = TrackLayer(kernel, bias, slopes)
    pruned = prune_track(changed)
    assert pruned["conv2"].kernel.shape == (9, 9, 16, 31)
    assert pruned["conv3"].kernel.shape == (9, 9, 31, 64)
    assert pruned["dense1"].kernel.shape == (12 * 12 * 127, 64)
    arrays = {
        f"{name}/{what}": array
        for name, layer in pruned.items()
        for what, array in vars(layer).items()
        if array is not None
    }
    assert fit_layers(arrays, where="here")["conv5"].bias.shape == (127,)
    unchanged = prune_track(layers)
    assert all(unchanged[name].bias.size == layers[name].bias.size for name in layers)


def test_damaged_weights_are_refused_by_their_checksum(preset: Path) -> None:
    with (preset / "weights.npz").open("r+b") as file:
        file.seek(1000)
        file.write(b"damage")
    with pytest.raises(PresetError, match=r"weights\.npz have SHA-256 .* restore the preset"):
        Tracker(str(preset))


def test_a_file_that_is_no_archive_is_refused(preset: Path) -> None:
    card, _ = read_track_card(str(preset))
    (preset / "weights.npz").write_bytes(b"PK\x03\x04 and no more")
    digest = hashlib.sha256((preset / "weights.npz").read_bytes()).hexdigest()
    with pytest.raises(PresetError, match=r"weights\.npz cannot be read .*: restore them"):
        read_track_weights(dataclasses.replace(card, sha256=digest), preset)


def test_missing_and_misshapen_arrays_are_all_listed(preset: Path, layers: TrackWeights) -> None:
    changed = dict(layers)
    changed["conv4"] = dataclasses.replace(layers["conv4"], slopes=None)
    changed["dense2"] = dataclasses.replace(layers["dense2"], kernel=layers["dense2"].kernel[1:])
    del changed["dense3"]
    digest = write_track_weights(changed, preset / "weights.npz")
    card = dataclasses.replace(read_track_card(str(preset))[0], sha256=digest)
    with pytest.raises(PresetError) as caught:
        read_track_weights(card, preset)
    for part in ("conv4/slopes is missing", "dense2/kernel is float32 (63, 64)", "dense3/bias is"):
        assert part in str(caught.value)
    assert "conv3" not in str(caught.value)


def test_a_missing_preset_and_a_broken_card_are_named(preset: Path) -> None:
    with pytest.raises(PresetError, match=r"no preset 'nothing': name one of maxitrack"):
        read_track_card("nothing")
    (preset / "track.toml").write_text('name = "x"\n')
    with pytest.raises(PresetError, match=r"track\.toml cannot be used"):
        read_track_card(str(preset))


def test_the_import_says_what_is_missing_and_how_it_is_called(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([]) == 2
    assert "usage:" in capsys.readouterr().err
    monkeypatch.setattr(converter, "PACKAGE", "maximask-of-tomorrow")
    assert main(["import-maxitrack"]) == 1
    assert "maximask-of-tomorrow is not installed" in capsys.readouterr().err
