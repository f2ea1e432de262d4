"""Segments of a plan as the index lists are made of them."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..plan import AttentionPlan

KEY_BLOCK = 64  # keys of one program in the backward, and bits of a mask


class Segments(NamedTuple):
    """One entry a segment, int64 [S]. ``own_start``: the key row of its first query where it is causal, else no row."""

    first_query: np.ndarray
    num_queries: np.ndarray
    first_key: np.ndarray  # in the list of all keys
    num_keys: np.ndarray
    last_range: np.ndarray  # the key row where its last range begins
    num_last: np.ndarray  # keys of that range
    own_start: np.ndarray
    causal: np.ndarray
    windows: np.ndarray

    @staticmethod
    def of(plan: AttentionPlan) -> Segments:
        """Those of a plan, in its order."""
        lengths = plan.key_ranges[:, 1] - plan.key_ranges[:, 0]
        ends = np.concatenate([[0], np.cumsum(lengths)])[plan.first_key_range]
        first, num = plan.query_ranges[:, 0], plan.query_ranges[:, 1] - plan.query_ranges[:, 0]
        last = plan.first_key_range[1:] - 1
        own_start = np.where(plan.causal, plan.key_ranges[last, 1] - num, plan.num_keys)
        begin, num_last = plan.key_ranges[last, 0], lengths[last]
        return Segments(first, num, ends[:-1], np.diff(ends), begin, num_last, own_start, plan.causal, plan.windows)

    def first_seen(self, segment: np.ndarray, query: np.ndarray) -> np.ndarray:
        """The first key row of the last range that query ``query`` of ``segment`` sees, from 0 in the segment."""
        edge = self.own_start[segment] + query - self.windows[segment] + 1
        return np.where(self.windows[segment] > 0, np.maximum(edge, self.last_range[segment]), self.last_range[segment])


class Pairs(NamedTuple):
    """Which segments see which runs of keys.

    ``own``: the run is the segment's own part. ``left``: the left edge of the segment moves through it.
    """

    run: np.ndarray
    segment: np.ndarray
    own: np.ndarray
    left: np.ndarray

    def where(self, chosen: np.ndarray) -> Pairs:
        """Some of them, by a mask or in an order."""
        return Pairs(*(part[chosen] for part in self))


def bits_up_to(bit: np.ndarray) -> np.ndarray:
    """Masks, uint64, of the bits up to ``bit``, at most 63; none where that is negative."""
    masks = (np.uint64(2) << np.maximum(bit, 0).astype(np.uint64)) - np.uint64(1)
    return np.where(bit < 0, np.uint64(0), masks)
