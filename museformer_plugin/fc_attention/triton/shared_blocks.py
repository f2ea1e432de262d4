"""Blocks of keys that are seen alike in short runs only: every query carries a mask. See ``index_lists``."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from ..runs import cut, laid_end_to_end
from .segments import KEY_BLOCK, Pairs, Segments


class Blocks(NamedTuple):
    """Blocks of keys. ``keys`` and ``queries``: their rows, as runs (starts, lengths).

    ``key_blocks`` [C, 6], as in ``IndexLists`` without the last column; ``masks`` int64.
    """

    keys: tuple[np.ndarray, np.ndarray]
    queries: tuple[np.ndarray, np.ndarray]
    key_blocks: np.ndarray
    masks: np.ndarray


class _Rows(NamedTuple):
    """Of every row of the blocks ``block`` and ``bit`` there, and of every run where it begins among the rows; of every
    block its size, and the segments that may see it: the first, and how many."""

    block: np.ndarray
    bit: np.ndarray
    begin_of_run: np.ndarray
    block_size: np.ndarray
    first_segment: np.ndarray
    num_segments: np.ndarray


def shared_blocks(
    edges: np.ndarray, widths: np.ndarray, narrow: np.ndarray, pairs: Pairs, segments: Segments
) -> Blocks:
    """Blocks of narrow runs, in the order in which segments begin to see them. Runs that no segment
    sees together, those of different pieces, are kept apart."""
    runs, rows = _placed(widths, narrow, pairs, len(segments.causal))
    key_order = laid_end_to_end(edges[runs], widths[runs])

    # every (row, segment that sees it), then every (block, segment) with the mask of its rows
    width = widths[pairs.run]
    row = laid_end_to_end(rows.begin_of_run[pairs.run], width)
    segment, own, left = (np.repeat(part, width) for part in pairs[1:])
    block, bits = rows.block[row], np.int64(1) << rows.bit[row]
    begins = np.cumsum(rows.num_segments) - rows.num_segments
    cell = (begins - rows.first_segment)[block] + segment  # of a table of blocks and the segments that may see them
    table = np.zeros(rows.num_segments.sum(), dtype=np.int64)
    np.bitwise_or.at(table, cell, bits)
    cells = np.flatnonzero(table)
    pair_block = np.repeat(np.arange(len(begins)), rows.num_segments)[cells]
    pair_segment = cells - (begins - rows.first_segment)[pair_block]

    # then every (block, query): the mask of its segment without the keys that it does not see
    num = segments.num_queries[pair_segment]
    masks, first = np.repeat(table[cells], num), np.zeros_like(table)
    first[cells] = np.cumsum(num) - num
    some = np.flatnonzero(own)
    hidden = key_order[row[some]] - segments.own_start[segment[some]]  # queries before the key's own
    np.bitwise_and.at(masks, laid_end_to_end(first[cell[some]], hidden), np.repeat(~bits[some], hidden))
    some = np.flatnonzero(left)
    if len(some):  # queries whose left edge has passed the key
        of = segment[some]
        seeing = key_order[row[some]] - segments.own_start[of] + segments.windows[of]
        seeing = np.clip(seeing, 0, segments.num_queries[of])
        passed = segments.num_queries[of] - seeing
        np.bitwise_and.at(masks, laid_end_to_end(first[cell[some]] + seeing, passed), np.repeat(~bits[some], passed))

    block_size = rows.block_size
    total = np.bincount(pair_block, weights=num, minlength=len(block_size)).astype(np.int64)
    begin, key_begin = np.cumsum(total) - total, np.cumsum(block_size) - block_size
    blocks = np.stack([key_begin, block_size, begin, total, total, begin], axis=1)
    return Blocks((edges[runs], widths[runs]), (segments.first_query[pair_segment], num), blocks, masks)


def _placed(widths: np.ndarray, narrow: np.ndarray, pairs: Pairs, num_segments: int) -> tuple[np.ndarray, _Rows]:
    """The narrow runs in their order, and where their rows come to lie."""
    first_segment, last_segment = np.full(len(widths), num_segments), np.full(len(widths), -1)
    np.minimum.at(first_segment, pairs.run, pairs.segment)
    np.maximum.at(last_segment, pairs.run, pairs.segment)
    runs = np.flatnonzero(narrow)
    runs = runs[np.argsort(first_segment[runs], kind="stable")]
    last_so_far = np.maximum.accumulate(last_segment[runs])
    apart = np.cumsum(np.concatenate([[False], first_segment[runs][1:] > last_so_far[:-1]])[: len(runs)])
    width = widths[runs]
    begins = np.cumsum(width) - width
    sizes = np.bincount(np.repeat(apart, width))
    group, offset = cut(sizes, KEY_BLOCK)
    block_size = np.minimum(sizes[group] - offset, KEY_BLOCK)
    begin_of_run = np.zeros(len(widths), dtype=np.int64)
    begin_of_run[runs] = begins
    first, last = np.full(len(sizes), num_segments), np.full(len(sizes), -1)
    np.minimum.at(first, apart, first_segment[runs])
    np.maximum.at(last, apart, last_segment[runs])
    rows = _Rows(
        np.repeat(np.arange(len(block_size)), block_size),
        laid_end_to_end(np.zeros_like(block_size), block_size),
        begin_of_run,
        block_size,
        first[group],
        np.maximum(last + 1 - first, 0)[group],
    )
    return runs, rows
