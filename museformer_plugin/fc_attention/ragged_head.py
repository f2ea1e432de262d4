"""One head of attention over ranges of rows, forward and backward, segment by segment.

A segment is some queries (a bar, a prefix, a summary) that see the same ranges of keys, so that what is computed stays
in cache. Every product reads its range of keys where it lies and adds its gradient there: nothing is gathered or
scattered. Scores are computed again in the backward. All rows are [R, Dh], contiguous, float32 or float64.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable
from typing import Any, TypeVar

import torch
from torch import Tensor

_F = TypeVar("_F", bound=Callable[..., Any])


def without_interpreter_lock(function: _F) -> _F:
    """Compile ``function`` with TorchScript, which lets go of Python's lock, so that threads do not wait for it.

    PyTorch calls TorchScript deprecated and supports it up to Python 3.13; later the function runs as it stands,
    right but slower in threads.
    """
    if sys.version_info >= (3, 14):
        return function
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(function)


@without_interpreter_lock
def _scores(rows: Tensor, keys: Tensor, ranges: list[list[int]], scale: float, room: Tensor) -> Tensor:
    """scale rows keys^T [n, K] in ``room``: rows [n, Dh], keys [R, Dh] of which ``ranges`` count."""
    width = 0
    for start, end in ranges:
        width += end - start
    scores = room[: len(rows) * width].view(len(rows), width)
    column = 0
    for start, end in ranges:
        part = scores[:, column : column + end - start]
        torch.addmm(part, rows, keys[start:end].t(), beta=0.0, alpha=scale, out=part)
        column += end - start
    return scores


@without_interpreter_lock
def _hide(scores: Tensor, holes: Tensor, causal: bool, future: Tensor) -> None:
    """Set to -inf what nobody may see, and of the own rows, which come last, what comes after a query."""
    if len(holes) > 0:
        scores.index_fill_(1, holes, float("-inf"))
    if causal:
        n = len(scores)
        scores[:, scores.shape[1] - n :].add_(future[:n, :n])


@without_interpreter_lock
def _exp_of_seen(scores: Tensor, holes: Tensor, causal: bool) -> None:
    """exp of the scores, in place, and 0 where ``_hide`` forbids to look."""
    n = len(scores)
    own = scores[:, scores.shape[1] - n :] if causal else scores[:, :0]
    own.clamp_(min=-80.0, max=80.0)  # exp is several times slower where a result is 0 or inf
    if len(holes) > 0:
        scores.index_fill_(1, holes, 0.0)
    scores.exp_()
    own.tril_()
    if len(holes) > 0:
        scores.index_fill_(1, holes, 0.0)


@without_interpreter_lock
def _weighted_sum(weights: Tensor, values: Tensor, ranges: list[list[int]], scale: float, out: Tensor) -> None:
    """out [n, Dh] = scale times weights [n, K] times the rows of values [R, Dh] in ``ranges``."""
    column = 0
    beta = 0.0
    for start, end in ranges:
        part = weights[:, column : column + end - start]
        torch.addmm(out, part, values[start:end], beta=beta, alpha=scale, out=out)
        column += end - start
        beta = 1.0


@without_interpreter_lock
def _add_transposed(weights: Tensor, rows: Tensor, ranges: list[list[int]], scale: float, total: Tensor) -> None:
    """Add scale times weights^T rows to the rows of total [R, Dh] in ``ranges``: weights [n, K], rows [n, Dh]."""
    column = 0
    for start, end in ranges:
        part = weights[:, column : column + end - start]
        total[start:end].addmm_(part.t(), rows, alpha=scale)
        column += end - start


@without_interpreter_lock
def _kept(weights: Tensor, rate: float, generator: torch.Generator, draws: list[Tensor]) -> Tensor:
    """1 where a weight [n, K] is kept, 0 where it is dropped; ``draws`` are int64 and the same memory as int16."""
    count = weights.numel()
    draws[0][: (count + 3) // 4].random_(-(1 << 62) * 2, None, generator=generator)  # all 64 bits, for four weights
    bits = draws[1][:count].view(weights.shape)
    return (bits >= int(rate * (1 << 16)) - (1 << 15)).to(weights.dtype)  # a product with bool is slow


@without_interpreter_lock
def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    queries: list[list[int]],
    key_ranges: list[list[list[int]]],
    holes: list[Tensor],
    causal: list[bool],
    future: Tensor,
    rate: float,
    generator: torch.Generator,
    draws: list[Tensor],
    room: Tensor,
    out: Tensor,
    log_sums: Tensor,
) -> None:
    """One head, forward: q, out [Q, Dh], k, v [R, Dh], log_sums [Q] (of exp of the scores)."""
    scale = q.shape[1] ** -0.5
    for number in range(len(queries)):
        start, end = queries[number]
        ranges = key_ranges[number]
        weights = _scores(q[start:end], k, ranges, scale, room)
        _hide(weights, holes[number], causal[number], future)
        largest = weights.amax(1, keepdim=True)
        weights.sub_(largest)
        _exp_of_seen(weights, holes[number], causal[number])
        sums = weights.sum(1, keepdim=True)
        log_sums[start:end] = (largest + sums.log()).squeeze(1)
        if rate > 0:
            weights.mul_(_kept(weights, rate, generator, draws))
        _weighted_sum(weights, v, ranges, 1 / (1 - rate), out[start:end])
        out[start:end].div_(sums)


@without_interpreter_lock
def differentiate(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    queries: list[list[int]],
    key_ranges: list[list[list[int]]],
    holes: list[Tensor],
    causal: list[bool],
    future: Tensor,
    rate: float,
    generator: torch.Generator,
    draws: list[Tensor],
    rooms: list[Tensor],
    log_sums: Tensor,
    grad_out: Tensor,
    grad_q: Tensor,
    grad_k: Tensor,
    grad_v: Tensor,
) -> None:
    """One head, backward: what ``attend`` had, and the gradients in the same shapes."""
    scale = q.shape[1] ** -0.5
    scale_kept = 1 / (1 - rate)
    for number in range(len(queries)):
        start, end = queries[number]
        ranges = key_ranges[number]
        rows, grads = q[start:end], grad_out[start:end]
        weights = _scores(rows, k, ranges, scale, rooms[0])
        weights.sub_(log_sums[start:end].unsqueeze(1))
        _exp_of_seen(weights, holes[number], causal[number])
        grad_weights = _scores(grads, v, ranges, scale_kept, rooms[1])
        if rate > 0:
            kept = _kept(weights, rate, generator, draws)
            grad_weights.mul_(kept)
            _add_transposed(kept.mul_(weights), grads, ranges, scale_kept, grad_v)
        else:
            _add_transposed(weights, grads, ranges, 1.0, grad_v)
        torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype, grad_input=grad_weights)
        _weighted_sum(grad_weights, k, ranges, scale, grad_q[start:end])
        _add_transposed(grad_weights, rows, ranges, scale, grad_k)
