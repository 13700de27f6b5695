"""The night's files as a table for a terminal: records in, something that rich can show out."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from rich.console import Group
from rich.table import Table
from rich.text import Text

from worker.record import FileRecord, State

if TYPE_CHECKING:
    from rich.progress import Progress

__all__ = ["STYLES", "files_table", "live_view", "summary"]

#: How each state is coloured.
STYLES = {
    State.SEEN: "dim",
    State.WAITING: "dim",
    State.QUEUED: "cyan",
    State.RUNNING: "bold blue",
    State.DONE: "green",
    State.SKIPPED: "yellow",
    State.FAILED: "bold red",
    State.QUARANTINED: "bold red",
    State.INCOMPLETE: "yellow",
    State.VANISHED: "dim",
}


def files_table(records: Sequence[FileRecord], *, title: str = "") -> Table:
    """
    Show one row for each file.

    Parameters
    ----------
    records : sequence of FileRecord
        The records, in the order of the rows.
    title : str, optional
        What stands above the table.

    Returns
    -------
    rich.table.Table
        The table.
    """
    table = Table(title=title or None, title_justify="left", expand=False)
    table.add_column("file", overflow="fold")
    table.add_column("state")
    table.add_column("arrived, UTC", no_wrap=True)
    table.add_column("ended, UTC", no_wrap=True)
    table.add_column("s", justify="right")
    table.add_column("Mpix", justify="right")
    table.add_column("masked part of each class, or reason", overflow="fold")
    for record in records:
        table.add_row(
            Text(_name(record)),
            Text(record.state.value, style=STYLES[record.state]),
            _clock_time(record.seen_at),
            _clock_time(record.finished_at),
            f"{record.seconds:.1f}" if record.seconds is not None else "",
            f"{record.mpix:.1f}" if record.mpix is not None else "",
            Text(_last_column(record)),
        )
    return table


def summary(records: Sequence[FileRecord]) -> Text:
    """
    Count files by state.

    Parameters
    ----------
    records : sequence of FileRecord
        The records.

    Returns
    -------
    rich.text.Text
        One line.
    """
    line = Text()
    for state in State:
        count = sum(record.state is state for record in records)
        if count:
            line.append(f"{count} {state.value}  ", style=STYLES[state])
    return line if line.plain else Text("no files yet", style="dim")


def live_view(records: Sequence[FileRecord], *, title: str, n_rows: int, note: str = "") -> Group:
    """
    Show the last files, what is running, and the counts.

    Parameters
    ----------
    records : sequence of FileRecord
        The records of the night.
    title : str
        What stands above the table.
    n_rows : int
        Most rows to show: the newest, and all that are running.
    note : str, optional
        A last line.

    Returns
    -------
    rich.console.Group
        All of it.
    """
    running = [record for record in records if record.state is State.RUNNING]
    others = [record for record in records if record.state is not State.RUNNING]
    n_others = max(n_rows - len(running), 1)
    hidden = len(others) - n_others
    parts: list[Table | Text | Progress] = [
        files_table([*others[-n_others:], *running], title=title)
    ]
    if hidden > 0:
        parts.append(Text(f"{hidden} earlier files: maximaskd status", style="dim"))
    parts += [_bar(record) for record in running]
    parts.append(summary(records))
    if note:
        parts.append(Text(note, style="dim"))
    return Group(*parts)


def _bar(record: FileRecord) -> Progress:
    from rich.progress import BarColumn, Progress, TextColumn

    bar = Progress(
        TextColumn("{task.description}"),
        BarColumn(),
        TextColumn("{task.percentage:>3.0f} %"),
        TextColumn("{task.fields[hdus]}"),
    )
    hdus = f"HDU {record.hdus_done or 0} of {record.hdus}" if record.hdus else "reading"
    bar.add_task(
        Text(_name(record)).plain.replace("[", r"\["),
        # Whole kilopixels: the bar counts in integers.
        total=1000 * record.mpix if record.mpix else None,
        completed=int(1000 * (record.mpix_done or 0)),
        hdus=hdus,
    )
    return bar


def _name(record: FileRecord) -> str:
    inside = record.path.is_relative_to(record.root)
    name = str(record.path.relative_to(record.root) if inside else record.path)
    # A terminal cannot show bytes that are not UTF-8.
    shown = name.encode("utf-8", "surrogateescape").decode("utf-8", "replace")
    if record.hdu is not None:
        shown += f"[{record.hdu}]"
    output_dir = record.options.get("output_dir")
    return f"{shown} -> {output_dir}" if output_dir else shown


def _clock_time(iso: str) -> str:
    return iso[11:19]


def _last_column(record: FileRecord) -> str:
    if record.state is not State.DONE:
        return record.reason
    parts = sorted(((part, name) for name, part in record.fractions.items() if part), reverse=True)
    shown = [f"{name} {_percent(part)}" for part, name in parts]
    return "  ".join([*shown, record.reason] if record.reason else shown)


def _percent(fraction: float) -> str:
    return f"{100 * fraction:.2g} %"
