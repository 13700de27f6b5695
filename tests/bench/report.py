"""What a benchmark found: a table for people, figures for a comparison with another run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

__all__ = ["Table"]


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


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"
