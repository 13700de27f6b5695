"""What one command asks for beyond the settings: a task's options in, checked mask settings out.

Only what the user said travels, never all settings: whoever reads it lays it over settings of its
own, by the same schema, and the configuration's hash shows whether both arrived at the same.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from settings.errors import PermanentError
from settings.schema import MaskSettings

__all__ = ["NO_OVERLAY", "Order", "Overlay", "OverlayError"]


class OverlayError(PermanentError):
    """Options of a task that no setting takes."""


def _absolute(path: Path) -> Path:
    if not path.is_absolute():
        raise ValueError("it must be absolute, for the worker stands in another directory")
    return path


AbsolutePath = Annotated[Path, AfterValidator(_absolute)]


class Overlay(BaseModel):
    """
    What one command asks for beyond the settings.

    Parameters
    ----------
    mask : dict, optional
        Mask settings by name, as JSON holds them; only those that were given.
    output_dir : Path, optional
        Directory of the mask file; without it, where the settings put it.
    batch_size : int, optional
        How much passes through the network at once; without it, the worker's own.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    mask: dict[str, Any] = Field(default_factory=dict)
    output_dir: AbsolutePath | None = None
    batch_size: int | None = Field(None, ge=1, le=1024)

    def as_options(self) -> dict[str, Any]:
        """
        Spell it as the options of a task.

        Returns
        -------
        dict
            What JSON can hold; empty where nothing was asked for.
        """
        return self.model_dump(mode="json", exclude_defaults=True)

    @classmethod
    def read(cls, options: Mapping[str, Any]) -> Self:
        """
        Read the options of a task.

        Parameters
        ----------
        options : mapping
            As `as_options` spells them.

        Returns
        -------
        Overlay
            The same.

        Raises
        ------
        OverlayError
            Where an option is unknown, of a wrong type or out of bounds.
        """
        try:
            return cls(**options)
        except (ValidationError, TypeError) as error:
            raise OverlayError(_sentence("", error)) from error

    def over(self, settings: MaskSettings) -> MaskSettings:
        """
        Lay it over mask settings.

        Parameters
        ----------
        settings : MaskSettings
            The settings that count where nothing was asked for.

        Returns
        -------
        MaskSettings
            Both together.

        Raises
        ------
        OverlayError
            Where a setting is unknown, of a wrong type or out of bounds, or the two contradict.
        """
        if not self.mask:
            return settings
        try:
            return MaskSettings(**(settings.model_dump() | self.mask))
        except (ValidationError, TypeError) as error:
            raise OverlayError(_sentence("mask.", error)) from error


class Order(Overlay):
    """
    All options of a task.

    Parameters
    ----------
    root : Path
        The watched root, or the directory that stands for it.
    configuration : str
        Hash of the configuration that the key was made with.
    hdu : int, optional
        The one HDU to mask; without it, all.
    mask, output_dir, batch_size : optional
        As in `Overlay`.
    """

    root: AbsolutePath
    configuration: str
    hdu: int | None = Field(None, ge=0)

    @property
    def is_submission(self) -> bool:
        """Whether it asks for more than a watcher does."""
        return self.hdu is not None or bool(self.mask or self.output_dir or self.batch_size)


#: Nothing is asked for beyond the settings.
NO_OVERLAY = Overlay()


def _sentence(prefix: str, error: ValidationError | TypeError) -> str:
    if isinstance(error, TypeError):
        return f"The options of the task are no names of options ({error}): submit it anew."
    first = error.errors(include_url=False)[0]
    where = prefix + ".".join(str(part) for part in first["loc"])
    return f"The task's option {where.rstrip('.')}: {first['msg']}; submit it anew, corrected."
