"""What every test may use: real exposures, mask files of known pixels, a checkpoint of 2018."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from model.planes import empty_planes
from model.preset import read_card
from model.probability import Recipe, make_recipe
from settings.schema import MaskSettings
from worker.header import Provenance
from worker.product import Compression, MaskFile

REAL_EXPOSURES = Path(
    os.environ.get("REAL_EXPOSURES", Path(__file__).parents[2] / "shared" / "real")
)


@pytest.fixture(scope="session")
def real() -> Callable[[str], Path]:
    """Return a function from a name in the folder of real exposures to its path."""

    def path_of(name: str) -> Path:
        path = REAL_EXPOSURES / name
        if not path.exists():
            pytest.skip(f"no real exposure {name}: the folder {REAL_EXPOSURES} does not hold it")
        return path

    return path_of


@dataclass(frozen=True)
class Checkpoint2018:
    """A directory of weights as of 2018, and its own graph: tiles in, probabilities out."""

    folder: Path
    probabilities: Callable[[np.ndarray], np.ndarray]


@pytest.fixture(scope="session")
def checkpoint_2018(tmp_path_factory: pytest.TempPathFactory) -> Checkpoint2018:
    """Write a checkpoint of random weights with TensorFlow's own functions of version 1."""
    import tensorflow as tf

    v1 = tf.compat.v1
    folder = tmp_path_factory.mktemp("model")
    rng = np.random.default_rng(2018)
    graph = tf.Graph()
    with graph.as_default():
        images = v1.placeholder(tf.float32, (None, None, None, 1), name="images")
        output = _network_2018(v1, images, rng)
        # What a training leaves behind beside the weights.
        v1.Variable(100_000, name="global_step", trainable=False)
        saver = v1.train.Saver()
        session = v1.Session(graph=graph)
        session.run(v1.global_variables_initializer())
        saver.save(session, str(folder / "model"), write_meta_graph=False)
        for device in ("cpu", "gpu"):
            saver.export_meta_graph(str(folder / f"{device}_model.meta"))
    (folder / "checkpoint").unlink()

    def probabilities(tiles: np.ndarray) -> np.ndarray:
        answer = session.run(output, {images: tiles[..., np.newaxis]})
        return np.moveaxis(answer, -1, 1)

    return Checkpoint2018(folder, probabilities)


def _network_2018(v1: Any, images: Any, rng: np.random.Generator) -> Any:
    """Build the graph of 2018: kernels by their names, biases numbered in the order of making."""
    import tensorflow as tf

    def convolve(x: Any, name: str, n_filters: int) -> Any:
        n_channels = int(x.shape[-1])
        sigma = np.sqrt(2 / (9 * n_channels))
        kernel = rng.normal(0, sigma, (3, 3, n_channels, n_filters)).astype(np.float32)
        bias = rng.normal(0, 0.05, n_filters).astype(np.float32)
        return tf.nn.conv2d(x, v1.Variable(kernel, name=name), 1, "SAME") + v1.Variable(bias)

    def layers(x: Any, *names_and_filters: tuple[str, int]) -> Any:
        for name, n_filters in names_and_filters:
            x = tf.nn.relu(convolve(x, name, n_filters))
        return x

    def pool(x: Any) -> tuple[Any, tuple[Any, Any]]:
        pooled, places = tf.nn.max_pool_with_argmax(x, 2, 2, "SAME", include_batch_in_index=True)
        return pooled, (places, tf.shape(x))

    def unpool(x: Any, places_and_shape: tuple[Any, Any]) -> Any:
        places, shape = places_and_shape
        shape = tf.concat([shape[:-1], [x.shape[-1]]], 0)
        # The places count the channels of the pooled maps, which are those of x.
        size = tf.cast(tf.reduce_prod(shape), tf.int64)
        flat = tf.scatter_nd(tf.reshape(places, (-1, 1)), tf.reshape(x, (-1,)), size[tf.newaxis])
        maps = tf.reshape(flat, shape)
        maps.set_shape((None, None, None, x.shape[-1]))
        return maps

    c1 = layers(tf.asinh(images), ("w1_1", 32))
    p1, a1 = pool(c1)
    c2 = layers(p1, ("w2_1", 64))
    p2, a2 = pool(c2)
    c3 = layers(p2, ("w3_1", 128), ("w3_2", 128))
    p3, a3 = pool(c3)
    c4 = layers(p3, ("w4_1", 256), ("w4_2", 256))
    p4, a4 = pool(c4)
    c5 = layers(p4, ("w5_1", 256), ("w5_2", 256))
    p5, a5 = pool(c5)
    deepest = layers(p5, ("w_midconv", 256))
    u5 = layers(unpool(deepest, a5) + c5, ("wu5_2", 256), ("wu5_1", 256))
    u4 = layers(unpool(u5, a4) + c4, ("wu4_2", 256), ("wu4_1", 128))
    u3 = layers(unpool(u4, a3) + c3, ("wu3_2", 128), ("wu3_1", 64))
    u2 = layers(unpool(u3, a2) + c2, ("wu2_1", 32))
    u1 = layers(unpool(u2, a1) + c1, ("wu1_1", 14))
    b4 = layers(unpool(u5, a4), ("w5u_4", 128))
    b4 = layers(unpool(b4, a3), ("w5u_3", 64))
    b4 = layers(unpool(b4, a2), ("w5u_2", 32))
    b4 = layers(unpool(b4, a1), ("w5u_1", 14))
    b3 = layers(unpool(u4, a3), ("w4u_3", 64))
    b3 = layers(unpool(b3, a2), ("w4u_2", 32))
    b3 = layers(unpool(b3, a1), ("w4u_1", 14))
    b2 = layers(unpool(u3, a2), ("w3u_2", 32))
    b2 = layers(unpool(b2, a1), ("w3u_1", 14))
    b1 = layers(unpool(u2, a1), ("w2u_1", 14))
    scores = convolve(tf.concat([u1, b1, b2, b3, b4], -1), "wf", 14)
    return tf.sigmoid(scores)


@pytest.fixture(scope="session")
def planes_of() -> Callable[[Recipe, np.ndarray], np.ndarray]:
    """Return a function that makes the planes of an exposure plane from its probabilities."""
    return _planes_of


def _planes_of(recipe: Recipe, probabilities: np.ndarray) -> np.ndarray:
    planes = empty_planes(recipe, probabilities.shape[1:])
    planes.put(slice(None), slice(None), probabilities)
    planes.finish()
    return np.asarray(planes)


@pytest.fixture(scope="session")
def write_masks() -> Callable[..., None]:
    """Return a function that writes a mask file of known probabilities, without a network."""
    card = read_card("maximask-1.4")

    def write(
        target: Path,
        probabilities: Mapping[int, np.ndarray],
        *,
        headers: Mapping[int, fits.Header] | None = None,
        compress: Compression = Compression.NONE,
        **wishes: object,
    ) -> None:
        """Write the masks of HDUs by their numbers, of shape (14, ny, nx), a cube's before that."""
        recipe = make_recipe(card, MaskSettings(**wishes))
        provenance = Provenance(
            key="k" * 32,
            configuration="c" * 16,
            preset=card.name,
            preset_sha256=card.sha256,
            source=target.name.replace(".masks", ""),
            source_sha256="5" * 64,
            device="cpu",
            engine="none",
            tiles="wide",
            attempt=1,
            versions={"maximaskd": "0.1.0"},
        )
        with MaskFile(target, provenance=provenance, recipe=recipe, compress=compress) as mask_file:
            for number, values in probabilities.items():
                header = (headers or {}).get(number, fits.Header())
                if not values.size:
                    mask_file.append_header(header)
                    continue
                planes = [
                    _planes_of(recipe, one)
                    for one in values.astype(np.float32).reshape(-1, *values.shape[-3:])
                ]
                stacked = planes[0] if values.ndim == 3 else np.stack(planes)
                mask_file.append_masks(stacked, header, hdu=number)
            mask_file.publish()

    return write
