"""What a user asked for: settings and a preset's card in, a recipe for each class's plane out."""

from __future__ import annotations

import difflib
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, replace
from enum import StrEnum

import numpy as np
from numpy.typing import NDArray

from model.card import Card, MaskClass
from model.vocabulary import (
    CLASSES_2018,
    FULL_NAMES_2018,
    SOURCES_2018,
    Combine,
    Direction,
    values_for_1_4,
)
from settings.errors import PermanentError
from settings.schema import MaskSettings

__all__ = [
    "PlaneRecipe",
    "ProductFormat",
    "Recipe",
    "RecipeError",
    "make_recipe",
    "shift_priors",
    "speaks_2018",
    "threshold_scores",
]


class RecipeError(PermanentError):
    """A wish that the preset's classes cannot fulfil."""


class ProductFormat(StrEnum):
    """What is made of the probabilities."""

    MASKS = "masks"
    PROBABILITIES = "probabilities"
    BITMASK = "bitmask"


@dataclass(frozen=True)
class PlaneRecipe:
    """
    How one class becomes a plane.

    Parameters
    ----------
    mask_class : MaskClass
        The class.
    prior : float or None
        The prior that its probability is shifted to; None: left as the network gives it.
    threshold : float
        A pixel is masked where the (shifted) probability is greater.
    source : MaskClass
        The network's class that it is made of; the class itself, unless the plane is of another
        vocabulary than the network's.
    direction : Direction or None
        Only pixels of defects that run in this direction; None: all.
    """

    mask_class: MaskClass
    prior: float | None
    threshold: float
    source: MaskClass
    direction: Direction | None = None

    def shifted(self, probabilities: NDArray[np.float32]) -> NDArray[np.float32]:
        """
        Return the plane of a product of probabilities.

        Parameters
        ----------
        probabilities : ndarray, shape (n_classes, ny, nx), float32
            What the network says, for all classes of the preset.

        Returns
        -------
        ndarray, shape (ny, nx), float32
            Those of the class, shifted to the prior.
        """
        raw = probabilities[self.source.index]
        if self.prior is None:
            return raw
        return shift_priors(raw, training=self.source.training_prior, prior=self.prior)

    def mask(self, probabilities: NDArray[np.float32]) -> NDArray[np.bool_]:
        """
        Return the mask of the class, in whatever direction it runs.

        Parameters
        ----------
        probabilities : ndarray, shape (n_classes, ny, nx), float32
            What the network says, for all classes of the preset.

        Returns
        -------
        ndarray, shape (ny, nx), bool
            True where the shifted probability exceeds the threshold.
        """
        return self.shifted(probabilities) > np.float32(self.threshold)


@dataclass(frozen=True)
class Recipe:
    """
    What is made of the probabilities, in which order of planes.

    Parameters
    ----------
    format : ProductFormat
        Masks, probabilities or one bit mask.
    planes : tuple of PlaneRecipe
        The requested classes in the order of the network's output.
    """

    format: ProductFormat
    planes: tuple[PlaneRecipe, ...]

    @property
    def names(self) -> tuple[str, ...]:
        """Short names of the planes, in their order."""
        return tuple(plane.mask_class.name for plane in self.planes)


def shift_priors(
    probability: NDArray[np.float32], *, training: float, prior: float
) -> NDArray[np.float32]:
    """
    Shift a probability from the training set's proportion of a class to another.

    Parameters
    ----------
    probability : ndarray, float32
        Probabilities as the network gives them.
    training, prior : float
        Proportion of the class in the training set; proportion to shift to.

    Returns
    -------
    ndarray, float32
        ``p / (p + f (1 - p))`` with ``f = training (1 - prior) / ((1 - training) prior)``.

    References
    ----------
    Paillassa, Bertin & Bouy 2020, A&A 634, A48, section 5 (prior modification).

    Examples
    --------
    >>> float(shift_priors(np.float32(0.5), training=0.5, prior=0.25))
    0.25
    """
    factor = np.float32(training * (1 - prior) / ((1 - training) * prior))
    shifted = probability / (probability + factor * (1 - probability))
    return np.asarray(shifted, np.float32)


def threshold_scores(recipe: Recipe) -> NDArray[np.float32]:
    """
    Tell at which scores of the network, before its sigmoid, masks begin.

    Parameters
    ----------
    recipe : Recipe
        With a plane for each of the network's classes.

    Returns
    -------
    ndarray, shape (n_classes,), float32
        The logit of the probability whose shift is the threshold.
    """
    scores = np.zeros(len(recipe.planes), np.float32)
    for plane in recipe.planes:
        training, prior = plane.source.training_prior, plane.prior or plane.source.training_prior
        factor = training * (1 - prior) / ((1 - training) * prior)
        scores[plane.source.index] = np.log(factor * plane.threshold / (1 - plane.threshold))
    return scores


def make_recipe(card: Card, wishes: MaskSettings) -> Recipe:
    """
    Turn the settings into a recipe for a preset's classes.

    Parameters
    ----------
    card : Card
        The preset's card: classes, default priors and thresholds.
    wishes : MaskSettings
        Classes, priors and thresholds that the user asked for.

    Returns
    -------
    Recipe
        One entry for each requested class.

    Raises
    ------
    RecipeError
        Where a name is none of the preset's classes, or no plane is left.
    """
    names = {mask_class.name for mask_class in card.classes}
    if speaks_2018(card):
        names |= set(CLASSES_2018)
    for setting in ("classes", "priors", "thresholds"):
        _refuse_unknown(getattr(wishes, setting), names, f"mask.{setting}", card.name)
    priors = values_for_1_4(wishes.priors, Combine.PRIOR) if speaks_2018(card) else wishes.priors
    thresholds = (
        values_for_1_4(wishes.thresholds, Combine.THRESHOLD)
        if speaks_2018(card)
        else wishes.thresholds
    )
    planes = tuple(
        PlaneRecipe(
            mask_class=mask_class,
            prior=priors.get(source.name, source.prior) if wishes.prior_modif else None,
            threshold=thresholds.get(source.name, source.threshold),
            source=source,
            direction=direction,
        )
        for mask_class, source, direction in _vocabulary(card, wishes.vocabulary)
        if not wishes.classes or _is_wanted(mask_class.name, source.name, wishes.classes)
    )
    if not planes:
        raise RecipeError(
            f"None of the classes asked for ({' '.join(wishes.classes)}) has a plane in the "
            f"vocabulary {wishes.vocabulary} of preset {card.name}: ask for at least one that has."
        )
    return Recipe(format=ProductFormat(wishes.format), planes=planes)


def speaks_2018(card: Card) -> bool:
    """
    Tell whether the classes of 2018 can be translated for a preset.

    Parameters
    ----------
    card : Card
        The preset's card.

    Returns
    -------
    bool
        True where the preset has all classes that those of 2018 are made of, under other names.
    """
    names = {mask_class.name for mask_class in card.classes}
    return names != set(CLASSES_2018) and {source for source, _ in SOURCES_2018.values()} <= names


def _vocabulary(
    card: Card, vocabulary: str
) -> Iterator[tuple[MaskClass, MaskClass, Direction | None]]:
    """Return the classes of the planes, with the network's class that each is made of."""
    preset = {mask_class.name: mask_class for mask_class in card.classes}
    if vocabulary == "preset" or set(preset) == set(CLASSES_2018):
        for mask_class in card.classes:
            yield mask_class, mask_class, None
        return
    if not speaks_2018(card):
        raise RecipeError(
            f"The classes of preset {card.name} have no translation into those of 2018: use the "
            "vocabulary preset."
        )
    for index, (name, (source, direction)) in enumerate(SOURCES_2018.items()):
        full_name = FULL_NAMES_2018[name]
        yield (
            replace(preset[source], name=name, full_name=full_name, index=index),
            preset[source],
            direction,
        )


def _is_wanted(name: str, source: str, wanted: Collection[str]) -> bool:
    """Tell whether a plane is asked for, by its own name or by that of the other release."""
    translated = {SOURCES_2018[one][0] for one in wanted if one in SOURCES_2018}
    return (
        name in wanted
        or (name == source and name in translated)
        or (name != source and source in wanted)
    )


def _refuse_unknown(given: Iterable[str], names: set[str], setting: str, preset: str) -> None:
    for name in given:
        if name not in names:
            close = difflib.get_close_matches(name.upper(), sorted(names), n=1)
            hint = f"did you mean {close[0]}?" if close else f"use {' '.join(sorted(names))}."
            raise RecipeError(
                f"Setting {setting} names {name!r}, which is no class of preset {preset}: {hint}"
            )
