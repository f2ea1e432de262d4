"""Blocks of keys and the queries that see them, for the gradients of keys and values. See ``index_lists``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..plan import AttentionPlan
from ..runs import cut, laid_end_to_end
from .segments import KEY_BLOCK, Pairs, Segments, bits_up_to
from .shared_blocks import Blocks, shared_blocks

NARROW = 8  # runs of fewer keys share their block with others
LONGEST_LOOP = 2048  # queries one program takes; a block of keys that more see is split
MOST_PARTS = 16  # into which a block is split, so that partial sums stay linear in the rows


class Transposed(NamedTuple):
    """What ``IndexLists`` has of keys; ``keys`` and ``queries`` are the runs (starts, lengths) of ``key_order`` and
    ``query_rows``."""

    keys: tuple[np.ndarray, np.ndarray]
    queries: tuple[np.ndarray, np.ndarray]
    key_blocks: np.ndarray
    partial_blocks: np.ndarray
    masks: np.ndarray

    @staticmethod
    def of(plan: AttentionPlan, segments: Segments) -> Transposed:
        """Of a plan and its segments."""
        edges, pairs = _runs_and_who_sees_them(plan, segments)
        widths = np.diff(edges)
        narrow = widths < NARROW
        is_narrow = narrow[pairs.run]
        make_wide = _windowed_blocks if pairs.left.any() else _wide_blocks
        wide = make_wide(edges, widths, narrow, pairs.where(~is_narrow), segments)
        shared = shared_blocks(edges, widths, narrow, pairs.where(is_narrow), segments)
        shared.key_blocks[:, [0, 2, 5]] += [wide.keys[1].sum(), wide.queries[1].sum(), len(wide.masks)]
        blocks, partial_blocks = _split(np.concatenate([wide.key_blocks, shared.key_blocks]), plan)
        return Transposed(
            (np.concatenate([wide.keys[0], shared.keys[0]]), np.concatenate([wide.keys[1], shared.keys[1]])),
            (
                np.concatenate([wide.queries[0], shared.queries[0]]),
                np.concatenate([wide.queries[1], shared.queries[1]]),
            ),
            blocks[np.argsort(-blocks[:, 3], kind="stable")],
            partial_blocks,
            np.concatenate([wide.masks, shared.masks]),
        )

    @staticmethod
    def nothing() -> Transposed:
        """Where keys need no lists."""
        none = np.zeros(0, dtype=np.int64)
        runs = none, none
        return Transposed(runs, runs, none.reshape(0, 7), none.reshape(0, 4), np.zeros(1, dtype=np.int64))


def _runs_and_who_sees_them(plan: AttentionPlan, segments: Segments) -> tuple[np.ndarray, Pairs]:
    """The edges of the longest runs of keys, int64 [runs + 1], all of whose keys are seen by the same segments."""
    is_edge = np.zeros(plan.num_keys + 1, dtype=bool)
    is_edge[plan.key_ranges.ravel()] = True
    is_edge[segments.own_start] = True
    is_edge[[0, plan.num_keys]] = True
    edges = np.flatnonzero(is_edge)
    bounds = (np.cumsum(is_edge) - 1)[plan.key_ranges]
    num_runs = bounds[:, 1] - bounds[:, 0]
    run = laid_end_to_end(bounds[:, 0], num_runs)
    of_range = np.repeat(np.arange(len(plan.causal)), np.diff(plan.first_key_range))
    segment, row = np.repeat(of_range, num_runs), edges[run]
    left = np.zeros(len(run), dtype=bool)
    if plan.windows.any():
        left = row >= segments.last_range[segment]
        left &= row < segments.first_seen(segment, segments.num_queries[segment] - 1)
    return edges, Pairs(run, segment, row >= segments.own_start[segment], left)


def _wide_blocks(edges: np.ndarray, widths: np.ndarray, narrow: np.ndarray, pairs: Pairs, segments: Segments) -> Blocks:
    """Blocks within one run. The run's own queries come first in its list, so that a block further into
    the run begins further into the list, and only as many queries as it has keys see part of it."""
    pairs = pairs.where(np.lexsort((pairs.segment, ~pairs.own, pairs.run)))
    num = segments.num_queries[pairs.segment]
    total = np.bincount(pairs.run, weights=num, minlength=len(widths)).astype(np.int64)
    first_own = np.full(len(widths), -1)  # queries of the own segment that come before the run
    own = pairs.where(pairs.own)
    first_own[own.run] = edges[own.run] - segments.own_start[own.segment]

    runs = np.flatnonzero(~narrow)
    of, offset = cut(widths[runs], KEY_BLOCK)
    run = runs[of]
    size = np.minimum(widths[run] - offset, KEY_BLOCK)
    has_own = first_own[run] >= 0
    skip = np.where(has_own, first_own[run] + offset, 0)
    begin = (np.cumsum(total) - total)[run] + skip
    partly = np.where(has_own, size - 1, 0)
    key_begin = (np.cumsum(widths[runs]) - widths[runs])[of] + offset
    blocks = np.stack([key_begin, size, begin, total[run] - skip, partly, np.zeros_like(run)], axis=1)
    triangle = (np.uint64(2) << np.arange(KEY_BLOCK, dtype=np.uint64)) - np.uint64(1)
    return Blocks(
        (edges[runs], widths[runs]),
        (segments.first_query[pairs.segment], num),
        blocks,
        triangle.view(np.int64),
    )


def _windowed_blocks(
    edges: np.ndarray, widths: np.ndarray, narrow: np.ndarray, pairs: Pairs, segments: Segments
) -> Blocks:
    """Blocks within one run where left edges move: all queries for which an edge, left or right, moves through the run
    come first in its list, each with a mask in every block."""
    partly = pairs.own | pairs.left
    order = np.lexsort((pairs.segment, ~partly, pairs.run))
    pairs, partly = pairs.where(order), partly[order]
    num = segments.num_queries[pairs.segment]
    total = np.bincount(pairs.run, weights=num, minlength=len(widths)).astype(np.int64)
    num_masked = np.bincount(pairs.run, weights=num * partly, minlength=len(widths)).astype(np.int64)

    runs = np.flatnonzero(~narrow)
    of, offset = cut(widths[runs], KEY_BLOCK)
    run, key_begin = runs[of], (np.cumsum(widths[runs]) - widths[runs])[of] + offset
    size = np.minimum(widths[run] - offset, KEY_BLOCK)
    begin, count = (np.cumsum(total) - total)[run], num_masked[run]

    # one entry for every (block, query with a mask)
    query = laid_end_to_end(begin, count)
    first_row, last = np.repeat(edges[run] + offset, count), np.repeat(size, count) - 1
    segment = np.repeat(pairs.segment, num)[query]
    of_segment = laid_end_to_end(np.zeros_like(num), num)[query]
    first_bit = segments.first_seen(segment, of_segment) - first_row
    last_bit = np.where(segments.causal[segment], segments.own_start[segment] + of_segment - first_row, last)
    masks = bits_up_to(np.minimum(last_bit, last)) & ~bits_up_to(np.minimum(first_bit - 1, last))
    blocks = np.stack([key_begin, size, begin, total[run], count, np.cumsum(count) - count], axis=1)
    return Blocks((edges[runs], widths[runs]), (segments.first_query[pairs.segment], num), blocks, masks.view(np.int64))


def _split(blocks: np.ndarray, plan: AttentionPlan) -> tuple[np.ndarray, np.ndarray]:
    """Cut blocks that too many queries see: ([C, 7] with the partial sum of each, [P, 4])."""
    num_queries = int(plan.query_ranges[:, 1].max(initial=0))
    longest = max(LONGEST_LOOP, -(-num_queries // MOST_PARTS))
    parts = np.maximum(-(-blocks[:, 3] // longest), 1)
    of, offset = np.repeat(np.arange(len(blocks)), parts), longest * laid_end_to_end(np.zeros_like(parts), parts)
    key_begin, size, begin, num, partly, masks = blocks[of].T
    is_split = parts[of] > 1
    partial = np.where(is_split, np.cumsum(is_split) - 1, -1)
    table = [
        key_begin,
        size,
        begin + offset,
        np.minimum(num - offset, longest),
        np.clip(partly - offset, 0, longest),
        masks + offset,
        partial,
    ]
    split = np.flatnonzero(parts > 1)
    first = np.cumsum(parts[split]) - parts[split]
    return np.stack(table, axis=1), np.stack([blocks[split, 0], blocks[split, 1], first, parts[split]], axis=1)
