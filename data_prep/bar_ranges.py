"""Bars as people write them down: ``9-12,25-28``."""

from __future__ import annotations

import re

_RANGE = re.compile(r"([0-9]{1,6})(?:-([0-9]{1,6}))?")


class BarRangeError(ValueError):
    """Text that names no bars; the message is a sentence without its full stop."""


def parse_bar_ranges(text: str, example: str = "9-12,25-28") -> tuple[tuple[int, int], ...]:
    """``9-12,25`` -> ((9, 12), (25, 25)), bars counted from 1, both ends included; empty parts are passed over.

    Raises BarRangeError for what is none, which says to write it as in the ``example``.
    """
    found = []
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        match = _RANGE.fullmatch(part)
        if match is None:
            raise BarRangeError(f"{part!r} is neither a bar nor a range of bars; write them as {example}")
        first, last = int(match[1]), int(match[2] or match[1])
        if first < 1:
            raise BarRangeError(f"bars are counted from 1, there is no bar {first}")
        if last < first:
            raise BarRangeError(f"the range {part} ends before it begins")
        found.append((first, last))
    return tuple(found)
