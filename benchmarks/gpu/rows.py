"""Rows of figures: printed, and appended to a file of JSON lines, as soon as each is measured."""

from __future__ import annotations

import json
import os
from pathlib import Path

Figure = str | int | float | None


class Rows:
    """What one stage has measured; every row is on the disk before the next is begun.

    Args:
        stage: its name, the first field of each row.
        path: where rows are appended; other stages append there too.
    """

    def __init__(self, stage: str, path: Path) -> None:
        self.stage = stage
        self._path = path

    def add(self, what: str, **figures: Figure) -> None:
        """Keep a row: ``what`` was measured, and its figures by name, units in the names."""
        row = {"stage": self.stage, "what": what, **{name: _short(figure) for name, figure in figures.items()}}
        print(line_of(row), flush=True)
        with self._path.open("a") as file:
            file.write(json.dumps(row) + "\n")
            file.flush()
            os.fsync(file.fileno())


def read_rows(path: Path) -> list[dict[str, Figure]]:
    """All rows so far; a last line that was cut off is left out."""
    rows = []
    for line in path.read_text().splitlines() if path.exists() else ():
        try:
            rows.append(json.loads(line))
        except json.JSONDecodeError:
            continue
    return rows


def line_of(row: dict[str, Figure]) -> str:
    """A row of a table: stage, what, and the figures with their names."""
    figures = ", ".join(f"{name.replace('_', ' ')} {figure}" for name, figure in list(row.items())[2:])
    return f"| {row['stage']} | {row['what']} | {figures} |"


def _short(figure: Figure) -> Figure:
    return float(f"{figure:.4g}") if isinstance(figure, float) else figure
