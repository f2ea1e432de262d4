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
    key comes behind them. A positive ``window`` then moves the left edge of the last range with the query: of that
    range it sees the ``window`` rows that end with its own.
    """

    queries: tuple[int, int]
    keys: Sequence[tuple[int, int]]
    causal: bool = False
    window: int = 0


@dataclass(frozen=True)
class AttentionPlan:
    """Segments as arrays.

    ``query_ranges`` int64 [S, 2] do not overlap. The keys of segment s are the rows of
    ``key_ranges[first_key_range[s] : first_key_range[s + 1]]`` (int64 [R, 2]), in order. ``causal`` bool [S].
    ``windows`` int64 [S], 0 where the left edge does not move. ``num_keys``: all key rows there are, seen or not.
    """

    query_ranges: np.ndarray
    key_ranges: np.ndarray
    first_key_range: np.ndarray
    causal: np.ndarray
    windows: np.ndarray
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

    def found(self, make: Callable[..., _T], *arguments: Hashable) -> _T | None:
        """What ``prepared`` has made, if it has."""
        return self._prepared.get((make, *arguments))

    def keep(self, made: _T, make: Callable[..., _T], *arguments: Hashable) -> None:
        """Let ``prepared`` return ``made``, which came by another way."""
        self._prepared[(make, *arguments)] = made

    @staticmethod
    def of(segments: Iterable[Segment], num_keys: int) -> AttentionPlan:
        """Collect segments; raises ValueError where one has a window and is not causal."""
        segments = list(segments)
        if any(segment.window and not segment.causal for segment in segments):
            raise ValueError("a window ends with the query's own row: a segment with a window must be causal")
        return AttentionPlan(
            np.array([segment.queries for segment in segments], dtype=np.int64).reshape(-1, 2),
            np.array([keys for segment in segments for keys in segment.keys], dtype=np.int64).reshape(-1, 2),
            np.cumsum([0, *(len(segment.keys) for segment in segments)], dtype=np.int64),
            np.array([segment.causal for segment in segments], dtype=bool),
            np.array([segment.window for segment in segments], dtype=np.int64),
            num_keys,
        )

    @staticmethod
    def sliding(lengths: Sequence[int], window: int, prefix: int = 0) -> AttentionPlan:
        """Pieces of ``lengths`` laid end to end, in which each row sees itself and the ``window`` - 1 rows before it.

        The first ``prefix`` rows of a piece are seen by all that follow in it, and do not count. Raises ValueError
        unless ``window`` is positive.
        """
        if window < 1:
            raise ValueError(f"window: expected 1 or more rows, not {window}")
        segments, start = [], 0
        for length in lengths:
            end, seen = start + length, (start, start + min(prefix, length))
            always = [seen] if prefix else []
            if prefix:
                segments.append(Segment(seen, always, causal=True))
            if length > prefix:
                rows = (start + prefix, end)
                segments.append(Segment(rows, [*always, rows], causal=True, window=window))
            start = end
        return AttentionPlan.of(segments, start)

    def with_short_windows(self, longest: int, align: int = 1) -> AttentionPlan:
        """The same pairs, segments with a window cut to ``longest`` queries and to the keys that these see.

        What lies before these keys is dropped in whole multiples of ``align`` rows, counted from the segment's own
        first row: with ``align`` = ``longest`` the ranges of neighbours begin and end at the same rows.
        """
        if not self.windows.any():
            return self
        found: list[Segment] = []
        for segment in self.segments():
            if not segment.window:
                found.append(segment)
                continue
            (first, end), *_, (first_key, end_key) = segment.queries, *segment.keys
            own = end_key - end  # from a query's row to its own among the keys
            for start in range(first, end, longest):
                stop = min(start + longest, end)
                before = first - start + segment.window - 1  # rows before the segment's own that these see
                begin = max(first_key, own + first - -(-before // align) * align)
                keys = [*segment.keys[:-1], (begin, own + stop)]
                found.append(segment._replace(queries=(start, stop), keys=keys))
        return AttentionPlan.of(found, self.num_keys)

    def segments(self) -> list[Segment]:
        """The segments that the plan was made of."""
        ranges = [tuple(keys) for keys in self.key_ranges.tolist()]
        edges = self.first_key_range.tolist()
        rows = zip(self.query_ranges.tolist(), edges, edges[1:], self.causal.tolist(), self.windows.tolist())
        return [Segment(tuple(queries), ranges[a:b], causal, window) for queries, a, b, causal, window in rows]
