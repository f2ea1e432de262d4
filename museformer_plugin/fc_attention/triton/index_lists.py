"""What the GPU kernels loop over: the ranges of an ``AttentionPlan`` as lists of rows, in both directions.

Forward and the gradient of the queries take a block of queries and loop over the keys of their segment,
laid end to end, so that no tile of keys is half empty but the last. The gradients of keys and values
take a block of keys and loop over the queries that see it, likewise laid end to end. All keys of a bar are
seen by the same segments, but for the bar's own causal part. Rows that are seen alike in short runs
only (a prefix, summaries, very short bars) share blocks, in which every query carries a mask of bits
that says which of the block's keys it sees. So do queries whose left edge moves through a block.

Plain NumPy, made where batches are made; ``to`` copies the lists to a device in one piece.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..plan import AttentionPlan

QUERY_BLOCK = 64  # queries of one program: bars of 158 tokens fill 82 % of such blocks, of 128 only 62 %
KEY_BLOCK = 64  # keys of one program in the backward, and bits of a mask
NARROW = 8  # runs of fewer keys share their block with others
LONGEST_LOOP = 2048  # queries one program takes; a block of keys that more see is split
MOST_PARTS = 16  # into which a block is split, so that partial sums stay linear in the rows


class DeviceLists(NamedTuple):
    """``IndexLists`` on a device."""

    num_partials: int
    one_query_each: bool
    windowed: bool
    masks: Tensor
    key_rows: Tensor
    query_blocks: Tensor
    key_order: Tensor
    query_rows: Tensor
    key_blocks: Tensor
    partial_blocks: Tensor


@dataclass(frozen=True)
class IndexLists:
    """Lists of rows, int32 but for ``masks``.

    ``key_rows`` [L]: the keys of every segment, end to end.
    ``query_blocks`` [B, 7]: first query, end, where their keys begin in ``key_rows``, how many keys all
    of these queries may see, how many the last one; then, counted from where the keys begin, where the last
    range begins, and up to where the block's first query does not see of it: one key more for each query
    behind. The longest come first.

    ``key_order`` [K]: every key row once, block after block.
    ``query_rows`` [M]: the queries that see a run of keys, end to end.
    ``key_blocks`` [C, 7]: where the block begins in ``key_order``, its keys, where its queries begin in
    ``query_rows``, how many they are, how many of these (the first) may not see every key, where their
    masks begin in ``masks``, and the partial sum that takes the result (-1: the result is whole). The
    longest come first.
    ``partial_blocks`` [P, 4]: of every split block where it begins in ``key_order``, its keys, its first
    partial sum and their number; ``num_partials`` counts them all.
    ``masks`` int64: bit n is for the block's key n.

    ``one_query_each``: every segment is one query and no key is seen twice, as in the summary step. Keys
    then need no lists of their own: the last five arrays hold nothing. ``windowed``: some left edge moves.
    """

    key_rows: np.ndarray
    query_blocks: np.ndarray
    key_order: np.ndarray
    query_rows: np.ndarray
    key_blocks: np.ndarray
    partial_blocks: np.ndarray
    masks: np.ndarray
    num_partials: int
    one_query_each: bool
    windowed: bool

    @staticmethod
    def of(plan: AttentionPlan) -> IndexLists:
        """The lists of a plan, in a few milliseconds for 100 bars."""
        # with these ends and this alignment the ranges of neighbours fall into the same blocks
        plan = plan.with_short_windows(QUERY_BLOCK, align=KEY_BLOCK)
        segments = _Segments.of(plan)
        lengths = plan.key_ranges[:, 1] - plan.key_ranges[:, 0]
        keys = _runs(plan.key_ranges[:, 0], lengths)
        once = len(keys) == 0 or np.bincount(keys, minlength=1).max() <= 1
        if once and not plan.causal.any() and (segments.num_queries == 1).all():
            none = np.zeros(0, dtype=np.int64)
            transposed = _Transposed(none, none, none.reshape(0, 7), none.reshape(0, 4), np.zeros(1, dtype=np.int64))
            alone = True
        else:
            transposed = _transpose(plan, segments)
            alone = False
        return IndexLists(
            key_rows=keys.astype(np.int32),
            query_blocks=_query_blocks(segments).astype(np.int32),
            key_order=transposed.key_order.astype(np.int32),
            query_rows=transposed.query_rows.astype(np.int32),
            key_blocks=transposed.key_blocks.astype(np.int32),
            partial_blocks=transposed.partial_blocks.astype(np.int32),
            masks=transposed.masks,
            num_partials=int(transposed.partial_blocks[:, 3].sum()),
            one_query_each=alone,
            windowed=bool(plan.windows.any()),
        )

    def to(self, device: torch.device) -> DeviceLists:
        """Copy to a device, in one transfer that the host does not wait for."""
        arrays = [self.masks.view(np.int32), self.key_rows, self.query_blocks, self.key_order]
        arrays += [self.query_rows, self.key_blocks, self.partial_blocks]
        # kernels are compiled anew for pointers aligned otherwise, so every list begins at 16 bytes
        sizes = [-(-array.size // 4) * 4 for array in arrays]
        packed = torch.zeros(sum(sizes), dtype=torch.int32, pin_memory=device.type == "cuda")
        for part, array in zip(packed.split(sizes), arrays):
            part[: array.size] = torch.from_numpy(array.ravel())
        on_device = packed.to(device, non_blocking=True).split(sizes)
        masks, *rows = (part[: array.size].view(array.shape) for part, array in zip(on_device, arrays))
        return DeviceLists(self.num_partials, self.one_query_each, self.windowed, masks.view(torch.int64), *rows)


def lists_on(plan: AttentionPlan, device: torch.device) -> DeviceLists:
    """The index lists of ``plan`` on ``device``: copied once, then the same for all layers and passes of a batch."""
    return plan.prepared(_copy_to, device)


def _copy_to(plan: AttentionPlan, device: torch.device) -> DeviceLists:
    return plan.prepared(IndexLists.of).to(device)


class _Segments(NamedTuple):
    """One entry a segment. ``own_start``: the key row of its first query where it is causal, else no row."""

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
    def of(plan: AttentionPlan) -> _Segments:
        lengths = plan.key_ranges[:, 1] - plan.key_ranges[:, 0]
        ends = np.concatenate([[0], np.cumsum(lengths)])[plan.first_key_range]
        first, num = plan.query_ranges[:, 0], plan.query_ranges[:, 1] - plan.query_ranges[:, 0]
        last = plan.first_key_range[1:] - 1
        own_start = np.where(plan.causal, plan.key_ranges[last, 1] - num, plan.num_keys)
        begin, num_last = plan.key_ranges[last, 0], lengths[last]
        return _Segments(first, num, ends[:-1], np.diff(ends), begin, num_last, own_start, plan.causal, plan.windows)

    def first_seen(self, segment: np.ndarray, query: np.ndarray) -> np.ndarray:
        """The first key row of the last range that query ``query`` of ``segment`` sees, from 0 in the segment."""
        edge = self.own_start[segment] + query - self.windows[segment] + 1
        return np.where(self.windows[segment] > 0, np.maximum(edge, self.last_range[segment]), self.last_range[segment])


def _runs(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """start, start + 1, ... of every run, end to end."""
    begins = np.cumsum(lengths) - lengths
    return np.repeat(starts - begins, lengths) + np.arange(lengths.sum())


def _cut(lengths: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut runs into pieces of at most ``size``: (the run, the offset in the run) of every piece."""
    pieces = -(-lengths // size)
    return np.repeat(np.arange(len(lengths)), pieces), size * _runs(np.zeros_like(pieces), pieces)


def _longest_first(table: np.ndarray, column: int) -> np.ndarray:
    return table[np.argsort(-table[:, column], kind="stable")]


def _query_blocks(segments: _Segments) -> np.ndarray:
    of, offset = _cut(segments.num_queries, QUERY_BLOCK)
    rest = segments.num_queries[of] - offset
    size = np.minimum(rest, QUERY_BLOCK)
    last_sees = segments.num_keys[of] - np.where(segments.causal[of], rest - size, 0)
    all_see = np.where(segments.causal[of], last_sees - size + 1, last_sees)
    first = segments.first_query[of] + offset
    last_range = segments.num_keys[of] - segments.num_last[of]
    own = last_range + segments.own_start[of] - segments.last_range[of] + offset  # of the block's first query
    left = np.where(segments.windows[of] > 0, own - segments.windows[of] + 1, -QUERY_BLOCK)
    blocks = np.stack([first, first + size, segments.first_key[of], all_see, last_sees, last_range, left], axis=1)
    return _longest_first(blocks, 4)


class _Transposed(NamedTuple):
    key_order: np.ndarray
    query_rows: np.ndarray
    key_blocks: np.ndarray
    partial_blocks: np.ndarray
    masks: np.ndarray


class _Pairs(NamedTuple):
    """Which segments see which runs of keys.

    ``own``: the run is the segment's own part. ``left``: the left edge of the segment moves through it.
    """

    run: np.ndarray
    segment: np.ndarray
    own: np.ndarray
    left: np.ndarray

    def where(self, chosen: np.ndarray) -> _Pairs:
        return _Pairs(*(part[chosen] for part in self))


def _transpose(plan: AttentionPlan, segments: _Segments) -> _Transposed:
    own_starts = segments.own_start[segments.causal]
    edges = np.unique(np.concatenate([plan.key_ranges.ravel(), own_starts, [0, plan.num_keys]]))
    widths = np.diff(edges)
    bounds = np.searchsorted(edges, plan.key_ranges)
    num_runs = bounds[:, 1] - bounds[:, 0]
    run = _runs(bounds[:, 0], num_runs)
    of_range = np.repeat(np.arange(len(plan.causal)), np.diff(plan.first_key_range))
    segment = np.repeat(of_range, num_runs)
    edge = segments.first_seen(segment, segments.num_queries[segment] - 1)
    left = (edges[run] >= segments.last_range[segment]) & (edges[run] < edge)
    pairs = _Pairs(run, segment, edges[run] >= segments.own_start[segment], left)
    narrow = widths < NARROW
    make_wide = _windowed_blocks if left.any() else _wide_blocks
    wide = make_wide(edges, widths, narrow, pairs.where(~narrow[run]), segments)
    shared = _shared_blocks(edges, widths, narrow, pairs.where(narrow[run]), segments)
    shared.key_blocks[:, [0, 2, 5]] += [len(wide.key_order), len(wide.query_rows), len(wide.masks)]
    blocks, partial_blocks = _split(np.concatenate([wide.key_blocks, shared.key_blocks]), plan)
    return _Transposed(
        np.concatenate([wide.key_order, shared.key_order]),
        np.concatenate([wide.query_rows, shared.query_rows]),
        _longest_first(blocks, 3),
        partial_blocks,
        np.concatenate([wide.masks, shared.masks]),
    )


class _Blocks(NamedTuple):
    key_order: np.ndarray
    query_rows: np.ndarray
    key_blocks: np.ndarray  # [C, 6], as in IndexLists without the last column
    masks: np.ndarray


def _wide_blocks(
    edges: np.ndarray, widths: np.ndarray, narrow: np.ndarray, pairs: _Pairs, segments: _Segments
) -> _Blocks:
    """Blocks within one run. The run's own queries come first in its list, so that a block further into
    the run begins further into the list, and only as many queries as it has keys see part of it."""
    pairs = pairs.where(np.lexsort((pairs.segment, ~pairs.own, pairs.run)))
    num = segments.num_queries[pairs.segment]
    total = np.bincount(pairs.run, weights=num, minlength=len(widths)).astype(np.int64)
    first_own = np.full(len(widths), -1)  # queries of the own segment that come before the run
    own = pairs.where(pairs.own)
    first_own[own.run] = edges[own.run] - segments.own_start[own.segment]

    runs = np.flatnonzero(~narrow)
    of, offset = _cut(widths[runs], KEY_BLOCK)
    run = runs[of]
    size = np.minimum(widths[run] - offset, KEY_BLOCK)
    has_own = first_own[run] >= 0
    skip = np.where(has_own, first_own[run] + offset, 0)
    begin = (np.cumsum(total) - total)[run] + skip
    partly = np.where(has_own, size - 1, 0)
    key_begin = (np.cumsum(widths[runs]) - widths[runs])[of] + offset
    blocks = np.stack([key_begin, size, begin, total[run] - skip, partly, np.zeros_like(run)], axis=1)
    triangle = (np.uint64(2) << np.arange(KEY_BLOCK, dtype=np.uint64)) - np.uint64(1)
    return _Blocks(
        _runs(edges[runs], widths[runs]),
        _runs(segments.first_query[pairs.segment], num),
        blocks,
        triangle.view(np.int64),
    )


def _windowed_blocks(
    edges: np.ndarray, widths: np.ndarray, narrow: np.ndarray, pairs: _Pairs, segments: _Segments
) -> _Blocks:
    """Blocks within one run where left edges move: all queries for which an edge, left or right, moves through the run
    come first in its list, each with a mask in every block."""
    partly = pairs.own | pairs.left
    order = np.lexsort((pairs.segment, ~partly, pairs.run))
    pairs, partly = pairs.where(order), partly[order]
    num = segments.num_queries[pairs.segment]
    total = np.bincount(pairs.run, weights=num, minlength=len(widths)).astype(np.int64)
    num_masked = np.bincount(pairs.run, weights=num * partly, minlength=len(widths)).astype(np.int64)

    runs = np.flatnonzero(~narrow)
    of, offset = _cut(widths[runs], KEY_BLOCK)
    run, key_begin = runs[of], (np.cumsum(widths[runs]) - widths[runs])[of] + offset
    size = np.minimum(widths[run] - offset, KEY_BLOCK)
    begin, count = (np.cumsum(total) - total)[run], num_masked[run]

    # one entry for every (block, query with a mask)
    query = _runs(begin, count)
    first_row, last = np.repeat(edges[run] + offset, count), np.repeat(size, count) - 1
    segment = np.repeat(pairs.segment, num)[query]
    of_segment = _runs(np.zeros_like(num), num)[query]
    first_bit = segments.first_seen(segment, of_segment) - first_row
    last_bit = np.where(segments.causal[segment], segments.own_start[segment] + of_segment - first_row, last)
    masks = _bits_up_to(np.minimum(last_bit, last)) & ~_bits_up_to(np.minimum(first_bit - 1, last))
    blocks = np.stack([key_begin, size, begin, total[run], count, np.cumsum(count) - count], axis=1)
    return _Blocks(
        _runs(edges[runs], widths[runs]), _runs(segments.first_query[pairs.segment], num), blocks, masks.view(np.int64)
    )


def _bits_up_to(bit: np.ndarray) -> np.ndarray:
    """Masks, uint64, of the bits up to ``bit``, at most 63; none where that is negative."""
    masks = (np.uint64(2) << np.maximum(bit, 0).astype(np.uint64)) - np.uint64(1)
    return np.where(bit < 0, np.uint64(0), masks)


def _shared_blocks(
    edges: np.ndarray, widths: np.ndarray, narrow: np.ndarray, pairs: _Pairs, segments: _Segments
) -> _Blocks:
    """Blocks of narrow runs, in the order in which segments begin to see them. Runs that no segment
    sees together, those of different pieces, are kept apart."""
    runs, num_segments = np.flatnonzero(narrow), len(segments.causal)
    first_segment, last_segment = np.full(len(widths), num_segments), np.full(len(widths), -1)
    np.minimum.at(first_segment, pairs.run, pairs.segment)
    np.maximum.at(last_segment, pairs.run, pairs.segment)
    runs = runs[np.argsort(first_segment[runs], kind="stable")]
    last_so_far = np.maximum.accumulate(last_segment[runs])
    apart = np.cumsum(np.concatenate([[False], first_segment[runs][1:] > last_so_far[:-1]])[: len(runs)])

    # every row of these runs: its block and its bit there
    key_order = _runs(edges[runs], widths[runs])
    sizes = np.bincount(np.repeat(apart, widths[runs]))
    group, offset = _cut(sizes, KEY_BLOCK)
    block_size = np.minimum(sizes[group] - offset, KEY_BLOCK)
    block = np.repeat(np.arange(len(block_size)), block_size)
    bit = _runs(np.zeros_like(block_size), block_size)
    begin_of_run = np.zeros(len(widths), dtype=np.int64)
    begin_of_run[runs] = np.cumsum(widths[runs]) - widths[runs]

    # every (row, segment that sees it), then every (block, segment) with the mask of its rows
    width = widths[pairs.run]
    row = _runs(begin_of_run[pairs.run], width)
    segment, own, left = (np.repeat(part, width) for part in pairs[1:])
    blocks_and_segments, pair = np.unique(block[row] * num_segments + segment, return_inverse=True)
    masks = np.zeros(len(blocks_and_segments), dtype=np.int64)
    np.bitwise_or.at(masks, pair, np.int64(1) << bit[row])
    pair_block, pair_segment = blocks_and_segments // num_segments, blocks_and_segments % num_segments

    num = segments.num_queries[pair_segment]
    masks, first = np.repeat(masks, num), (np.cumsum(num) - num)[pair]
    hide = ~(np.int64(1) << bit[row])
    hidden = np.where(own, key_order[row] - segments.own_start[segment], 0)  # queries before the key's own
    np.bitwise_and.at(masks, _runs(first, hidden), np.repeat(hide, hidden))
    if left.any():
        # queries whose left edge has passed the key
        of_segment = segments.num_queries[segment]
        seeing = key_order[row] - segments.own_start[segment] + segments.windows[segment]
        seeing = np.where(left, np.clip(seeing, 0, of_segment), of_segment)
        passed = of_segment - seeing
        np.bitwise_and.at(masks, _runs(first + seeing, passed), np.repeat(hide, passed))
    total = np.bincount(pair_block, weights=num, minlength=len(block_size)).astype(np.int64)
    begin, key_begin = np.cumsum(total) - total, np.cumsum(block_size) - block_size
    blocks = np.stack([key_begin, block_size, begin, total, total, begin], axis=1)
    return _Blocks(key_order, _runs(segments.first_query[pair_segment], num), blocks, masks)


def _split(blocks: np.ndarray, plan: AttentionPlan) -> tuple[np.ndarray, np.ndarray]:
    """Cut blocks that too many queries see: ([C, 7] with the partial sum of each, [P, 4])."""
    num_queries = int(plan.query_ranges[:, 1].max(initial=0))
    longest = max(LONGEST_LOOP, -(-num_queries // MOST_PARTS))
    parts = np.maximum(-(-blocks[:, 3] // longest), 1)
    of, offset = np.repeat(np.arange(len(blocks)), parts), longest * _runs(np.zeros_like(parts), parts)
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
