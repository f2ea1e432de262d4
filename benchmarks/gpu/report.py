"""What a run leaves: one table, one file of JSON lines, one archive of the rest."""

from __future__ import annotations

import tarfile
from collections.abc import Callable, Sequence
from pathlib import Path

from .rows import line_of, read_rows
from .runner import Outcome

ROWS, TABLE, REST = "rows.jsonl", "table.md", "rest.tar.gz"


def write_report(out: Path, title: str, outcomes: Sequence[Outcome], logs: Path) -> str:
    """Write the table and the archive of all logs into ``out``, beside the rows; returns the table.

    Either file is replaced whole, so that one of before stays where this one is cut off.
    """
    lines = [f"# {title}", "", "| stage | what | figures |", "|---|---|---|"]
    lines += [line_of(row) for row in read_rows(out / ROWS)]
    lines += ["", "| stage | seconds | ended |", "|---|---|---|"]
    lines += [f"| {outcome.name} | {outcome.seconds:.0f} | {outcome.verdict} |" for outcome in outcomes]
    for outcome in outcomes:
        if outcome.verdict != "done" and outcome.tail:
            lines += ["", f"{outcome.name}: {outcome.verdict}. Its last words:", "```", outcome.tail, "```"]
    table = "\n".join(lines) + "\n"
    _replace(out / TABLE, lambda path: path.write_text(table))
    _replace(out / REST, lambda path: _pack(path, logs))
    return table


def _replace(path: Path, write: Callable[[Path], object]) -> None:
    beside = path.with_name(path.name + ".part")
    write(beside)
    beside.replace(path)


def _pack(path: Path, folder: Path) -> None:
    with tarfile.open(path, "w:gz") as archive:
        archive.add(folder, arcname="logs")
