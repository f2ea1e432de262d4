"""Which bars a bar sees token by token, and the ranges of rows that follow, of a whole batch at once.

A unit is a prefix or a bar; they are counted through the batch, so that the prefix of a piece comes before its bars.
What a unit sees token by token is a rising list: the prefix, some bars, itself. Neighbours in the list that are
neighbours in the piece share one range of token rows; between others lie the bars that are seen by their summaries.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from .piece_bars import PieceBars
from .plan import AttentionPlan
from .runs import cut, laid_end_to_end


class _Units(NamedTuple):
    """Prefixes and bars: ``piece`` of each, ``edges`` of their token rows; of each bar its unit, its number and the
    unit that it repeats, -1 where none; of each piece its first unit and its first summary."""

    piece: np.ndarray
    edges: np.ndarray
    bars: np.ndarray
    numbers: np.ndarray
    repeated: np.ndarray
    first_of_piece: np.ndarray
    first_summary: np.ndarray

    @staticmethod
    def of(pieces: Sequence[PieceBars], first_row: int) -> _Units:
        num_bars = np.array([len(piece.starts) for piece in pieces])
        tokens = np.array([piece.num_tokens for piece in pieces])
        summaries = np.array([piece.num_complete for piece in pieces])
        first = np.cumsum(num_bars + 1) - num_bars - 1
        piece = np.repeat(np.arange(len(pieces)), num_bars + 1)
        rows = first_row + np.cumsum(tokens) - tokens
        offsets = np.concatenate([part for one in pieces for part in ((0,), one.starts)])
        bars = laid_end_to_end(first + 1, num_bars)
        repeated = np.concatenate([one.repeated_bars for one in pieces]).astype(np.int64)
        return _Units(
            piece,
            np.append(offsets + rows[piece], first_row + tokens.sum()).astype(np.int64),
            bars,
            np.concatenate([one.bar_numbers for one in pieces]).astype(np.int64),
            np.where(repeated < 0, -1, repeated + first[piece[bars]] + 1),
            first,
            np.cumsum(summaries) - summaries,
        )

    def seen_token_by_token(self, structure_bars: Sequence[int]) -> tuple[np.ndarray, np.ndarray]:
        """(the unit, a unit that it sees), in rising order."""
        bars, distances = self.bars, np.array(structure_bars, dtype=np.int64)
        # numbers of different pieces are further apart than any distance
        span = self.numbers.max(initial=0) + np.abs(distances).max(initial=0)
        places = self.piece[bars] * span + self.numbers
        order = np.argsort(places, kind="stable")
        wanted = (places[:, None] - distances).ravel()
        low, high = (np.searchsorted(places[order], wanted, side) for side in ("left", "right"))
        seeing = np.repeat(np.repeat(bars, len(distances)), high - low)
        at_distance = bars[order[laid_end_to_end(low, high - low)]]
        repeats = self.repeated >= 0
        units = np.arange(len(self.piece))
        seeing = np.concatenate([seeing, bars[repeats], units, units])
        seen = np.concatenate([at_distance, self.repeated[repeats], self.first_of_piece[self.piece], units])
        before = seen <= seeing
        return np.divmod(np.unique((seeing * len(units) + seen)[before]), len(units))


def token_plan(
    pieces: Sequence[PieceBars], structure_bars: Sequence[int], coarse: bool, num_summaries: int, longest: int
) -> AttentionPlan:
    """Every prefix and bar with its keys, bars in segments of at most ``longest`` queries.

    Keys are the rows [summaries | tokens]; query rows count tokens only. A bar's ranges are those of summaries, then
    those of tokens, its own part last.
    """
    units = _Units.of(pieces, num_summaries)
    ranges, first_range = _ranges(units, *units.seen_token_by_token(structure_bars), coarse)
    of, offset = cut(np.diff(units.edges), longest)
    first = units.edges[of] + offset
    end = np.minimum(first + longest, units.edges[of + 1])
    count = np.diff(first_range)[of]
    key_ranges = ranges[laid_end_to_end(first_range[of], count)]
    ends = np.cumsum(count)
    key_ranges[ends - 1, 1] = end
    return AttentionPlan(
        np.stack([first, end], axis=1) - num_summaries,
        key_ranges,
        np.concatenate([[0], ends]),
        np.ones(len(of), dtype=bool),
        np.zeros(len(of), dtype=np.int64),
        int(units.edges[-1]),
    )


def _ranges(units: _Units, seeing: np.ndarray, seen: np.ndarray, coarse: bool) -> tuple[np.ndarray, np.ndarray]:
    """The key ranges of all units, [R, 2], and where those of each begin, with the end of all."""
    first = np.diff(seeing, prepend=-1) != 0
    apart = first | (np.diff(seen, prepend=-1) != 1)  # a range begins
    tokens = np.stack([units.edges[seen[apart]], units.edges[seen[np.append(apart[1:], True)] + 1]], axis=1)
    tokens_of = seeing[apart]
    gap = np.flatnonzero(apart & ~first) if coarse else np.zeros(0, dtype=np.int64)
    piece = units.piece[seeing[gap]]
    first_summary = (units.first_summary - units.first_of_piece - 1)[piece]
    summaries = np.stack([first_summary + seen[gap - 1] + 1, first_summary + seen[gap]], axis=1)
    order = np.argsort(np.concatenate([2 * seeing[gap], 2 * tokens_of + 1]), kind="stable")
    counts = np.bincount(np.concatenate([seeing[gap], tokens_of]), minlength=len(units.piece))
    return np.concatenate([summaries, tokens])[order], np.concatenate([[0], np.cumsum(counts)])


def summary_plan(pieces: Sequence[PieceBars], num_summaries: int) -> AttentionPlan:
    """Every summary with itself and the tokens of its bar; ``num_summaries`` is 0 where there are to be none."""
    units = _Units.of(pieces, num_summaries)
    complete = np.array([piece.num_complete for piece in pieces]) if num_summaries else np.zeros(len(pieces), int)
    bars = laid_end_to_end(units.first_of_piece + 1, complete)
    own = np.arange(num_summaries)
    rows = np.stack([own, own + 1], axis=1)
    key_ranges = np.stack([rows, np.stack([units.edges[bars], units.edges[bars + 1]], axis=1)], axis=1)
    return AttentionPlan(
        rows,
        key_ranges.reshape(-1, 2),
        2 * np.arange(num_summaries + 1),
        np.zeros(num_summaries, dtype=bool),
        np.zeros(num_summaries, dtype=np.int64),
        int(units.edges[-1]),
    )
