"""What attention computes at least, counted."""

from __future__ import annotations

import numpy as np
import torch

from benchmarks.ceilings import Ceilings
from museformer_plugin.fc_attention import AttentionPlan, BarLayout


def live_pairs(plan: AttentionPlan) -> int:
    """Pairs of a query and a key it attends to."""
    queries = plan.query_ranges[:, 1] - plan.query_ranges[:, 0]
    lengths = plan.key_ranges[:, 1] - plan.key_ranges[:, 0]
    keys = np.diff(np.concatenate([[0], np.cumsum(lengths)])[plan.first_key_range])
    pairs = queries * keys - np.where(plan.causal, queries * (queries - 1) // 2, 0)
    # a left edge hides so much of the last range from the last query, and one key less from each before it
    hidden = np.where(plan.windows > 0, lengths[plan.first_key_range[1:] - 1] - plan.windows, 0).clip(0)
    rising = np.minimum(hidden, queries)
    return int((pairs - rising * (2 * hidden - rising + 1) // 2).sum())


def floor_ms(layout: BarLayout, width: int, dtype: torch.dtype, ceilings: Ceilings, backward: bool) -> float:
    """The least time for the whole operator over heads of ``width`` together: two products a pair forward and five
    backward; every row of q, k, v and the output moved once forward, and with the gradients eight times more
    backward."""
    pairs = live_pairs(layout.token_plan) + live_pairs(layout.summary_plan)
    rows = layout.num_tokens + layout.num_summaries
    summary_products = 2 * layout.num_summaries * width * 2 * width
    operations = 2 * (7 if backward else 2) * pairs * width + (3 if backward else 1) * summary_products
    moved = (12 if backward else 4) * rows * width * dtype.itemsize
    return 1e3 * ceilings.floor_seconds(operations, moved)
