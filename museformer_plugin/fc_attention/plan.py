"""Who sees whom, as rows: segments of queries and the ranges of keys they attend to.

Rows are counted in the tensors of one attention; ranges are half-open. A plan knows neither bars nor backends.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any, NamedTuple, TypeVar

import numpy as np

_T = TypeVar("_T")


class Segment(NamedTuple):
    """Queries that see the same ranges of key rows, in order.

    Where ``causal``, the last keys are the queries' own rows, and a query does not see those behind itself; no other
    key comes behind them.
    """

    queries: tuple[int, int]
    keys: Sequence[tuple[int, int]]
    causal: bool = False


@dataclass(frozen=True)
class AttentionPlan:
    """Segments as arrays.

    ``query_ranges`` int64 [S, 2] do not overlap. The keys of segment s are the rows of
    ``key_ranges[first_key_range[s] : first_key_range[s + 1]]`` (int64 [R, 2]), in order. ``causal`` bool [S].
    ``num_keys``: all key rows there are, seen or not.
    """

    query_ranges: np.ndarray
    key_ranges: np.ndarray
    first_key_range: np.ndarray
    causal: np.ndarray
    num_keys: int
    _prepared: dict[tuple[Hashable, ...], Any] = field(default_factory=dict, init=False, repr=False, compare=False)

    def __getstate__(self) -> dict[str, object]:
        # what was made of the plan alone travels between processes, what lies on a device does not
        return {**self.__dict__, "_prepared": {key: made for key, made in self._prepared.items() if len(key) == 1}}

    @property
    def num_queries(self) -> int:
        """The rows of queries that the segments cover."""
        return int(self.query_ranges[:, 1].max(initial=0))

    def prepared(self, make: Callable[..., _T], *arguments: Hashable) -> _T:
        """``make(self, *arguments)``: what a backend needs, made once for all layers and passes of a batch."""
        key = (make, *arguments)
        if key not in self._prepared:
            self._prepared[key] = make(self, *arguments)
        return self._prepared[key]

    @staticmethod
    def of(segments: Iterable[Segment], num_keys: int) -> AttentionPlan:
        """Collect segments."""
        segments = list(segments)
        return AttentionPlan(
            np.array([segment.queries for segment in segments], dtype=np.int64).reshape(-1, 2),
            np.array([keys for segment in segments for keys in segment.keys], dtype=np.int64).reshape(-1, 2),
            np.cumsum([0, *(len(segment.keys) for segment in segments)], dtype=np.int64),
            np.array([segment.causal for segment in segments], dtype=bool),
            num_keys,
        )


def merge_ranges(ranges: Iterable[tuple[int, int]]) -> list[tuple[int, int]]:
    """Join ranges that touch; they come in rising order."""
    merged: list[tuple[int, int]] = []
    for start, end in ranges:
        if merged and merged[-1][1] == start:
            merged[-1] = (merged[-1][0], end)
        else:
            merged.append((start, end))
    return merged
