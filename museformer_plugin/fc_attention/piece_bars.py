"""The bars of a piece: where they begin, their numbers, and which of them repeat another."""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

NO_BAR = -1


def repeat_distances(numbers: np.ndarray, repeats: np.ndarray) -> np.ndarray:
    """How many bars before each of n bars is the one that it repeats, int64 [n], 0 where none is named.

    ``numbers`` and ``repeats`` int64 [n] as ``PieceBars`` has them.
    """
    return np.where(repeats == NO_BAR, 0, numbers - numbers[repeats])


class UpcomingBar(NamedTuple):
    """A bar to be written: its number, and which of the bars written before, counted from 0, it repeats if any."""

    number: int
    repeats: int = NO_BAR


@dataclass(frozen=True)
class PieceBars:
    """The bars of one piece, or of a window of it.

    ``starts`` int [bars] counts from the prefix, so the first is 1. ``numbers`` int [bars], from 1 up in any order and
    with repeats; None is 1, 2, 3 ... ``repeats`` int [bars]: which of the bars written before, counted from 0, a bar
    repeats, ``NO_BAR`` where none; None is none at all. Raises ValueError for impossible bars.
    """

    num_tokens: int
    starts: np.ndarray
    num_complete: int
    numbers: np.ndarray | None = None
    repeats: np.ndarray | None = None

    def __post_init__(self) -> None:
        if self.num_tokens < 1:
            raise ValueError("a piece has at least its prefix: num_tokens must be positive")
        if len(self.starts) and (self.starts[0] != 1 or np.any(np.diff(self.starts) < 1)):
            raise ValueError("bar starts must rise from 1")
        if len(self.starts) and self.starts[-1] >= self.num_tokens:
            raise ValueError(f"the last bar starts at {self.starts[-1]} of {self.num_tokens} tokens")
        if not len(self.starts) - 1 <= self.num_complete <= len(self.starts):
            raise ValueError("all bars but the last must be complete")
        if len(self.bar_numbers) != len(self.starts):
            raise ValueError(f"{len(self.starts)} bars cannot have {len(self.bar_numbers)} numbers")
        if self.bar_numbers.min(initial=1) < 1:
            raise ValueError(f"bars are numbered from 1 up, not from {self.bar_numbers.min()}")
        if len(self.repeated_bars) != len(self.starts):
            raise ValueError(f"{len(self.starts)} bars cannot have {len(self.repeated_bars)} that they repeat")
        if np.any(self.repeated_bars >= np.arange(len(self.starts))) or self.repeated_bars.min(initial=0) < NO_BAR:
            raise ValueError("a bar repeats one that was written before it")

    @property
    def bar_numbers(self) -> np.ndarray:
        """The number of each bar, int64 [bars]."""
        if self.numbers is None:
            return np.arange(1, len(self.starts) + 1)
        return np.asarray(self.numbers, dtype=np.int64)

    @property
    def repeated_bars(self) -> np.ndarray:
        """Which bar each repeats, int64 [bars]."""
        if self.repeats is None:
            return np.full(len(self.starts), NO_BAR)
        return np.asarray(self.repeats, dtype=np.int64)

    @property
    def bar_ids(self) -> np.ndarray:
        """The number of each token's bar, 0 for the prefix, int64 [tokens]."""
        return np.concatenate([[0], np.repeat(self.bar_numbers, np.diff(self.starts, append=self.num_tokens))])
