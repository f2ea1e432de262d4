"""Markdown tables of figures with their intervals."""

from __future__ import annotations

import math
from collections.abc import Sequence

from evaluation.bootstrap import Estimate


def figure(estimate: Estimate, digits: int = 2, percent: bool = False) -> str:
    """``0.42 [0.40, 0.44]``; in percent without the sign; without an interval where there is none."""
    if math.isnan(estimate.value):
        return "-"
    shown = estimate.scaled(100) if percent else estimate
    if math.isnan(shown.low):
        return f"{shown.value:.{digits}f}"
    return f"{shown.value:.{digits}f} [{shown.low:.{digits}f}, {shown.high:.{digits}f}]"


def markdown(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table whose first column is of words, the others of numbers."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)
