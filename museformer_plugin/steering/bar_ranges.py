"""Ranges of bars as people write them: ``9-12,25-28``."""

from __future__ import annotations

import re
from collections.abc import Sequence

from ..errors import UserError

_RANGE = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")


def parse_ranges(option: str, text: str) -> tuple[tuple[int, int], ...]:
    """``9-12,25`` -> ((9, 12), (25, 25)), bars counted from 1, both ends included.

    Raises UserError, which names the ``option``, for what is none.
    """
    found = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise UserError(f"{option} takes bars and ranges of bars, such as 9-12,25-28, not {part!r}.")
        first, last = int(match[1]), int(match[2] or match[1])
        if first < 1:
            raise UserError(f"{option}: bars are counted from 1, there is no bar {first}.")
        if last < first:
            raise UserError(f"{option}: the range {part} ends before it begins.")
        found.append((first, last))
    return tuple(found)


def bars_of_ranges(option: str, ranges: Sequence[tuple[int, int]], num_bars: int) -> set[int]:
    """The bars of ranges in a song of ``num_bars``. Raises UserError where one leaves the song or bars come twice."""
    found: set[int] = set()
    for first, last in ranges:
        if last > num_bars:
            raise UserError(f"{option} asks for bar {last}, and the song has {num_bars} bars.")
        bars = set(range(first, last + 1))
        if bars & found:
            raise UserError(f"{option} names bar {min(bars & found)} twice.")
        found |= bars
    return found
