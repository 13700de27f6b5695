"""What a benchmark found: a table for people, figures for a comparison with another run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Table", "compare"]


@dataclass(frozen=True)
class Table:
    """
    The result of one part of the benchmark.

    Parameters
    ----------
    title : str
        What was measured, in which unit.
    head : sequence of str
        Names of the columns.
    rows : sequence of sequences of str
        The cells.
    figures : mapping of str to float, optional
        The numbers that another run is compared with, by a name that stays; larger is better.
    note : str, optional
        What a reader must know to read the table right.
    """

    title: str
    head: Sequence[str]
    rows: Sequence[Sequence[str]]
    figures: Mapping[str, float] = field(default_factory=dict)
    note: str = ""

    def markdown(self) -> str:
        """
        Write the table as Markdown.

        Returns
        -------
        str
            A heading, the note, the table.
        """
        lines = [f"## {self.title}", ""]
        if self.note:
            lines += [self.note, ""]
        lines += [_row(self.head), _row(["---"] * len(self.head)), *map(_row, self.rows)]
        return "\n".join(lines) + "\n"


def compare(before: Mapping[str, float], now: Mapping[str, float]) -> Table:
    """
    Set the figures of a run beside those of an earlier one.

    Parameters
    ----------
    before, now : mapping of str to float
        Figures by name; larger is better.

    Returns
    -------
    Table
        What both runs have, and the ratio; below 1 is a regression.
    """
    return Table(
        title="Beside the earlier run",
        note="Larger is better; of figures that depend on the machine only large changes mean "
        "something.",
        head=["", "before", "now", "now / before"],
        rows=[
            [name, f"{before[name]:.4g}", f"{now[name]:.4g}", f"{now[name] / before[name]:.2f}"]
            for name in now
            if name in before
        ],
    )


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
