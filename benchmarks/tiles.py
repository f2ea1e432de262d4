"""How full the tiles are that kernels walk: what they compute against the pairs that see each other."""

from __future__ import annotations

import numpy as np

from benchmarks.floor import live_pairs
from museformer_plugin.fc_attention import AttentionPlan
from museformer_plugin.fc_attention.runs import cut


def walked_by_queries(plan: AttentionPlan, rows: int, keys: int = 64) -> int:
    """Cells of the tiles of blocks of ``rows`` queries, which begin with their segments, and ``keys`` packed keys.

    What is left of a segment goes into a block of 64 where it fits.
    """
    size, last_sees = _query_blocks(plan, rows)
    return int((np.where(size > 64, rows, 64) * -(-last_sees // keys) * keys).sum())


def whole_blocks(plan: AttentionPlan, rows: int, keys: int = 64) -> int:
    """The same without smaller blocks."""
    _, last_sees = _query_blocks(plan, rows)
    return int((rows * -(-last_sees // keys) * keys).sum())


def _query_blocks(plan: AttentionPlan, rows: int) -> tuple[np.ndarray, np.ndarray]:
    """Queries of each block, and how many keys its last one sees."""
    lengths = plan.key_ranges[:, 1] - plan.key_ranges[:, 0]
    seen = np.diff(np.concatenate([[0], np.cumsum(lengths)])[plan.first_key_range])
    queries = plan.query_ranges[:, 1] - plan.query_ranges[:, 0]
    of, offset = cut(queries, rows)
    rest = queries[of] - offset
    size = np.minimum(rest, rows)
    return size, seen[of] - np.where(plan.causal[of], rest - size, 0)


def walked_by_aligned_blocks(plan: AttentionPlan, size: int) -> int:
    """Cells of the blocks of ``size`` x ``size`` rows, counted from the first, in which some pair sees each other."""
    key_blocks = -(-plan.num_keys // size)
    seen = np.zeros((-(-plan.num_queries // size), key_blocks), dtype=bool)
    for segment, (first, end) in enumerate(plan.query_ranges.tolist()):
        ranges = plan.key_ranges[plan.first_key_range[segment] : plan.first_key_range[segment + 1]].tolist()
        for block in range(first // size, (end - 1) // size + 1):
            last = min(end, (block + 1) * size)
            for start, stop in ranges:
                seen[block, start // size : (stop - 1) // size + 1] = True
            own_end = ranges[-1][1] - (end - last)  # what the block's last query sees
            seen[block, (own_end - 1) // size + 1 : (ranges[-1][1] - 1) // size + 1] = False
    return int(seen.sum()) * size * size


def fill(plan: AttentionPlan, walked: int) -> float:
    """The share of walked cells that are pairs which see each other."""
    return live_pairs(plan) / walked
