"""Reads the settings: flags first, then `MAXIMASKD_*` variables, the TOML file, the defaults."""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from pydantic import ValidationError
from pydantic_settings import (
    BaseSettings,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)
from pydantic_settings import SettingsError as EnvironmentValueError

from settings.errors import PermanentError
from settings.schema import SettingsTree

__all__ = ["CONFIG_VARIABLE", "PREFIX", "Settings", "SettingsError", "load", "variable_names"]

PREFIX = "MAXIMASKD_"
#: The one variable that is no setting: where the TOML file is.
CONFIG_VARIABLE = f"{PREFIX}CONFIG"


class SettingsError(PermanentError):
    """A setting that is unknown, malformed or out of bounds."""


class Settings(SettingsTree, BaseSettings):
    """
    All settings as one immutable tree.

    `MAXIMASKD_<CONCERN>_<FIELD>` sets a field from the environment; tuples and mappings are
    written as JSON there.
    """

    model_config = SettingsConfigDict(
        frozen=True,
        extra="forbid",
        env_prefix=PREFIX,
        env_nested_delimiter="_",
        env_nested_max_split=1,
    )

    @classmethod
    def settings_customise_sources(
        cls,
        settings_cls: type[BaseSettings],
        init_settings: PydanticBaseSettingsSource,
        env_settings: PydanticBaseSettingsSource,
        dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003 (the library's signature)
        file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        """Write the precedence down: flags, environment, TOML, then the defaults."""
        flags = dict(getattr(init_settings, "init_kwargs", {}))
        toml = flags.pop("_toml", {})
        return (
            InitSettingsSource(settings_cls, flags),
            env_settings,
            InitSettingsSource(settings_cls, toml),
        )


def variable_names() -> dict[str, tuple[str, str]]:
    """
    Return every environment variable that sets a field.

    Returns
    -------
    dict of str to (str, str)
        The variable's name and the concern and field that it sets.
    """
    return {
        f"{PREFIX}{concern}_{field}".upper(): (concern, field)
        for concern, info in SettingsTree.model_fields.items()
        for field in info.annotation.model_fields  # type: ignore[union-attr]
    }


def load(
    toml_path: Path | None = None,
    *,
    flags: Mapping[str, Mapping[str, Any]] | None = None,
) -> Settings:
    """
    Read the settings from flags, environment, TOML file and defaults, in this order.

    Parameters
    ----------
    toml_path : Path, optional
        The TOML file, one table a concern; if not given, the file that `MAXIMASKD_CONFIG` names.
    flags : mapping, optional
        Values by concern and field, as the command line gives them.

    Returns
    -------
    Settings
        The merged settings.

    Raises
    ------
    SettingsError
        Where a file cannot be read, a name is unknown, or a value is of a wrong type or out of
        bounds; the sentence names the place.
    """
    _refuse_unknown_variables()
    if toml_path is None and os.environ.get(CONFIG_VARIABLE):
        toml_path = Path(os.environ[CONFIG_VARIABLE])
    toml = _read_toml(toml_path) if toml_path else {}
    try:
        return Settings(_toml=toml, **(flags or {}))  # type: ignore[arg-type,call-arg]
    except ValidationError as error:
        raise SettingsError(_sentence(error, toml, toml_path)) from error
    except EnvironmentValueError as error:
        raise SettingsError(
            f"An environment variable {PREFIX}* could not be read ({error}): "
            "write tuples and mappings as JSON."
        ) from error


def _refuse_unknown_variables() -> None:
    known = [*variable_names(), CONFIG_VARIABLE]
    for name in os.environ:
        if name.upper().startswith(PREFIX) and name.upper() not in known:
            close = difflib.get_close_matches(name.upper(), known, n=1, cutoff=0.8)
            hint = f"did you mean {close[0]}?" if close else "see the settings table in the README."
            raise SettingsError(f"Unknown environment variable {name}: {hint}")


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"Cannot read the settings file {path} ({error.strerror}): check its name and rights."
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"The settings file {path} is not TOML ({error}): mend it.") from error


def _sentence(error: ValidationError, toml: dict[str, Any], toml_path: Path | None) -> str:
    first = error.errors(include_url=False)[0]
    names = [str(part) for part in first["loc"]]
    where = ".".join(names)
    variable = PREFIX + "_".join(names[:2]).upper()
    if variable in os.environ:
        where += f" (from {variable})"
    elif names[0] in toml:
        where += f" (from {toml_path})"
    return f"Setting {where}: {first['msg']}; correct it or leave it out."
