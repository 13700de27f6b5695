"""Removing dead filters."""

from __future__ import annotations

import numpy as np
import pytest

from model.architecture import LAYERS
from model.converter import published_weights
from model.preset import find_preset
from model.prune import live_filters, prune
from model.weights import LayerWeights, Weights, read_weights

#: Live filters by layer (Paillassa, Bertin & Bouy's published weights; counted by the criterion).
LIVE = {
    "conv1": 32, "conv2": 47, "conv3_1": 39, "conv3_2": 71, "conv4_1": 50, "conv4_2": 122,
    "conv5_1": 43, "conv5_2": 56, "convmid": 44, "upconv5_2": 52, "upconv5_1": 59,
    "upconv4_2": 68, "upconv4_1": 63, "upconv3_2": 61, "upconv3_1": 35, "upconv2": 31,
    "ucp4_conv4": 71, "ucp4_conv3": 60, "ucp4_conv2": 31, "ucp3_conv3": 61, "ucp3_conv2": 32,
    "ucp2_conv2": 31,
}  # fmt: skip


@pytest.fixture(scope="module")
def published() -> Weights:
    return published_weights()


def test_live_filters_of_the_published_weights_are_counted_as_published(published: Weights) -> None:
    counted = {name: int(live_filters(published[name]).sum()) for name in LIVE}
    assert counted == LIVE


def test_pruning_keeps_every_live_filter(published: Weights) -> None:
    pruned = prune(published)
    for name, layer in published.items():
        live = live_filters(layer)
        kept = {bytes(column) for column in pruned[name].bias.reshape(-1, 1)}
        assert {bytes(column) for column in layer.bias[live].reshape(-1, 1)} <= kept
        assert pruned[name].bias.size <= layer.bias.size


def test_the_preset_holds_the_pruned_published_weights(published: Weights) -> None:
    preset = read_weights(find_preset("maximask-1.4"))
    for name, layer in prune(published).items():
        np.testing.assert_array_equal(preset[name].kernel, layer.kernel)
        np.testing.assert_array_equal(preset[name].bias, layer.bias)


def test_pruning_what_is_pruned_changes_nothing() -> None:
    preset = read_weights(find_preset("maximask-1.4"))
    for name, layer in prune(preset).items():
        np.testing.assert_array_equal(preset[name].kernel, layer.kernel)


def test_a_filter_lives_by_its_kernel_or_by_its_bias() -> None:
    kernel = np.zeros((3, 3, 1, 3), np.float32)
    kernel[1, 1, 0, 0] = 1
    layer = LayerWeights(kernel, np.array([-1, -1, 0], np.float32))
    assert live_filters(layer).tolist() == [True, False, True]


def test_every_layer_reads_what_its_sources_give(published: Weights) -> None:
    pruned = prune(published)
    for layer in LAYERS[1:-1]:
        widths = {pruned[source].bias.size for source in layer.sources}
        assert widths == {pruned[layer.name].kernel.shape[2]}
