"""The settings as a table of Markdown, made from the schema: what the README shows."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import get_args

from pydantic.fields import FieldInfo

from settings.schema import SettingsTree
from settings.sources import variable_names

__all__ = ["settings_table"]


def settings_table() -> str:
    """
    Write one row for each setting.

    Returns
    -------
    str
        A Markdown table: the setting in the TOML file, its environment variable, its default, its
        meaning.
    """
    rows = ["| setting | variable | default | meaning |", "|---|---|---|---|"]
    for variable, (concern, name) in variable_names().items():
        field = SettingsTree.model_fields[concern].annotation.model_fields[name]  # type: ignore[union-attr]
        meaning = f"{field.description}{_choices(field)}".replace("|", "\\|")
        rows.append(f"| `{concern}.{name}` | `{variable}` | {_default(field)} | {meaning} |")
    return "\n".join(rows) + "\n"


def _default(field: FieldInfo) -> str:
    default = field.get_default(call_default_factory=True, validated_data={})
    match default:
        case None | () | {}:
            return ""
        case tuple():
            return " ".join(f"`{part}`" for part in default)
        case Path():
            return f"`{_home_as_tilde(default)}`"
        case bool():
            return f"`{str(default).lower()}`"
        case _:
            return f"`{default}`"


def _home_as_tilde(path: Path) -> str:
    return f"~/{path.relative_to(Path.home())}" if path.is_relative_to(Path.home()) else str(path)


def _choices(field: FieldInfo) -> str:
    choices = [part for part in get_args(field.annotation) if isinstance(part, str)]
    unnamed = [part for part in choices if f"`{part}`" not in (field.description or "")]
    return f" One of {', '.join(f'`{part}`' for part in choices)}." if unnamed else ""


if __name__ == "__main__":
    sys.stdout.write(settings_table())
