"""One head of attention over ranges of rows, forward and backward, segment by segment.

A segment is some queries (a bar, a prefix) that see the same ranges of keys, so that what is computed stays in cache.
Every product reads its range of keys where it lies and adds its gradient there: nothing is gathered or scattered.
Scores are computed again in the backward. Rows are [R, Dh]; keys, values and their gradients lie side by side in
float32 or float64, the others as they come.
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
def _views(rows: Tensor, ranges: list[list[int]]) -> list[Tensor]:
    """The runs of rows [R, Dh] that segments see, made once: a product is hardly dearer than a view."""
    return [rows[start_end[0] : start_end[1]] for start_end in ranges]


@without_interpreter_lock
def _scores(rows: Tensor, keys: list[Tensor], seen: list[int], widths: list[int], scale: float, room: Tensor) -> Tensor:
    """scale rows keys^T [n, K] in ``room``: rows [n, Dh], the ``seen`` ones of keys [Dh, width]."""
    width = sum(widths)
    scores = room[: len(rows) * width].view(len(rows), width)
    parts = scores.split(widths, 1)
    for number in range(len(seen)):
        torch.addmm(parts[number], rows, keys[seen[number]], beta=0.0, alpha=scale, out=parts[number])
    return scores


@without_interpreter_lock
def _hide(scores: Tensor, holes: Tensor, causal: bool) -> None:
    """Set to -inf what nobody may see, and of the own rows, which come last, what comes after a query."""
    if len(holes) > 0:
        scores.index_fill_(1, holes, float("-inf"))
    if causal:
        n = len(scores)
        own = scores[:, scores.shape[1] - n :]
        own.masked_fill_(torch.ones_like(own, dtype=torch.bool).triu_(1), float("-inf"))


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
def _weighted_sum(weights: Tensor, values: list[Tensor], seen: list[int], widths: list[int], scale: float) -> Tensor:
    """scale times weights [n, K] times the ``seen`` ones of values [width, Dh]: [n, Dh]."""
    total = weights.new_zeros([len(weights), values[0].shape[1]])
    parts = weights.split(widths, 1)
    for number in range(len(seen)):
        total.addmm_(parts[number], values[seen[number]], alpha=scale)
    return total


@without_interpreter_lock
def _add_transposed(
    weights: Tensor, rows: Tensor, totals: list[Tensor], seen: list[int], widths: list[int], scale: float
) -> None:
    """Add scale times weights^T rows to the ``seen`` ones of totals [width, Dh]: weights [n, K], rows [n, Dh]."""
    parts = weights.t().split(widths, 0)
    for number in range(len(seen)):
        totals[seen[number]].addmm_(parts[number], rows, alpha=scale)


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
    plan: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
    rate: float,
    generator: torch.Generator,
    draws: list[Tensor],
    room: Tensor,
    out: Tensor,
    log_sums: Tensor,
) -> None:
    """One head, forward: q, out [Q, Dh], k, v [R, Dh], log_sums [Q] (of exp of the scores).

    ``plan`` is int64, see ``Walk``; ``draws`` int64 and the same memory as int16; ``room`` holds the largest scores.
    """
    segments: list[list[int]] = plan[0].tolist()
    ranges: list[list[int]] = plan[1].tolist()
    all_seen: list[int] = plan[2].tolist()
    all_widths: list[int] = plan[3].tolist()
    keys, values = [part.t() for part in _views(k, ranges)], _views(v, ranges)
    scale = q.shape[1] ** -0.5
    for start, end, causal, first, last, first_hole, last_hole in segments:
        seen, widths, holes = all_seen[first:last], all_widths[first:last], plan[4][first_hole:last_hole]
        weights = _scores(q[start:end].to(k.dtype).contiguous(), keys, seen, widths, scale, room)
        _hide(weights, holes, causal == 1)
        largest = weights.amax(1, keepdim=True)
        weights.sub_(largest)
        _exp_of_seen(weights, holes, causal == 1)
        sums = weights.sum(1, keepdim=True)
        log_sums[start:end] = (largest + sums.log()).squeeze(1)
        if rate > 0:
            weights.mul_(_kept(weights, rate, generator, draws))
        out[start:end] = _weighted_sum(weights, values, seen, widths, 1 / (1 - rate)) / sums


@without_interpreter_lock
def differentiate(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    plan: tuple[Tensor, Tensor, Tensor, Tensor, Tensor],
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
    """One head, backward: what ``attend`` had, and the gradients in the same shapes; to those of k and v is added."""
    segments: list[list[int]] = plan[0].tolist()
    ranges: list[list[int]] = plan[1].tolist()
    all_seen: list[int] = plan[2].tolist()
    all_widths: list[int] = plan[3].tolist()
    keys, values = _views(k, ranges), [part.t() for part in _views(v, ranges)]
    transposed_keys = [part.t() for part in keys]
    grad_keys, grad_values = _views(grad_k, ranges), _views(grad_v, ranges)
    scale = q.shape[1] ** -0.5
    scale_kept = 1 / (1 - rate)
    for start, end, causal, first, last, first_hole, last_hole in segments:
        seen, widths, holes = all_seen[first:last], all_widths[first:last], plan[4][first_hole:last_hole]
        rows = q[start:end].to(k.dtype).contiguous()
        grads = grad_out[start:end].to(k.dtype).contiguous()
        weights = _scores(rows, transposed_keys, seen, widths, scale, rooms[0])
        weights.sub_(log_sums[start:end].unsqueeze(1))
        _exp_of_seen(weights, holes, causal == 1)
        grad_weights = _scores(grads, values, seen, widths, scale_kept, rooms[1])
        if rate > 0:
            kept = _kept(weights, rate, generator, draws)
            grad_weights.mul_(kept)
            _add_transposed(kept.mul_(weights), grads, grad_values, seen, widths, scale_kept)
        else:
            _add_transposed(weights, grads, grad_values, seen, widths, 1.0)
        torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype, grad_input=grad_weights)
        grad_q[start:end] = _weighted_sum(grad_weights, keys, seen, widths, scale)
        _add_transposed(grad_weights, rows, grad_keys, seen, widths, scale)
