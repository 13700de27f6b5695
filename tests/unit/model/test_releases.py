"""The weight formats of the two releases: read as data, checked, masks as their own graphs give."""

from __future__ import annotations

import importlib.metadata
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tensorflow as tf

from model.card import Preprocessing, PresetError
from model.engine import Device
from model.masker import Masker
from model.preset import find_preset
from model.probability import make_recipe
from model.releases import RELEASE_1_4, RELEASE_2018
from model.tiles import TilePlan
from model.weights import read_weights
from settings.schema import MaskSettings

SIDE = 400
RAW = MaskSettings(format="probabilities", prior_modif=False)


@pytest.fixture(scope="session")
def saved_model() -> Path:
    """Return the directory of weights of the installed package."""
    files = importlib.metadata.distribution("maximask")
    return Path(str(files.locate_file("maximask_and_maxitrack/maximask/model")))


@pytest.fixture
def of_2018(checkpoint_2018: Any, tmp_path: Path) -> Path:
    """Return a copy of a checkpoint that a test may damage."""
    shutil.copytree(checkpoint_2018.folder, tmp_path / "model")
    return tmp_path / "model"


@pytest.fixture(scope="module")
def masker_2018(checkpoint_2018: Any) -> Masker:
    return Masker(str(checkpoint_2018.folder), device=Device.CPU)


@pytest.fixture(scope="module")
def star_field() -> np.ndarray:
    rng = np.random.default_rng(5)
    plane = rng.normal(300, 12, (600, 600))
    for y, x in rng.integers(4, 596, (80, 2)):
        plane[y - 2 : y + 3, x - 2 : x + 3] += rng.uniform(50, 900)
    return plane.astype(np.float32)


def test_a_saved_model_gives_the_probabilities_of_the_preset(
    saved_model: Path, masker: Masker, star_field: np.ndarray
) -> None:
    published = Masker(str(saved_model), device=Device.CPU)
    assert published.card.classes == masker.card.classes
    recipe = make_recipe(masker.card, RAW)
    plane = star_field[:450, :420]
    np.testing.assert_allclose(published(plane, recipe), masker(plane, recipe), atol=1e-5)


def test_a_checkpoint_of_2018_gives_the_probabilities_of_its_own_graph(
    checkpoint_2018: Any, masker_2018: Masker, star_field: np.ndarray
) -> None:
    normalised = masker_2018.normalise(star_field)
    sky = normalised.background.normalise(normalised.clean)
    starts = [(y, x) for y in (0, 200) for x in (0, 200)]
    tiles = np.stack([sky[y : y + SIDE, x : x + SIDE] for y, x in starts])
    expected = np.empty((14, 600, 600), np.float32)
    for (y, x), tile in zip(starts, checkpoint_2018.probabilities(tiles), strict=True):
        rows, columns = (slice(0, 300) if start == 0 else slice(300, 600) for start in (y, x))
        kept = slice(rows.start - y, rows.stop - y), slice(columns.start - x, columns.stop - x)
        expected[:, rows, columns] = tile[:, kept[0], kept[1]]
    ours = masker_2018(star_field, make_recipe(masker_2018.card, RAW), tiles=TilePlan.REFERENCE)
    assert 0.1 < expected.std() < 0.5
    # Where two values tie but for rounding, another pixel may win a pooling.
    assert (np.abs(ours - expected) < 1e-4).mean() > 0.9999


def test_the_classes_priors_and_thresholds_are_those_of_the_release(masker_2018: Masker) -> None:
    classes = masker_2018.card.classes
    assert " ".join(c.name for c in classes) == "CR HC BC BL HP BP P STL FR NEB SAT SP BBG BG"
    assert [c.training_prior for c in classes] == [
        *(0.00224, 0.00803, 0.00796, 0.00800, 0.00035, 0.00035, 0.00911),
        *(0.07027, 0.12188, 0.16426, 0.00161, 0.01409, 0.07717, 0.58629),
    ]
    assert [c.prior for c in classes] == [
        *(2e-4, 8e-4, 8e-4, 8e-4, 3.5e-5, 3.5e-5, 1e-5),
        *(1e-3, 1e-5, 1e-5, 0.0016, 0.014, 0.07, 0.90),
    ]
    assert [c.threshold for c in classes] == [
        *(0.61, 0.61, 0.61, 0.56, 0.59, 0.96, 0.91, 0.45, 0.83, 0.46, 0.92, 0.76, 0.53, 0.52)
    ]
    assert masker_2018.card.preprocessing is Preprocessing.V2018
    assert masker_2018.card.name == "maximask-2018"


def test_the_variables_have_the_names_of_the_release() -> None:
    names = RELEASE_2018.variables
    assert names["conv1"] == ("w1_1", "Variable")
    assert names["convmid"] == ("w_midconv", "Variable_8")
    assert names["upconv1"] == ("wu1_1", "Variable_16")
    assert names["ucp3_conv1"] == ("w4u_1", "Variable_23")
    assert names["final_conv"] == ("wf", "Variable_27")
    assert RELEASE_1_4.shapes()["final_conv/kernel/.ATTRIBUTES/VARIABLE_VALUE"] == (3, 3, 70, 14)


def test_the_checksum_is_that_of_the_variables(of_2018: Path, saved_model: Path) -> None:
    before = find_preset(str(of_2018)).card.sha256
    assert len(before) == 64
    assert before != find_preset(str(saved_model)).card.sha256
    (of_2018 / "cpu_model.meta").write_bytes(b"another graph, which nobody executes")
    assert find_preset(str(of_2018)).card.sha256 == before
    with (of_2018 / "model.data-00000-of-00001").open("r+b") as file:
        file.seek(1000)
        file.write(b"other")
    assert find_preset(str(of_2018)).card.sha256 != before


def test_missing_files_are_listed(of_2018: Path, saved_model: Path, tmp_path: Path) -> None:
    (of_2018 / "model.index").unlink()
    for path in of_2018.glob("*.meta"):
        path.unlink()
    with pytest.raises(
        PresetError, match=r"maximask-2018 has no model\.index, \*_model\.meta: copy"
    ):
        find_preset(str(of_2018))
    partial = tmp_path / "partial"
    partial.mkdir()
    shutil.copy(saved_model / "saved_model.pb", partial)
    missing = r"1\.x has no variables/variables\.index, variables/variables\.data-00000-of-00001"
    with pytest.raises(PresetError, match=missing):
        find_preset(str(partial))


def test_a_folder_with_none_of_the_formats_names_all_three(tmp_path: Path) -> None:
    names = r"one of maximask-1\.4, or .* card\.toml, .*\(saved_model\.pb, .*\(model\.index, "
    with pytest.raises(PresetError, match=names):
        find_preset(str(tmp_path))


def _save(folder: Path, change: Callable[[dict[str, np.ndarray]], None]) -> None:
    """Write the checkpoint of a folder again with other variables."""
    reader = tf.train.load_checkpoint(str(folder / "model"))
    arrays = {name: reader.get_tensor(name) for name in reader.get_variable_to_shape_map()}
    change(arrays)
    v1 = tf.compat.v1
    with tf.Graph().as_default():
        for name, array in arrays.items():
            v1.get_variable(name, initializer=array)
        with v1.Session() as session:
            session.run(v1.global_variables_initializer())
            v1.train.Saver().save(session, str(folder / "model"), write_meta_graph=False)


def test_all_wrong_variables_are_listed(of_2018: Path) -> None:
    def change(arrays: dict[str, np.ndarray]) -> None:
        del arrays["w4u_2"], arrays["Variable_3"]
        arrays["w1_1"] = arrays["w1_1"][:, :, :, :16]
        arrays["wf"] = arrays["wf"].astype(np.float16)

    _save(of_2018, change)
    with pytest.raises(PresetError) as caught:
        read_weights(find_preset(str(of_2018)))
    sentence = str(caught.value)
    assert "w4u_2 is missing" in sentence
    assert "Variable_3 is missing" in sentence
    assert "w1_1 is float32 (3, 3, 1, 16) instead of float32 (3, 3, 1, 32)" in sentence
    assert "wf is float16 (3, 3, 70, 14) instead of float32 (3, 3, 70, 14)" in sentence
    assert sentence.count("is missing") == 2


def test_the_graphs_of_the_releases_are_not_even_read(
    saved_model: Path, of_2018: Path, tmp_path: Path
) -> None:
    of_1_x = tmp_path / "of-1.x"
    shutil.copytree(saved_model, of_1_x)
    before = [read_weights(find_preset(str(folder))) for folder in (of_1_x, of_2018)]
    for graph in (of_1_x / "saved_model.pb", *of_2018.glob("*.meta")):
        graph.write_bytes(b"no graph at all")
    for folder, weights in zip((of_1_x, of_2018), before, strict=True):
        again = read_weights(find_preset(str(folder)))
        for name, layer in weights.items():
            np.testing.assert_array_equal(again[name].kernel, layer.kernel)
            np.testing.assert_array_equal(again[name].bias, layer.bias)


def test_a_saved_model_of_another_network_is_refused_by_all_its_variables(
    saved_model: Path, of_2018: Path, tmp_path: Path
) -> None:
    folder = tmp_path / "of-1.x"
    (folder / "variables").mkdir(parents=True)
    shutil.copy(saved_model / "saved_model.pb", folder)
    for ending in ("index", "data-00000-of-00001"):
        shutil.copy(of_2018 / f"model.{ending}", folder / "variables" / f"variables.{ending}")
    with pytest.raises(PresetError) as caught:
        read_weights(find_preset(str(folder)))
    for name in RELEASE_1_4.shapes():
        assert f"{name} is missing" in str(caught.value)


@pytest.mark.parametrize("ending", ["data-00000-of-00001", "index"])
@pytest.mark.parametrize("damage", ["cut", "overwritten"])
def test_damaged_files_are_refused(ending: str, damage: str, of_2018: Path) -> None:
    path = of_2018 / f"model.{ending}"
    content = path.read_bytes()
    if damage == "cut":
        path.write_bytes(content[: len(content) // 2])
    else:
        middle = len(content) // 2
        path.write_bytes(content[:middle] + b"damaged" * 20 + content[middle + 140 :])
    with pytest.raises(PresetError, match=r"The checkpoint .*model cannot be read|are not those"):
        read_weights(find_preset(str(of_2018)))


def test_a_card_beside_weights_is_what_counts(of_2018: Path) -> None:
    (of_2018 / "card.toml").write_text("name = 'mine'\n")
    with pytest.raises(PresetError, match=r"card\.toml cannot be used"):
        find_preset(str(of_2018))
