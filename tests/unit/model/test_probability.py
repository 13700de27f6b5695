"""From probabilities to planes."""

from __future__ import annotations

import numpy as np
import pytest

from model.preset import read_card
from model.probability import ProductFormat, RecipeError, make_recipe, shift_priors
from settings.schema import MaskSettings

CARD = read_card("maximask-1.4")
N_CLASSES = len(CARD.classes)


def probabilities(seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).random((N_CLASSES, 5, 7), dtype=np.float32)


def test_prior_shift_follows_the_formula_of_the_paper() -> None:
    p = np.array([0.0, 0.3, 1.0], np.float32)
    factor = 0.1 * (1 - 0.001) / ((1 - 0.1) * 0.001)
    expected = p / (p + factor * (1 - p))
    np.testing.assert_allclose(shift_priors(p, training=0.1, prior=0.001), expected, rtol=1e-6)


def test_masks_are_set_where_the_shifted_probability_exceeds_the_threshold() -> None:
    raw = probabilities()
    masks = make_recipe(CARD, MaskSettings())(raw)
    assert masks.dtype == np.uint8
    for mask_class, mask in zip(CARD.classes, masks, strict=True):
        shifted = shift_priors(
            raw[mask_class.index], training=mask_class.training_prior, prior=mask_class.prior
        )
        np.testing.assert_array_equal(mask, shifted > np.float32(mask_class.threshold))


def test_without_prior_shift_probabilities_are_those_of_the_network() -> None:
    raw = probabilities()
    recipe = make_recipe(CARD, MaskSettings(format="probabilities", prior_modif=False))
    planes = recipe(raw)
    assert planes.dtype == np.float32
    np.testing.assert_array_equal(planes, raw)


def test_only_the_requested_classes_have_planes_in_the_order_of_the_network() -> None:
    recipe = make_recipe(CARD, MaskSettings(classes=("TRL", "CR"), format="probabilities"))
    assert recipe.names == ("CR", "TRL")
    assert recipe(probabilities()).shape == (2, 5, 7)


def test_a_bit_mask_is_the_sum_of_the_masks_bits_without_the_background() -> None:
    raw = probabilities(1)
    masks = make_recipe(CARD, MaskSettings())(raw)
    bits = make_recipe(CARD, MaskSettings(format="bitmask"))(raw)
    expected = sum(masks[k].astype(int) << k for k in range(N_CLASSES - 1))
    assert bits.dtype == np.int16
    np.testing.assert_array_equal(bits, expected)
    assert masks[N_CLASSES - 1].any()


def test_own_priors_and_thresholds_replace_the_presets() -> None:
    recipe = make_recipe(CARD, MaskSettings(priors={"CR": 0.01}, thresholds={"CR": 0.5}))
    raw = np.full((N_CLASSES, 1, 2), 0.4999, np.float32)
    raw[0, 0, 1] = 0.5001
    # The prior is the training set's, so that the shift changes nothing.
    assert recipe(raw)[0].tolist() == [[0, 1]]


def test_not_a_number_is_masked_in_no_class() -> None:
    raw = np.full((N_CLASSES, 2, 2), np.nan, np.float32)
    assert not make_recipe(CARD, MaskSettings())(raw).any()


@pytest.mark.parametrize(
    "wishes",
    [
        MaskSettings(classes=("cr",)),
        MaskSettings(priors={"CRS": 0.1}),
        MaskSettings(thresholds={"X": 0.1}),
    ],
)
def test_an_unknown_class_is_refused_by_name(wishes: MaskSettings) -> None:
    with pytest.raises(RecipeError, match=r"no class of preset maximask-1\.4: (did|use)"):
        make_recipe(CARD, wishes)


@pytest.mark.parametrize("product_format", ProductFormat)
def test_the_empty_planes_have_the_form_of_the_full_ones(product_format: ProductFormat) -> None:
    recipe = make_recipe(CARD, MaskSettings(format=product_format.value))
    empty, full = recipe.empty((5, 7)), recipe(probabilities())
    assert (empty.shape, empty.dtype) == (full.shape, full.dtype)
