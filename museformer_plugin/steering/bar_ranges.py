"""Ranges of bars as people write them: ``9-12,25-28``."""

from __future__ import annotations

from collections.abc import Sequence

from data_prep.bar_ranges import BarRangeError, parse_bar_ranges

from ..errors import UserError


def parse_ranges(option: str, text: str) -> tuple[tuple[int, int], ...]:
    """As ``parse_bar_ranges``; raises UserError, which names the ``option``, for what is none."""
    try:
        return parse_bar_ranges(text)
    except BarRangeError as error:
        raise UserError(f"{option}: {error}.") from None


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
