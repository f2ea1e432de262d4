"""Where pieces and bars lie in a batch, and who attends to whom as ranges of rows.

A batch is its pieces' tokens laid end to end, without padding: T tokens, and N summaries, one for
each complete bar, in the order of the bars. Token 0 of every piece is its prefix, outside every
bar; bars follow without gaps and are numbered from 1, or from where a window of a piece begins. A
last bar that is not complete has no summary.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from functools import cached_property

import numpy as np
import torch

from .index_lists import DeviceLists, IndexLists
from .walk import Walk

# Longer bars are cut into segments of this many queries, so that what is computed at a time is bounded.
LONGEST_SEGMENT = 512


@dataclass(frozen=True)
class PieceBars:
    """The bars of one piece, or of a window of it.

    ``starts`` int [bars] counts from the prefix, so the first is 1. ``first_bar``: the number of the first bar.
    """

    num_tokens: int
    starts: np.ndarray
    num_complete: int
    first_bar: int = 1

    def __post_init__(self) -> None:
        if self.num_tokens < 1:
            raise ValueError("a piece has at least its prefix: num_tokens must be positive")
        if len(self.starts) and (self.starts[0] != 1 or np.any(np.diff(self.starts) < 1)):
            raise ValueError("bar starts must rise from 1")
        if len(self.starts) and self.starts[-1] >= self.num_tokens:
            raise ValueError(f"the last bar starts at {self.starts[-1]} of {self.num_tokens} tokens")
        if not len(self.starts) - 1 <= self.num_complete <= len(self.starts):
            raise ValueError("all bars but the last must be complete")
        if self.first_bar < 1:
            raise ValueError(f"bars are numbered from 1 up, not from {self.first_bar}")


@dataclass(frozen=True)
class AttentionPlan:
    """Which rows of keys each segment of query rows attends to.

    ``query_ranges`` int64 [S, 2], half-open, do not overlap. The keys of segment s are the rows of
    ``key_ranges[first_key_range[s] : first_key_range[s + 1]]`` (int64 [R, 2], half-open), in order.
    Where ``causal`` (bool [S]), the last rows of the keys are the segment's own rows, and a query
    does not see those after itself; no other key of that segment comes behind them. ``num_keys``:
    all key rows there are, seen or not.
    """

    query_ranges: np.ndarray
    key_ranges: np.ndarray
    first_key_range: np.ndarray
    causal: np.ndarray
    num_keys: int
    _on_devices: dict[torch.device, DeviceLists] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, object]:
        return {**self.__dict__, "_on_devices": {}}  # index lists travel between processes, copies on devices do not

    @cached_property
    def index_lists(self) -> IndexLists:
        """The plan as the GPU kernels walk it, made at the first look."""
        return IndexLists.of(self)

    @cached_property
    def walk(self) -> Walk:
        """The plan as the plain path walks it: made once for all layers and passes of a batch."""
        return Walk.of(self)

    def on(self, device: torch.device) -> DeviceLists:
        """The index lists on ``device``: copied once, then the same for all layers and passes of a batch."""
        if device not in self._on_devices:
            self._on_devices[device] = self.index_lists.to(device)
        return self._on_devices[device]

    @staticmethod
    def of(segments: Iterable[tuple[tuple[int, int], list[tuple[int, int]], bool]], num_keys: int) -> AttentionPlan:
        """Collect (query range, key ranges, causal) triples."""
        queries, keys, first, causal = [], [], [0], []
        for query_range, key_ranges, is_causal in segments:
            queries.append(query_range)
            keys.extend(key_ranges)
            first.append(len(keys))
            causal.append(is_causal)
        return AttentionPlan(
            np.array(queries, dtype=np.int64).reshape(-1, 2),
            np.array(keys, dtype=np.int64).reshape(-1, 2),
            np.array(first, dtype=np.int64),
            np.array(causal, dtype=bool),
            num_keys,
        )


@dataclass(frozen=True)
class BarLayout:
    """A batch of pieces laid end to end, and its two attention plans.

    ``pieces``: their bars. ``structure_bars``: distances, in bars, of the earlier bars attended to
    token by token. ``coarse``: whether the other earlier bars are seen through their summaries;
    without it there are none (N = 0). ``bar_ids`` int64 [T]: the number of each token's bar, 0 for a
    prefix. ``summary_bar_ids`` int64 [N]. ``token_plan`` and ``summary_plan`` address key rows
    [summaries | tokens], that is N + T rows.
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

    def make_index_lists(self) -> None:
        """Make what GPU kernels need now, in a data worker, rather than at the first attention."""
        for plan in (self.token_plan, self.summary_plan):
            _ = plan.index_lists

    @staticmethod
    def build(pieces: Sequence[PieceBars], structure_bars: Sequence[int], coarse: bool = True) -> BarLayout:
        """Lay ``pieces`` end to end.

        Raises ValueError when there is no piece or a structure distance is not positive.
        """
        if not pieces:
            raise ValueError("a batch has at least one piece")
        if any(distance < 1 for distance in structure_bars):
            raise ValueError(f"structure bars are distances from 1 up, not {list(structure_bars)}")
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
            bar_ids=np.concatenate([_bar_ids(piece) for piece in pieces]),
            summary_bar_ids=np.concatenate(
                [piece.first_bar + np.arange(piece.num_complete if coarse else 0) for piece in pieces]
            ),
            token_plan=AttentionPlan.of(token_segments, token_start),
            summary_plan=AttentionPlan.of(summary_segments, token_start),
        )


def _bar_ids(piece: PieceBars) -> np.ndarray:
    is_start = np.zeros(piece.num_tokens, dtype=np.int64)
    is_start[piece.starts] = 1
    is_start[piece.starts[:1]] = piece.first_bar
    return np.cumsum(is_start)


def merge_ranges(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join half-open ranges that touch; they come in rising order."""
    merged: list[tuple[int, int]] = []
    for start, end in ranges:
        if merged and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged


class _PieceRows:
    """The key rows of one piece inside a batch."""

    def __init__(
        self, piece: PieceBars, token_start: int, first_summary: int, structure: frozenset[int], coarse: bool
    ) -> None:
        self.token_start = token_start
        edges = [token_start + int(start) for start in piece.starts] + [token_start + piece.num_tokens]
        self.bars = list(zip(edges, edges[1:]))
        self.first_summary = first_summary
        self.num_summaries = piece.num_complete if coarse else 0
        self.structure = structure
        self.coarse = coarse

    def token_segments(self, num_summaries: int) -> list[tuple[tuple[int, int], list[tuple[int, int]], bool]]:
        """The prefix and every bar, each with its keys; query rows count tokens only."""
        prefix = (self.token_start, self.token_start + 1)
        segments = [(prefix, [prefix], True)]
        for bar, (start, end) in enumerate(self.bars):
            keys = self._keys_of(bar, prefix)
            for first in range(start, end, LONGEST_SEGMENT):
                last = min(first + LONGEST_SEGMENT, end)
                segments.append(((first, last), [*keys[:-1], (keys[-1][0], last)], True))
        return [((a - num_summaries, b - num_summaries), keys, causal) for (a, b), keys, causal in segments]

    def _keys_of(self, bar: int, prefix: tuple[int, int]) -> list[tuple[int, int]]:
        """Summaries, then the prefix and the structure bars, the own bar last."""
        summaries, tokens = [], [prefix]
        for other in range(bar):
            if bar - other in self.structure:
                tokens.append(self.bars[other])
            elif self.coarse:
                summaries.append((self.first_summary + other, self.first_summary + other + 1))
        return merge_ranges(summaries) + merge_ranges([*tokens, self.bars[bar]])

    def summary_segments(self) -> list[tuple[tuple[int, int], list[tuple[int, int]], bool]]:
        """Every summary with itself and the tokens of its bar."""
        rows = [(self.first_summary + bar, self.first_summary + bar + 1) for bar in range(self.num_summaries)]
        return [(row, [row, self.bars[bar]], False) for bar, row in enumerate(rows)]
