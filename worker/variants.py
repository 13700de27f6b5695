"""Finds what masks a task: its overlay in, the configurations and networks to use out."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from model.card import Card
from model.preset import read_card
from settings.logs import get_logger
from settings.schema import MaskSettings
from worker.class_files import Configurations
from worker.overlay import Overlay

if TYPE_CHECKING:
    from model.masker import Masker
    from model.tracking import Tracker

__all__ = ["Variant", "Variants"]

logger = get_logger(__name__)

#: Sets of mask settings whose configurations are kept: each costs a few directories' class files.
KEPT = 16


@dataclass(frozen=True)
class Variant:
    """
    What masks an exposure under one set of mask settings.

    Parameters
    ----------
    mask : MaskSettings
        The settings.
    configurations : Configurations
        What decides about the masks of the exposures in each directory.
    masker : Masker
        The network.
    tracker : Tracker or None
        The network for tracking errors, where it is asked for.
    """

    mask: MaskSettings
    configurations: Configurations
    masker: Masker
    tracker: Tracker | None


class Variants:
    """
    The variants of a worker's own mask settings that its tasks have asked for.

    Parameters
    ----------
    load_masker : callable
        Loads the network of a preset.
    load_tracker : callable
        Loads the network for tracking errors.

    Notes
    -----
    One network beside the worker's own is kept: another preset replaces it. A card that changed
    on disk counts as another preset.
    """

    def __init__(
        self, load_masker: Callable[[str], Masker], load_tracker: Callable[[], Tracker]
    ) -> None:
        self._load_masker, self._load_tracker = load_masker, load_tracker
        self._configurations: OrderedDict[tuple[str, Card], Configurations] = OrderedDict()
        self._other: tuple[str, Card, Masker] | None = None
        self._tracker: Tracker | None = None

    def of(self, own: Variant, overlay: Overlay) -> Variant:
        """
        Return what masks a task.

        Parameters
        ----------
        own : Variant
            What masks where a task asks for nothing.
        overlay : Overlay
            What the task asks for.

        Returns
        -------
        Variant
            What masks it; networks are loaded when they are first asked for.

        Raises
        ------
        OverlayError
            Where the overlay does not fit the settings.
        PresetError
            Where its preset cannot be used.
        """
        if not overlay.mask:
            return own
        mask = overlay.over(own.mask)
        masker = own.masker
        if mask.preset != own.mask.preset:
            masker = self._masker(mask.preset)
        return replace(
            own,
            mask=mask,
            configurations=self._configurations_of(mask, masker.card),
            masker=masker,
            tracker=self._tracker_of(own) if mask.track else None,
        )

    def _masker(self, preset: str) -> Masker:
        card = read_card(preset)
        if self._other is None or self._other[:2] != (preset, card):
            # The old one goes first: two of them might be more than the memory holds.
            self._other = None
            self._other = (preset, card, self._load_masker(preset))
            logger.info("loaded preset=%s for=submissions", preset)
        return self._other[2]

    def _tracker_of(self, own: Variant) -> Tracker:
        if own.tracker is not None:
            return own.tracker
        if self._tracker is None:
            self._tracker = self._load_tracker()
        return self._tracker

    def _configurations_of(self, mask: MaskSettings, card: Card) -> Configurations:
        # As JSON, since settings with mappings cannot be hashed.
        known = (mask.model_dump_json(), card)
        if known not in self._configurations:
            self._configurations[known] = Configurations(mask, card)
        self._configurations.move_to_end(known)
        while len(self._configurations) > KEPT:
            self._configurations.popitem(last=False)
        return self._configurations[known]
