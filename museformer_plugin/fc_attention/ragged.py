"""Attention over ranges of rows in plain PyTorch, with its own backward: no T x T tensor.

One head and one segment of queries (a bar, a prefix, a summary) at a time, so that what is computed stays in cache.
Every product reads its range of keys where it lies and adds its gradient there: nothing is gathered or scattered.
Scores are computed again in the backward, so that beside q, k and v only one number a query and head is kept. Memory is
linear in the number of rows. Softmax and accumulation run in float32 (float64 stays float64).

On a CPU the heads are spread over threads that each walk all segments. Splitting every small product over the cores
instead would make them wait for each other a thousand times a call, and for ever on a machine that is busy.
"""

from __future__ import annotations

import sys
import warnings
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, TypeVar

import torch
from torch import Tensor

from .layout import AttentionPlan

# Key ranges with at most this many rows between them are taken as one, and those rows hidden: a product of its own
# for each short run of summaries costs more.
_LARGEST_HOLE = 16

_F = TypeVar("_F", bound=Callable[..., Any])


def _without_interpreter_lock(function: _F) -> _F:
    """Compile ``function`` with TorchScript, which lets go of Python's lock, so that threads do not wait for it.

    PyTorch calls TorchScript deprecated and supports it up to Python 3.13; later the function runs as it stands,
    right but slower in threads.
    """
    if sys.version_info >= (3, 14):
        return function
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(function)


@_without_interpreter_lock
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


@_without_interpreter_lock
def _hide(scores: Tensor, holes: Tensor, causal: bool, future: Tensor) -> None:
    """Set to -inf what nobody may see, and of the own rows, which come last, what comes after a query."""
    if len(holes) > 0:
        scores.index_fill_(1, holes, float("-inf"))
    if causal:
        n = len(scores)
        scores[:, scores.shape[1] - n :].add_(future[:n, :n])


@_without_interpreter_lock
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


@_without_interpreter_lock
def _weighted_sum(weights: Tensor, values: Tensor, ranges: list[list[int]], scale: float, out: Tensor) -> None:
    """out [n, Dh] = scale times weights [n, K] times the rows of values [R, Dh] in ``ranges``."""
    column = 0
    beta = 0.0
    for start, end in ranges:
        part = weights[:, column : column + end - start]
        torch.addmm(out, part, values[start:end], beta=beta, alpha=scale, out=out)
        column += end - start
        beta = 1.0


@_without_interpreter_lock
def _add_transposed(weights: Tensor, rows: Tensor, ranges: list[list[int]], scale: float, total: Tensor) -> None:
    """Add scale times weights^T rows to the rows of total [R, Dh] in ``ranges``: weights [n, K], rows [n, Dh]."""
    column = 0
    for start, end in ranges:
        part = weights[:, column : column + end - start]
        total[start:end].addmm_(part.t(), rows, alpha=scale)
        column += end - start


@_without_interpreter_lock
def _kept(weights: Tensor, rate: float, generator: torch.Generator, draws: list[Tensor]) -> Tensor:
    """1 where a weight [n, K] is kept, 0 where it is dropped; ``draws`` are int64 and the same memory as int16."""
    count = weights.numel()
    draws[0][: (count + 3) // 4].random_(-(1 << 62) * 2, None, generator=generator)  # all 64 bits, for four weights
    bits = draws[1][:count].view(weights.shape)
    return (bits >= int(rate * (1 << 16)) - (1 << 15)).to(weights.dtype)  # a product with bool is slow


@_without_interpreter_lock
def _attend(
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


@_without_interpreter_lock
def _differentiate(
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
    """One head, backward: what ``_attend`` had, and the gradients in the same shapes."""
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


@dataclass(frozen=True)
class _Walk:
    """A plan as the functions above walk it, segment by segment: ``holes`` are columns that nobody may see."""

    queries: list[list[int]]
    key_ranges: list[list[list[int]]]
    holes: list[Tensor]
    causal: list[bool]
    future: Tensor  # -inf above the diagonal
    room: int  # numbers in the scores of the largest segment

    @staticmethod
    def of(plan: AttentionPlan, like: Tensor) -> _Walk:
        first, ranges, queries = plan.first_key_range.tolist(), plan.key_ranges.tolist(), plan.query_ranges.tolist()
        bridged = [_bridge(ranges[a:b]) for a, b in zip(first, first[1:])]
        key_ranges = [part for part, _ in bridged]
        widths = [sum(end - start for start, end in part) for part in key_ranges]
        lengths = [end - start for start, end in queries]
        causal = plan.causal.tolist()
        longest = max((length for length, is_causal in zip(lengths, causal) if is_causal), default=0)
        return _Walk(
            queries,
            key_ranges,
            [torch.tensor(hidden, dtype=torch.int64, device=like.device) for _, hidden in bridged],
            causal,
            like.new_full((longest, longest), float("-inf")).triu(1),
            max((length * width for length, width in zip(lengths, widths)), default=0),
        )


def _bridge(ranges: list[list[int]]) -> tuple[list[list[int]], list[int]]:
    """Ranges that lie close behind one another as one, and the columns of the rows between them."""
    bridged: list[list[int]] = []
    holes: list[int] = []
    column = 0
    for start, end in ranges:
        hole = start - bridged[-1][1] if bridged else -1
        if 0 <= hole <= _LARGEST_HOLE:
            holes += range(column, column + hole)
            column += hole
            bridged[-1][1] = end
        else:
            bridged.append([start, end])
        column += end - start
    return bridged, holes


def _over_heads(work: Callable[[Iterator[int]], None], heads: int, device: torch.device) -> None:
    """Call ``work`` with the heads to take one after the other; on a CPU in as many threads as PyTorch may use."""
    left = iter(range(heads))  # shared: who is done with a head takes the next
    threads = torch.get_num_threads()
    if device.type != "cpu" or min(threads, heads) == 1:
        work(left)
        return
    inference = torch.is_inference_mode_enabled()

    def alone(_: int) -> None:
        # modes are kept by thread
        with torch.inference_mode(inference), torch.no_grad():
            work(left)

    workers = min(threads, heads)
    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(alone, range(workers)))
    finally:
        torch.set_num_threads(threads)  # for threads that begin later; that of the caller has not changed


def _accurate(*tensors: Tensor) -> list[Tensor]:
    """In the dtype of softmax and accumulation."""
    return [rows if rows.dtype == torch.float64 else rows.float() for rows in tensors]


class _Worker:
    """What one thread needs for one head after another."""

    def __init__(self, walk: _Walk, dropout: float, seed: int, device: torch.device) -> None:
        self._walk, self._rate, self._seed = walk, dropout, seed
        self._generator = torch.Generator(device)
        self._draws = torch.empty((walk.room + 3) // 4 if dropout > 0 else 0, dtype=torch.int64, device=device)

    def arguments(self, head: int) -> tuple[Any, ...]:
        """What ``_attend`` and ``_differentiate`` take after the rows."""
        walk = self._walk
        plan = walk.queries, walk.key_ranges, walk.holes, walk.causal, walk.future
        generator = self._generator.manual_seed(self._seed + head)
        return *plan, self._rate, generator, [self._draws, self._draws.view(torch.int16)]


def _one_head(*tensors: Tensor) -> list[Tensor]:
    """Room for the rows [R, Dh] of one head of each [R, H, Dh]: side by side they are multiplied faster."""
    return [rows.new_empty(rows.shape[0], rows.shape[2]) for rows in tensors]


class _RaggedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, dropout: float, seed: int) -> Tensor:
        rows = _accurate(q, k, v)
        walk = _Walk.of(plan, rows[0])
        out = torch.empty_like(rows[0])
        log_sums = out.new_empty(q.shape[1], len(q))

        def attend(heads: Iterator[int]) -> None:
            worker, room = _Worker(walk, dropout, seed, q.device), out.new_empty(walk.room)
            *head_rows, head_out = _one_head(*rows, out)
            for head in heads:
                for part, whole in zip(head_rows, rows):
                    part.copy_(whole[:, head])
                _attend(*head_rows, *worker.arguments(head), room, head_out, log_sums[head])
                out[:, head] = head_out

        _over_heads(attend, q.shape[1], q.device)
        ctx.save_for_backward(q, k, v, log_sums)
        ctx.walk, ctx.dropout, ctx.seed = walk, dropout, seed
        return out.to(q.dtype)

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, log_sums = ctx.saved_tensors
        rows = _accurate(q, k, v, grad_out)
        results = [torch.empty_like(part) for part in rows[:3]]

        def differentiate(heads: Iterator[int]) -> None:
            worker = _Worker(ctx.walk, ctx.dropout, ctx.seed, q.device)
            rooms = [rows[0].new_empty(ctx.walk.room), rows[0].new_empty(ctx.walk.room)]
            head_rows, head_results = _one_head(*rows), _one_head(*results)
            for head in heads:
                for part, whole in zip(head_rows, rows):
                    part.copy_(whole[:, head])
                for part in head_results[1:]:
                    part.zero_()
                *operands, grads = head_rows
                _differentiate(*operands, *worker.arguments(head), rooms, log_sums[head], grads, *head_results)
                for part, whole in zip(head_results, results):
                    whole[:, head] = part

        _over_heads(differentiate, q.shape[1], q.device)
        return *(part.to(q.dtype) for part in results), None, None, None


def ragged_attention(q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, dropout: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(Dh)) v, each segment of ``plan`` over its own keys.

    q [Q, H, Dh], k and v [K, H, Dh], one dtype and device; the segments of ``plan`` cover all Q
    rows. Returns [Q, H, Dh]. Dropout on the weights, in whole 65536ths, draws its seed from PyTorch's generator.
    """
    seed = int(torch.randint(2**62, ())) if dropout > 0 else 0
    return _RaggedAttention.apply(q, k, v, plan, round(dropout * 2**16) / 2**16, seed)
