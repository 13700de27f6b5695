"""The network against the published SavedModel, in every engine."""

from __future__ import annotations

import importlib.metadata
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from astropy.io import fits

import model.tiles
from model.background_1_4 import clean_plane, estimate_background
from model.converter import published_weights
from model.engine import Device, Engine, EngineName, Precision, make_engine
from model.preset import find_preset
from model.tiles import TilePlan, plan_tiles
from model.weights import Weights, read_weights

SIDE = 400
TILE = plan_tiles((SIDE, SIDE), TilePlan.REFERENCE)[0]
#: Runs the committed preset on a tile from a file, with whatever backend Keras is told to use.
PROGRAM = """
import sys
import numpy as np
from model.preset import find_preset
from model.engine import Device, EngineName, make_engine
from model.tiles import TilePlan, plan_tiles
from model.weights import read_weights
tile = plan_tiles((400, 400), TilePlan.REFERENCE)[0]
weights = read_weights(find_preset("maximask-1.4"))
engine = make_engine(weights, name=EngineName.KERAS, device=Device.CPU)
np.save(sys.argv[2], engine(np.load(sys.argv[1]), tile.rows, tile.columns))
print(engine.name)
"""


@pytest.fixture(scope="module", params=[EngineName.OPENVINO, EngineName.KERAS])
def engine(request: pytest.FixtureRequest) -> Engine:
    """Return the default preset's network in one engine after the other."""
    weights = read_weights(find_preset("maximask-1.4"))
    return make_engine(weights, name=request.param, device=Device.CPU)


@pytest.fixture(scope="module")
def published() -> Callable[[np.ndarray], np.ndarray]:
    """Return the published model as a function from normalised tiles to raw probabilities."""
    distribution = importlib.metadata.distribution("maximask")
    folder = distribution.locate_file("maximask_and_maxitrack/maximask/model")
    model = tf.saved_model.load(str(folder))
    n_classes = 14
    nothing = np.zeros(n_classes, np.float32)

    def probabilities(tiles: np.ndarray) -> np.ndarray:
        classes = np.arange(n_classes, dtype=np.int32)
        result = model([tiles[..., None], classes, nothing, nothing, nothing], False)
        return np.moveaxis(np.asarray(result), -1, 1)

    return probabilities


@pytest.fixture(scope="module")
def tiles(real: Callable[[str], Path]) -> np.ndarray:
    """Return normalised 400 x 400 tiles of three real exposures."""
    names = ("hsc_trail_400.fits", "saao_ste3_a8280271.fits", "panoptes_dslr_bayer.fits")
    windows = []
    for name in names:
        plane = clean_plane(fits.getdata(real(name)))
        windows.append(estimate_background(plane).normalise(plane)[:SIDE, :SIDE])
    return np.stack(windows)


def test_probabilities_are_those_of_the_published_model(
    engine: Engine, tiles: np.ndarray, published: Callable[[np.ndarray], np.ndarray]
) -> None:
    ours = engine(tiles, TILE.rows, TILE.columns)
    assert ours.shape == (3, 14, SIDE, SIDE)
    np.testing.assert_allclose(ours, published(tiles), rtol=0, atol=5e-5)


def test_pruning_changes_probabilities_by_rounding_alone(engine: Engine, tiles: np.ndarray) -> None:
    unpruned: Weights = published_weights()
    whole_engine = make_engine(unpruned, device=Device.CPU)
    whole = whole_engine(tiles[:1], TILE.rows, TILE.columns)
    pruned = engine(tiles[:1], TILE.rows, TILE.columns)
    np.testing.assert_allclose(pruned, whole, rtol=0, atol=5e-5)


def test_the_network_runs_on_another_keras_backend(
    engine: Engine, tiles: np.ndarray, tmp_path: Path
) -> None:
    np.save(tmp_path / "tile.npy", tiles[:1])
    environment = os.environ | {"KERAS_BACKEND": "jax", "JAX_PLATFORMS": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, tmp_path / "tile.npy", tmp_path / "result.npy"],
        env=environment,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.startswith("jax ")
    ours = engine(tiles[:1], TILE.rows, TILE.columns)
    np.testing.assert_allclose(np.load(tmp_path / "result.npy"), ours, rtol=0, atol=5e-5)


def test_a_batch_gives_what_its_tiles_give_one_by_one(engine: Engine, tiles: np.ndarray) -> None:
    together = engine(tiles, TILE.rows, TILE.columns).copy()
    for number in range(len(tiles)):
        alone = engine(tiles[number : number + 1], TILE.rows, TILE.columns)
        np.testing.assert_allclose(alone[0], together[number], rtol=0, atol=1e-5)


def test_the_engines_agree_on_a_wide_tile() -> None:
    plane = np.random.default_rng(4).normal(0, 1, (1, 800, 800)).astype(np.float32)
    for y, x in np.random.default_rng(5).integers(4, 795, (90, 2)):
        plane[0, y : y + 3, x : x + 2] += 40
    # A tile inside a larger plane: margins on all sides, several windows.
    tile = next(
        tile
        for tile in plan_tiles((2000, 2000), TilePlan.WIDE, most_pixels=800 * 800)
        if tile.rows.starts[0] and tile.columns.starts[0] and tile.shape == (800, 800)
    )
    weights = read_weights(find_preset("maximask-1.4"))
    keras, openvino = (
        make_engine(weights, name=name, device=Device.CPU)
        for name in (EngineName.KERAS, EngineName.OPENVINO)
    )
    ours = openvino(plane, tile.rows, tile.columns)
    assert ours.shape == (1, 14, 624, 624)
    # Where two values tie but for rounding, another pixel may win a pooling.
    difference = np.abs(ours - keras(plane, tile.rows, tile.columns))
    assert (difference < 1e-4).mean() > 0.9999


def test_what_the_decoder_leaves_out_does_not_matter_to_what_a_tile_keeps(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    rng = np.random.default_rng(6)
    plane = rng.normal(0, 1, (1, 800, 800)).astype(np.float32)
    for y, x in rng.integers(4, 795, (130, 2)):
        plane[0, y : y + 2, x : x + 3] += 30
    engine = make_engine(read_weights(find_preset("maximask-1.4")), device=Device.CPU)
    results = []
    for margin in (model.tiles.MARGIN, 100):
        monkeypatch.setattr("model.tiles.MARGIN", margin)
        plan = plan_tiles((2000, 2000), TilePlan.WIDE, most_pixels=800 * 800)
        # A tile inside a larger plane: with the larger margin it decodes all that it covers.
        tile = next(tile for tile in plan if tile.rows.starts[0] and tile.columns.starts[0])
        probabilities = engine(plane, tile.rows, tile.columns)[0]
        assert probabilities.shape[1] == 600 + 2 * margin
        results.append(probabilities[:, tile.rows.kept_here, tile.columns.kept_here].copy())
    np.testing.assert_allclose(*results, rtol=0, atol=1e-4)


def test_of_equal_values_the_first_is_the_maximum_that_is_unpooled() -> None:
    from model.network import _pool, _unpool

    plane = np.array([[0, 0, 5, 7], [0, 0, 7, 1], [1, 2, 0, 3], [4, 4, 3, 3]], np.float32)
    highest, winner = _pool(plane[None, :, :, None])
    assert np.asarray(highest)[0, :, :, 0].tolist() == [[0, 7], [4, 3]]
    assert np.asarray(winner)[0, :, :, 0].tolist() == [[0, 1], [2, 1]]
    back = np.asarray(_unpool(highest + 1.0, winner))[0, :, :, 0]
    assert back.tolist() == [[1, 0, 0, 8], [0, 0, 0, 0], [0, 0, 0, 4], [5, 0, 0, 0]]


def test_an_odd_side_is_padded_at_its_end() -> None:
    from model.network import _pool

    plane = np.array([[1, 2, 0], [3, 4, 9], [0, 8, 0]], np.float32)
    highest, winner = _pool(plane[None, :, :, None])
    assert np.asarray(highest)[0, :, :, 0].tolist() == [[4, 9], [8, 0]]
    assert np.asarray(winner)[0, :, :, 0].tolist() == [[3, 2], [1, 0]]


@pytest.mark.parametrize("name", [EngineName.OPENVINO, EngineName.KERAS])
def test_the_finest_scales_in_bfloat16_give_nearly_the_same_scores(
    name: EngineName, tiles: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A processor without bfloat16 computes the same graph in float32, with the rounded kernels.
    monkeypatch.setattr("model.openvino_engine.multiplies_in_bfloat16", lambda _core: True)
    weights = read_weights(find_preset("maximask-1.4"))
    exact, fast = (
        make_engine(weights, name=name, device=Device.CPU, precision=precision)
        for precision in (Precision.FLOAT32, Precision.BFLOAT16)
    )
    scores = []
    for engine in (exact, fast):
        probabilities = engine(tiles, TILE.rows, TILE.columns).astype(np.float64)
        assert engine.name.endswith(f" {engine.precision}")
        # Float32 tells no scores apart whose probabilities are 0 or 1 to its last bit.
        probabilities = np.clip(probabilities, 1e-6, 1 - 1e-6)
        scores.append(np.log(probabilities / (1 - probabilities)))
    difference = scores[1] - scores[0]
    assert 0 < difference.std() < 0.03
    assert abs(difference.mean()) < 0.01
