"""Work through long corpora a few pieces at a time, so that memory stays small."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import islice

_PIECES = 64  # some million tokens at the lengths of the paper


def batches(lines: Iterable[str]) -> Iterator[list[str]]:
    """``lines`` in lists of 64, the last shorter."""
    rest = iter(lines)
    while batch := list(islice(rest, _PIECES)):
        yield batch
