"""What a computation takes at least: its operations and bytes, counted, over the rates that the device reaches."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch

from museformer_plugin.fc_attention import AttentionPlan


@dataclass(frozen=True)
class Ceilings:
    """What the device reaches: floating-point operations and bytes a second."""

    operations: float
    bytes: float

    def floor_seconds(self, operations: float, moved: float) -> float:
        """The least time for this many operations and this many bytes moved."""
        return max(operations / self.operations, moved / self.bytes)


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


def measure_ceilings(device: torch.device, dtype: torch.dtype) -> Ceilings:
    """Rates of a large matrix product on random data and of a large copy; the best of several."""
    size = 8192 if device.type == "cuda" else 1536
    a, b = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    source = torch.empty((1 << 30 if device.type == "cuda" else 1 << 27) // dtype.itemsize, device=device, dtype=dtype)
    source.fill_(1)
    target = torch.empty_like(source)
    product = min(seconds(lambda: torch.mm(a, b), device) for _ in range(8))
    copy = min(seconds(lambda: target.copy_(source), device) for _ in range(8))
    return Ceilings(2 * size**3 / product, 2 * source.numel() * dtype.itemsize / copy)


def seconds(action: Callable[[], object], device: torch.device) -> float:
    """How long ``action`` takes on ``device``."""
    if device.type != "cuda":
        start = time.perf_counter()
        action()
        return time.perf_counter() - start
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    start.record()
    action()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3
