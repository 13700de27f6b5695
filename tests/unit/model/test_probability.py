"""From settings to recipes."""

from __future__ import annotations

import numpy as np
import pytest

from model.preset import read_card
from model.probability import RecipeError, make_recipe, shift_priors
from settings.schema import MaskSettings

CARD = read_card("maximask-1.4")
N_CLASSES = len(CARD.classes)


def test_prior_shift_follows_the_formula_of_the_paper() -> None:
    p = np.array([0.0, 0.3, 1.0], np.float32)
    factor = 0.1 * (1 - 0.001) / ((1 - 0.1) * 0.001)
    expected = p / (p + factor * (1 - p))
    np.testing.assert_allclose(shift_priors(p, training=0.1, prior=0.001), expected, rtol=1e-6)


def test_own_priors_and_thresholds_replace_the_presets() -> None:
    recipe = make_recipe(CARD, MaskSettings(priors={"CR": 0.01}, thresholds={"CR": 0.5}))
    raw = np.full((N_CLASSES, 1, 2), 0.4999, np.float32)
    raw[0, 0, 1] = 0.5001
    # The prior is the training set's, so that the shift changes nothing.
    assert recipe.planes[0].mask(raw).tolist() == [[False, True]]


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
