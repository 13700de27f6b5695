"""From probabilities to planes."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from model.planes import Stack, empty_planes
from model.preset import read_card
from model.probability import ProductFormat, Recipe, make_recipe, shift_priors
from model.vocabulary import Direction, pixels_along
from settings.schema import MaskSettings

PlanesOf = Callable[[Recipe, np.ndarray], np.ndarray]
CARD = read_card("maximask-1.4")
N_CLASSES = len(CARD.classes)


def probabilities(seed: int = 0, shape: tuple[int, int] = (5, 7)) -> np.ndarray:
    return np.random.default_rng(seed).random((N_CLASSES, *shape), dtype=np.float32)


def recipe_for(**wishes: object) -> Recipe:
    return make_recipe(CARD, MaskSettings(**wishes))


def test_masks_are_set_where_the_shifted_probability_exceeds_the_threshold(
    planes_of: PlanesOf,
) -> None:
    raw = probabilities()
    masks = planes_of(recipe_for(), raw)
    assert masks.dtype == np.uint8
    for mask_class, mask in zip(CARD.classes, masks, strict=True):
        shifted = shift_priors(
            raw[mask_class.index], training=mask_class.training_prior, prior=mask_class.prior
        )
        np.testing.assert_array_equal(mask, shifted > np.float32(mask_class.threshold))


def test_without_prior_shift_probabilities_are_those_of_the_network(planes_of: PlanesOf) -> None:
    raw = probabilities()
    planes = planes_of(recipe_for(format="probabilities", prior_modif=False), raw)
    assert planes.dtype == np.float32
    np.testing.assert_array_equal(planes, raw)


def test_only_the_requested_classes_have_planes_in_the_order_of_the_network(
    planes_of: PlanesOf,
) -> None:
    recipe = recipe_for(classes=("TRL", "CR"), format="probabilities")
    assert recipe.names == ("CR", "TRL")
    assert planes_of(recipe, probabilities()).shape == (2, 5, 7)


def test_a_bit_mask_is_the_sum_of_the_masks_bits_without_the_background(
    planes_of: PlanesOf,
) -> None:
    raw = probabilities(1)
    masks = planes_of(recipe_for(), raw)
    bits = planes_of(recipe_for(format="bitmask"), raw)
    expected = sum(masks[k].astype(int) << k for k in range(N_CLASSES - 1))
    assert bits.dtype == np.int16
    np.testing.assert_array_equal(bits, expected)
    assert masks[N_CLASSES - 1].any()


@pytest.mark.parametrize("wishes", [{}, {"format": "bitmask"}, {"format": "probabilities"}])
def test_tiles_put_together_give_the_planes_of_the_whole(
    wishes: dict[str, str], planes_of: PlanesOf
) -> None:
    raw = probabilities(2, (200, 90))
    recipe = recipe_for(**wishes)
    planes = empty_planes(recipe, (200, 90))
    for rows in (slice(0, 130), slice(130, 230)):
        for columns in (slice(0, 1), slice(1, 100)):
            tile = np.pad(raw[:, rows, columns], ((0, 0), (0, 30), (0, 10)))
            planes.put(rows, columns, tile)
    planes.finish()
    np.testing.assert_array_equal(planes, planes_of(recipe, raw), strict=True)


@pytest.mark.parametrize("product_format", ProductFormat)
def test_masked_pixels_are_counted_by_class(
    product_format: ProductFormat, planes_of: PlanesOf
) -> None:
    raw = probabilities(3, (150, 20))
    recipe = recipe_for(format=product_format.value)
    planes = empty_planes(recipe, (150, 20))
    planes.put(slice(None), slice(None), raw)
    expected = planes_of(recipe_for(), raw).sum(axis=(1, 2))
    if product_format is ProductFormat.BITMASK:
        expected[-1] = 0
    np.testing.assert_array_equal(planes.count(), expected)


def test_columns_and_lines_are_told_apart_when_all_tiles_are_there() -> None:
    recipe = recipe_for(vocabulary="2018", classes=("BC", "BL"))
    raw = np.zeros((N_CLASSES, 40, 40), np.float32)
    index = next(one.index for one in CARD.classes if one.name == "DCL")
    raw[index, :, 7] = raw[index, 22, :] = 1
    planes = empty_planes(recipe, (40, 40))
    for rows in (slice(0, 20), slice(20, 40)):
        planes.put(rows, slice(None), raw[:, rows])
    planes.finish()
    for number, direction in enumerate((Direction.COLUMN, Direction.LINE)):
        expected = pixels_along(raw[index] > 0, direction)
        assert expected.any()
        np.testing.assert_array_equal(planes[number, :, :], expected)
        assert planes.count()[number] == expected.sum()


def test_not_a_number_is_masked_in_no_class(planes_of: PlanesOf) -> None:
    assert not planes_of(recipe_for(), np.full((N_CLASSES, 2, 2), np.nan, np.float32)).any()


@pytest.mark.parametrize("product_format", ProductFormat)
def test_empty_planes_and_stacks_of_them_are_arrays_without_anything(
    product_format: ProductFormat,
) -> None:
    recipe = recipe_for(format=product_format.value)
    empty = empty_planes(recipe, (5, 7))
    for planes in (empty, Stack([empty, empty])):
        array = np.asarray(planes)
        assert (array.shape, array.dtype) == (planes.shape, planes.dtype)
        assert not array.any()
    assert Stack([empty, empty]).shape == (2, *empty.shape)
