"""Joins the watcher to Celery: settings and a status in, an intake that sends tasks out."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from celery import Celery

from model.preset import read_card
from model.probability import make_recipe
from settings.schema import SettingsTree
from watcher.intake import Intake
from worker.celery_app import TASK_NAME, celery_settings
from worker.class_files import Configurations
from worker.status import Status

__all__ = ["make_intake"]

#: Seconds between two looks at the class files of a directory: a sweep of thousands of exposures
#: on a network share must not look thousands of times.
CLASS_FILES_LOOK_S = 1.0


def make_intake(settings: SettingsTree, status: Status) -> Intake:
    """
    Make what hands exposures to the queue.

    Parameters
    ----------
    settings : SettingsTree
        The settings; a preset or a class that does not exist is refused here.
    status : Status
        The records of all files.

    Returns
    -------
    Intake
        Ready to be offered exposures.

    Raises
    ------
    PresetError, RecipeError
        Where the mask settings cannot be fulfilled.
    """
    card = read_card(settings.mask.preset)
    make_recipe(card, settings.mask)
    app = Celery("maximaskd", set_as_current=False)
    app.config_from_object(celery_settings(settings))

    def send(path: str, key: str, options: Mapping[str, Any], queue: str) -> None:
        app.send_task(TASK_NAME, args=[path, key, dict(options)], task_id=key, queue=queue)

    return Intake(
        settings=settings,
        configurations=Configurations(settings.mask, card, look_s=CLASS_FILES_LOOK_S),
        preset=card.name,
        status=status,
        send=send,
    )
