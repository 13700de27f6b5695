"""The two vocabularies: values and planes of one release as those of the other."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest

from model.preset import read_card
from model.probability import Recipe, RecipeError, make_recipe
from model.vocabulary import CLASSES_2018, Combine, Direction, pixels_along, values_for_1_4
from settings.schema import MaskSettings

PlanesOf = Callable[[Recipe, np.ndarray], np.ndarray]
CARD = read_card("maximask-1.4")
INDEX = {mask_class.name: mask_class.index for mask_class in CARD.classes}


def picture(rows: list[str], letters: str) -> np.ndarray:
    return np.array([[letter in letters for letter in row] for row in rows])


#: C column, L line, B both, x neither, . not masked.
DEFECTS = [
    "C.........x.",
    "C..LLLLLL...",
    "C.....xxxx..",
    "BLLLLLBLLLLL",
    "C.....xxxx..",
    "C.....xxxx..",
    "C...........",
    "C.CC........",
    "C.CC........",
    "..CC........",
    "..CC.....xx.",
    "..CC........",
    "..CC........",
]


@pytest.mark.parametrize(("direction", "letters"), [("column", "CB"), ("line", "LB")])
def test_direction_tells_columns_from_lines(direction: str, letters: str) -> None:
    rows = [row.replace("BLLLLLBLLLLL", "BLLLLLLLLLLL") for row in DEFECTS]
    mask = picture(rows, "CLBx")
    np.testing.assert_array_equal(
        pixels_along(mask, Direction(direction)), picture(rows, letters), strict=True
    )


def test_nothing_masked_stays_nothing() -> None:
    assert not pixels_along(np.zeros((5, 6), bool), Direction.COLUMN).any()


def test_values_of_two_classes_that_are_one_are_joined() -> None:
    values = {"CR": 0.1, "BC": 0.2, "BL": 0.3, "HC": 0.4, "BP": 0.5, "STL": 0.6}
    same = {"CR": 0.1, "HCL": 0.4, "DP": 0.5, "TRL": 0.6}
    assert values_for_1_4(values, Combine.PRIOR) == pytest.approx(same | {"DCL": 0.5})
    assert values_for_1_4(values, Combine.THRESHOLD) == same | {"DCL": 0.2}
    assert values_for_1_4({"BC": 0, "BL": 1}, Combine.FLAG) == {"DCL": 1}
    assert values_for_1_4({"BC": 0.7, "BL": 0.7}, Combine.PRIOR)["DCL"] < 1


def probabilities(**masks: np.ndarray) -> np.ndarray:
    raw = np.zeros((14, *next(iter(masks.values())).shape), np.float32)
    for name, mask in masks.items():
        raw[INDEX[name]] = mask
    return raw


def test_the_planes_of_2018_are_made_of_those_of_1_4(planes_of: PlanesOf) -> None:
    defects = picture(DEFECTS, "CLBx")
    raw = probabilities(DCL=defects, HCL=defects, TRL=defects, OV=defects)
    recipe = make_recipe(CARD, MaskSettings(vocabulary="2018"))
    assert recipe.names == CLASSES_2018
    planes = dict(zip(recipe.names, planes_of(recipe, raw), strict=True))
    column, line = (pixels_along(defects, direction) for direction in Direction)
    for name, expected in {"BC": column, "HC": column, "BL": line, "STL": defects}.items():
        np.testing.assert_array_equal(planes[name], expected)
    assert not planes["BP"].any()


def test_a_bit_mask_of_2018_has_its_bits_in_the_order_of_2018(planes_of: PlanesOf) -> None:
    defects = picture(DEFECTS, "CLBx")
    recipe = make_recipe(CARD, MaskSettings(vocabulary="2018", format="bitmask"))
    bits = planes_of(recipe, probabilities(DCL=defects, TRL=defects))
    assert bits.dtype == np.int16
    np.testing.assert_array_equal(bits & 128 > 0, defects)
    np.testing.assert_array_equal(bits & 4 > 0, pixels_along(defects, Direction.COLUMN))
    np.testing.assert_array_equal(bits & 8 > 0, pixels_along(defects, Direction.LINE))


@pytest.mark.parametrize(
    ("vocabulary", "classes", "names"),
    [
        ("preset", ("BC", "STL"), ("DCL", "TRL")),
        ("preset", ("DCL", "OV"), ("DCL", "OV")),
        ("2018", ("BL",), ("BL",)),
        ("2018", ("DCL", "TRL"), ("BC", "BL", "STL")),
        ("2018", ("CR", "HC"), ("CR", "HC")),
    ],
)
def test_classes_can_be_asked_for_by_the_names_of_either_release(
    vocabulary: str, classes: tuple[str, ...], names: tuple[str, ...]
) -> None:
    wishes = MaskSettings(vocabulary=vocabulary, classes=classes)
    assert make_recipe(CARD, wishes).names == names


def test_what_has_no_plane_in_2018_is_said() -> None:
    with pytest.raises(RecipeError, match=r"None of the classes asked for \(OV\) has a plane"):
        make_recipe(CARD, MaskSettings(vocabulary="2018", classes=("OV",)))


def test_probabilities_have_no_direction() -> None:
    with pytest.raises(ValueError, match="told apart in masks, not in probabilities"):
        MaskSettings(vocabulary="2018", format="probabilities")
