"""What the GPU kernels loop over: the ranges of an ``AttentionPlan`` as lists of rows, in both directions.

Forward and the gradient of the queries take a block of queries and loop over the keys of their segment,
laid end to end, so that no tile of keys is half empty but the last. The gradients of keys and values
take a block of keys and loop over the queries that see it, likewise laid end to end. All keys of a bar are
seen by the same segments, but for the bar's own causal part. Rows that are seen alike in short runs
only (a prefix, summaries, very short bars) share blocks, in which every query carries a mask of bits
that says which of the block's keys it sees. So do queries whose left edge moves through a block.

Plain NumPy, made where batches are made: ``key_blocks`` and ``shared_blocks`` have the second direction. All lists lie
in one buffer, which goes to a device in one piece.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from ..packed import Packed
from ..plan import AttentionPlan
from ..runs import cut, lay_into
from .key_blocks import Transposed
from .segments import KEY_BLOCK, Segments

QUERY_BLOCK = 64  # queries of one program: bars of 158 tokens fill 82 % of such blocks, of 128 only 62 %


class DeviceLists(NamedTuple):
    """``IndexLists`` on a device."""

    num_partials: int
    one_query_each: bool
    windowed: bool
    masks: Tensor
    key_rows: Tensor
    key_order: Tensor
    query_rows: Tensor
    query_blocks: Tensor
    key_blocks: Tensor
    partial_blocks: Tensor


@dataclass(frozen=True)
class IndexLists:
    """Lists of rows, int32 but for ``masks``; ``packed`` has them in the order of ``DeviceLists``.

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

    packed: Packed
    num_partials: int
    one_query_each: bool
    windowed: bool

    @staticmethod
    def of(plan: AttentionPlan) -> IndexLists:
        """The lists of a plan, in a few milliseconds for 200 bars."""
        # with these ends and this alignment the ranges of neighbours fall into the same blocks
        plan = plan.with_short_windows(QUERY_BLOCK, align=KEY_BLOCK)
        segments = Segments.of(plan)
        alone = _one_query_each(plan, segments)
        transposed = Transposed.nothing() if alone else Transposed.of(plan, segments)
        keys = plan.key_ranges[:, 0], plan.key_ranges[:, 1] - plan.key_ranges[:, 0]
        tables = [_query_blocks(segments), transposed.key_blocks, transposed.partial_blocks]
        runs = [keys, transposed.keys, transposed.queries]
        packed = Packed.empty(
            [("int64", transposed.masks.shape)]
            + [("int32", (int(lengths.sum()),)) for _, lengths in runs]
            + [("int32", table.shape) for table in tables]
        )
        masks, *rooms = packed.arrays()
        masks[:] = transposed.masks
        for room, (starts, lengths) in zip(rooms, runs):
            lay_into(room, starts, lengths)
        for room, table in zip(rooms[len(runs) :], tables):
            room[:] = table
        return IndexLists(packed, int(transposed.partial_blocks[:, 3].sum()), alone, bool(plan.windows.any()))

    def to(self, device: torch.device) -> DeviceLists:
        """Copy to a device, in one transfer."""
        return self.within(self.packed.to(device).buffer)

    def within(self, buffer: Tensor) -> DeviceLists:
        """As they lie in a copy of the buffer."""
        flags = self.num_partials, self.one_query_each, self.windowed
        return DeviceLists(*flags, *replace(self.packed, buffer=buffer).tensors())


def lists_on(plan: AttentionPlan, device: torch.device) -> DeviceLists:
    """The index lists of ``plan`` on ``device``: copied once, then the same for all layers and passes of a batch."""
    return plan.prepared(copy_to, device)


def copy_to(plan: AttentionPlan, device: torch.device) -> DeviceLists:
    """What ``lists_on`` does the first time."""
    return plan.prepared(IndexLists.of).to(device)


def _one_query_each(plan: AttentionPlan, segments: Segments) -> bool:
    if plan.causal.any() or (segments.num_queries != 1).any():
        return False
    ranges = plan.key_ranges[np.argsort(plan.key_ranges[:, 0])]
    return bool((ranges[1:, 0] >= ranges[:-1, 1]).all())


def _query_blocks(segments: Segments) -> np.ndarray:
    of, offset = cut(segments.num_queries, QUERY_BLOCK)
    rest = segments.num_queries[of] - offset
    size = np.minimum(rest, QUERY_BLOCK)
    last_sees = segments.num_keys[of] - np.where(segments.causal[of], rest - size, 0)
    all_see = np.where(segments.causal[of], last_sees - size + 1, last_sees)
    first = segments.first_query[of] + offset
    last_range = segments.num_keys[of] - segments.num_last[of]
    own = last_range + segments.own_start[of] - segments.last_range[of] + offset  # of the block's first query
    left = np.where(segments.windows[of] > 0, own - segments.windows[of] + 1, -QUERY_BLOCK)
    blocks = np.stack([first, first + size, segments.first_key[of], all_see, last_sees, last_range, left], axis=1)
    return blocks[np.argsort(-blocks[:, 4], kind="stable")]
