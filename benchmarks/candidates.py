"""Candidates of a comparison of attention, each made when its turn comes, and how one is timed.

PyTorch alone: it runs where neither fairseq nor NumPy can be imported.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.ceilings import median_seconds, synchronize

CAUSAL = "causal over everything"


class Call(NamedTuple):
    """``run`` gives the output; gradients are taken for ``leaves``."""

    run: Callable[[], Tensor]
    leaves: tuple[Tensor, ...]


@dataclass(frozen=True)
class Candidate:
    """``make`` builds what it needs, and may fail where it cannot run."""

    name: str
    computes: str
    make: Callable[[], Call]


class Figures(NamedTuple):
    """``first_s``: the first forward and backward, which compile and tune; medians in milliseconds."""

    first_s: float
    forward_ms: float
    both_ms: float


def full_attention(tokens: tuple[Tensor, ...]) -> Iterator[Candidate]:
    """PyTorch's attention over everything before, by each of its fused kernels; rows [T, H, Dh]."""

    def make(backend: SDPBackend | None) -> Call:
        leaves = heads_first(tokens)
        run = partial(F.scaled_dot_product_attention, *leaves, is_causal=True)
        return Call(run if backend is None else partial(_with_sdpa, backend, run), leaves)

    if tokens[0].device.type != "cuda":
        yield Candidate("SDPA", CAUSAL, partial(make, None))
        return
    for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
        yield Candidate(f"SDPA {backend.name.lower()}", CAUSAL, partial(make, backend))


def heads_first(rows: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
    """[T, H, Dh] each -> leaves [1, H, T, Dh]."""
    return tuple(part.detach().transpose(0, 1)[None].contiguous().requires_grad_() for part in rows)


def _with_sdpa(backend: SDPBackend, run: Callable[[], Tensor]) -> Tensor:
    with sdpa_kernel(backend):
        return run()


def forward_only(call: Call) -> None:
    """One forward pass that keeps nothing."""
    with torch.no_grad():
        call.run()


def forward_and_backward(call: Call) -> None:
    """One forward pass and the gradients of all leaves."""
    out = call.run()
    torch.autograd.grad(out, call.leaves, out.detach())


def warm_up(call: Call, device: torch.device) -> float:
    """Compile and tune; the seconds of the first forward and backward."""
    began = time.perf_counter()
    forward_and_backward(call)
    synchronize(device)
    first = time.perf_counter() - began
    forward_only(call)
    if device.type == "cuda":
        for _ in range(2):
            forward_and_backward(call)
    return first


def measure_candidate(candidate: Candidate, device: torch.device, repeats: int) -> Figures:
    """Make it and time it by itself; raises whatever it raises."""
    call = candidate.make()
    first = warm_up(call, device)
    forward, both = (
        1e3 * median_seconds(partial(action, call), device, repeats) for action in (forward_only, forward_and_backward)
    )
    return Figures(first, forward, both)


def why_not(error: Exception) -> str:
    """What a row says of a candidate that did not run: lack of memory alone is "does not fit"."""
    if isinstance(error, torch.OutOfMemoryError):
        return "does not fit"
    reason = str(error).strip().splitlines() or [""]
    return f"{type(error).__name__}: {reason[0][:90]}"
