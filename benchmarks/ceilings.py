"""What a device reaches, and how long something takes on it. PyTorch alone: it runs where NumPy cannot be imported."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Ceilings:
    """What the device reaches: floating-point operations and bytes a second."""

    operations: float
    bytes: float

    def floor_seconds(self, operations: float, moved: float) -> float:
        """The least time for this many operations and this many bytes moved."""
        return max(operations / self.operations, moved / self.bytes)


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


def seconds(action: Callable[[], object], device: torch.device, calls: int = 1) -> float:
    """How long ``action`` takes on ``device``: the mean of ``calls`` in a row, which wait for each other there only."""
    if device.type != "cuda":
        begin = time.perf_counter()
        for _ in range(calls):
            action()
        return (time.perf_counter() - begin) / calls
    start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
    torch.cuda.synchronize(device)
    start.record()
    for _ in range(calls):
        action()
    end.record()
    end.synchronize()
    return start.elapsed_time(end) / 1e3 / calls


def median_seconds(action: Callable[[], object], device: torch.device, repeats: int) -> float:
    """The median of ``repeats`` windows, each so many calls in a row that to launch one is not what is measured."""
    once = seconds(action, device)
    calls = max(1, min(50, round(0.02 / once))) if device.type == "cuda" else 1
    return statistics.median(seconds(action, device, calls) for _ in range(repeats))


def synchronize(device: torch.device) -> None:
    """Wait for what was launched; a CPU has done it."""
    if device.type == "cuda":
        torch.cuda.synchronize(device)
