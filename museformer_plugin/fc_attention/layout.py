"""Where pieces and bars lie in a batch, and the plans of who attends to whom that follow.

A batch is its pieces' tokens laid end to end, without padding: T tokens, and N summaries, one for
each complete bar, in the order of the bars. Token 0 of every piece is its prefix, outside every
bar; bars follow without gaps, in the order in which they are written. Each carries a number: 1, 2 and
so on unless told otherwise, as where a window of a piece begins later, or where a bar is written after
bars that sound later. A bar sees bars written before it, by the distance of their numbers, and token by token
also one that it is told to repeat. A last bar that is not complete has no summary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from .plan import AttentionPlan, Segment, merge_ranges

# Longer bars are cut into segments of this many queries, so that what is computed at a time is bounded.
LONGEST_SEGMENT = 512


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


@dataclass(frozen=True)
class BarLayout:
    """A batch of pieces laid end to end, and its two attention plans.

    ``pieces``: their bars. ``structure_bars``: distances, from number to number, of the bars written
    before that are attended to token by token; 0 or less are of bars with the same number or a higher
    one. A bar that is repeated is attended to so as well. ``coarse``: whether the others written before are
    seen through their summaries; without it there are none (N = 0). ``bar_ids`` int64 [T]: the number of
    each token's bar, 0 for a prefix. ``summary_bar_ids`` int64 [N]. ``token_plan`` and ``summary_plan``
    address key rows [summaries | tokens], that is N + T rows.
    """

    pieces: tuple[PieceBars, ...]
    structure_bars: tuple[int, ...]
    coarse: bool
    bar_ids: np.ndarray
    summary_bar_ids: np.ndarray
    token_plan: AttentionPlan
    summary_plan: AttentionPlan

    @property
    def num_tokens(self) -> int:
        """T, the tokens of all pieces."""
        return len(self.bar_ids)

    @property
    def num_summaries(self) -> int:
        """N, the complete bars of all pieces, or 0 without coarse-grained attention."""
        return len(self.summary_bar_ids)

    @property
    def summary_bars(self) -> np.ndarray:
        """The tokens of each summary's bar, half-open, int64 [N, 2]."""
        own_row_and_bar = self.summary_plan.key_ranges.reshape(-1, 2, 2)
        return own_row_and_bar[:, 1] - self.num_summaries

    @staticmethod
    def build(pieces: Sequence[PieceBars], structure_bars: Sequence[int], coarse: bool = True) -> BarLayout:
        """Lay ``pieces`` end to end.

        Raises ValueError when there is no piece.
        """
        if not pieces:
            raise ValueError("a batch has at least one piece")
        num_summaries = sum(piece.num_complete for piece in pieces) if coarse else 0
        token_segments, summary_segments = [], []
        token_start = num_summaries  # in key rows
        first_summary = 0
        for piece in pieces:
            bars = _PieceRows(piece, token_start, first_summary, frozenset(structure_bars), coarse)
            token_segments += bars.token_segments(num_summaries)
            summary_segments += bars.summary_segments()
            token_start += piece.num_tokens
            first_summary += piece.num_complete if coarse else 0
        return BarLayout(
            pieces=tuple(pieces),
            structure_bars=tuple(sorted(set(structure_bars))),
            coarse=coarse,
            bar_ids=np.concatenate([piece.bar_ids for piece in pieces]),
            summary_bar_ids=np.concatenate(
                [piece.bar_numbers[: piece.num_complete if coarse else 0] for piece in pieces]
            ),
            token_plan=AttentionPlan.of(token_segments, token_start),
            summary_plan=AttentionPlan.of(summary_segments, token_start),
        )


class _PieceRows:
    """The key rows of one piece inside a batch."""

    def __init__(
        self, piece: PieceBars, token_start: int, first_summary: int, structure: frozenset[int], coarse: bool
    ) -> None:
        self.token_start = token_start
        edges = [token_start + int(start) for start in piece.starts] + [token_start + piece.num_tokens]
        self.bars = list(zip(edges, edges[1:]))
        self.numbers: list[int] = piece.bar_numbers.tolist()
        self.repeated: list[int] = piece.repeated_bars.tolist()
        self.first_summary = first_summary
        self.num_summaries = piece.num_complete if coarse else 0
        self.structure = structure
        self.coarse = coarse

    def token_segments(self, num_summaries: int) -> list[Segment]:
        """The prefix and every bar, each with its keys; query rows count tokens only."""
        prefix = (self.token_start, self.token_start + 1)
        found = [Segment((prefix[0] - num_summaries, prefix[1] - num_summaries), [prefix], causal=True)]
        for bar, (start, end) in enumerate(self.bars):
            keys = self._keys_of(bar, prefix)
            for first in range(start, end, LONGEST_SEGMENT):
                last = min(first + LONGEST_SEGMENT, end)
                queries = (first - num_summaries, last - num_summaries)
                found.append(Segment(queries, [*keys[:-1], (keys[-1][0], last)], causal=True))
        return found

    def _keys_of(self, bar: int, prefix: tuple[int, int]) -> list[tuple[int, int]]:
        """Summaries, then the prefix and the structure bars, the own bar last."""
        summaries, tokens = [], [prefix]
        number = self.numbers[bar]
        for other, number_of_other in enumerate(self.numbers[:bar]):
            if number - number_of_other in self.structure or other == self.repeated[bar]:
                tokens.append(self.bars[other])
            elif self.coarse:
                summaries.append((self.first_summary + other, self.first_summary + other + 1))
        return merge_ranges(summaries) + merge_ranges([*tokens, self.bars[bar]])

    def summary_segments(self) -> list[Segment]:
        """Every summary with itself and the tokens of its bar."""
        rows = [(self.first_summary + bar, self.first_summary + bar + 1) for bar in range(self.num_summaries)]
        return [Segment(row, [row, self.bars[bar]]) for bar, row in enumerate(rows)]
