"""Incremental state of streams that lie apart, each with rows of its own: some enter and leave, the others stay.

Letters: L layers, B streams, H heads, Dh head width; ``rows`` hold keys and values together, so their second dimension
is 2.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Generic, TypeVar

from torch import Tensor

_GROWTH = 256  # rows that a stream gains at a time, and a quarter of what it has


def grown(count: int) -> int:
    """For how many rows there is to be memory where ``count`` fill what there was."""
    return count + _GROWTH + count // 4


class StreamRows:
    """One stream's rows [L, 2, H, capacity, Dh]; it has read ``length`` tokens."""

    def __init__(self, rows: Tensor, length: int) -> None:
        self.rows = rows.clone()
        self.length = length

    def copy(self: Stream) -> Stream:
        """The same with memory of its own."""
        twin = copy.copy(self)
        twin.rows = self.rows.clone()
        return twin


Stream = TypeVar("Stream", bound=StreamRows)


class SeparateStreams(Generic[Stream]):
    """What the caches of such streams share: a step is ``begin_step``, ``attend`` once per layer, ``end_step``."""

    padded = False

    def __init__(self) -> None:
        self._streams: list[Stream] = []

    def __len__(self) -> int:
        return len(self._streams)

    def visible(self) -> None:
        """Each stream knows what it sees."""

    def advance(self) -> None:
        """Tokens are counted on the host alone."""

    def end_step(self) -> None:
        """Every stream has one more token."""
        for stream in self._streams:
            stream.length += 1

    def select(self, indices: Sequence[int]) -> None:
        """Keep these streams, in this order, with repeats."""
        kept = [self._streams[index] for index in indices]
        self._streams = [stream.copy() if stream in kept[:new] else stream for new, stream in enumerate(kept)]

    def put(self, index: int, entering: SeparateStreams[Stream]) -> None:
        """Let the one stream of ``entering``, which stays as it is, take the place of ``index``."""
        self._streams[index] = entering._streams[0].copy()
