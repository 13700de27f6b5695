"""Measures everything in one run: `make bench`.

It prints every table as it comes, writes all to a Markdown file, and the figures that a later run
can be compared with to a JSON file.
"""

from __future__ import annotations

import argparse
import json
import os
from collections.abc import Callable
from pathlib import Path

# Set before TensorFlow starts: its notes would stand between the tables.
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

from tests.bench import agreement, background, command, daemon, shares, sizes, warm
from tests.bench.machine import describe
from tests.bench.report import Table, compare

PARTS: dict[str, Callable[[], Table]] = {
    "warm": warm.measure,
    "command": command.measure,
    "background": background.measure,
    "shares": shares.measure,
    "agreement": agreement.measure,
    "sizes": sizes.measure_sizes,
    "batches": sizes.measure_batches,
    "daemon": daemon.measure,
}


def main() -> None:
    """Run the parts that the command line asks for."""
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("parts", nargs="*", default=[*PARTS], help=f"of {' '.join(PARTS)}; all")
    parser.add_argument("--markdown", type=Path, help="file to write the tables to")
    parser.add_argument("--json", type=Path, help="file to write the figures to")
    parser.add_argument("--compare", type=Path, help="figures of an earlier run to compare with")
    arguments = parser.parse_args()
    if unknown := set(arguments.parts) - set(PARTS):
        parser.error(f"no such part: {' '.join(sorted(unknown))}")
    head = f"On {describe()}\nMade by `python -m tests.bench {' '.join(arguments.parts)}`.\n"
    print(head)
    tables: list[Table] = []
    for part in arguments.parts:
        tables.append(PARTS[part]())
        print(tables[-1].markdown(), flush=True)
        # What is measured is kept, whatever stops the run.
        figures = {name: value for table in tables for name, value in table.figures.items()}
        if arguments.markdown:
            text = "\n".join(["# Benchmarks\n", head, *(table.markdown() for table in tables)])
            arguments.markdown.write_text(text, encoding="utf-8")
        if arguments.json:
            arguments.json.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf-8")
    if arguments.compare:
        before = json.loads(arguments.compare.read_text(encoding="utf-8"))
        print(compare(before, figures).markdown())


if __name__ == "__main__":
    main()
