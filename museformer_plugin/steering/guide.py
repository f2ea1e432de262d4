"""Bars in the order in which a sequence holds them: their numbers, what they repeat, and what is said of them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from ..fc_attention import NO_BAR, PieceBars, UpcomingBar, repeat_distances


@dataclass(frozen=True)
class BarGuide:
    """Of n bars, in the order of the sequence, read or still to be written.

    ``numbers`` int64 [n], from 1 up. ``repeats`` int64 [n]: which bar of the sequence, counted from 0 and before its
    own, a bar repeats, ``NO_BAR`` where none is named. ``features`` float32 [n, C]: what is said of the bar, as
    ``conditions.ConditionColumns`` lays it out; a row of 0 says nothing.
    """

    numbers: np.ndarray
    repeats: np.ndarray
    features: np.ndarray

    @staticmethod
    def plain(numbers: Sequence[int] | np.ndarray, width: int) -> BarGuide:
        """Bars of which nothing is said; ``width``: C."""
        numbers = np.asarray(numbers, dtype=np.int64)
        return BarGuide(numbers, np.full(len(numbers), NO_BAR), np.zeros((len(numbers), width), dtype=np.float32))

    def __len__(self) -> int:
        return len(self.numbers)

    def bars_back(self) -> np.ndarray:
        """How many bars before its own is the one that a bar repeats, int64 [n], 0 where none is named."""
        return repeat_distances(self.numbers, self.repeats)

    def first(self, bars: int) -> BarGuide:
        """Of the first ``bars``; those behind what is guided are plain and numbered one by one."""
        missing = bars - len(self)
        if missing <= 0:
            return BarGuide(self.numbers[:bars], self.repeats[:bars], self.features[:bars])
        last = int(self.numbers[-1]) if len(self) else 0
        plain = BarGuide.plain(np.arange(last + 1, last + 1 + missing), self.features.shape[1])
        return BarGuide(
            np.concatenate([self.numbers, plain.numbers]),
            np.concatenate([self.repeats, plain.repeats]),
            np.concatenate([self.features, plain.features]),
        )

    def name_bars(self, piece: PieceBars) -> PieceBars:
        """The bars of a sequence, numbered as here."""
        guided = self.first(len(piece.starts))
        return replace(piece, numbers=guided.numbers, repeats=guided.repeats)

    def upcoming(self, read: int) -> list[UpcomingBar]:
        """The bars behind the first ``read``."""
        told = zip(self.numbers[read:].tolist(), self.repeats[read:].tolist())
        return [UpcomingBar(number, repeated) for number, repeated in told]
