"""Attention over ranges of rows in plain PyTorch, with its own backward: no T x T tensor.

One segment of queries (a bar, a prefix, a summary) and two heads at a time, so that what is computed stays in cache:
keys and values are gathered, scored in one product, and scored again in the backward, so that nothing but q, k and v is
kept. Memory is linear in the number of rows. Softmax and accumulation run in float32 (float64 stays float64).

On a CPU the heads are spread over threads that each walk all segments. Splitting every small product over the cores
instead would make them wait for each other a thousand times a call, and for ever on a machine that is busy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .layout import AttentionPlan

_HEADS_AT_ONCE = 2


class _Segment(NamedTuple):
    """Some heads of one segment: ``weights`` [h, n, K] is room for its scores."""

    heads: slice
    queries: slice
    key_ranges: list[list[int]]
    causal: bool
    weights: Tensor


def _segments(plan: AttentionPlan, heads: slice, like: Tensor) -> Iterator[_Segment]:
    """All segments; their scores share one block of memory, dear to allocate anew."""
    first, ranges, causal = plan.first_key_range.tolist(), plan.key_ranges.tolist(), plan.causal.tolist()
    key_counts = [sum(end - start for start, end in ranges[a:b]) for a, b in zip(first, first[1:])]
    queries = plan.query_ranges.tolist()
    count = heads.stop - heads.start
    block = like.new_empty(count * max(((end - start) * k for (start, end), k in zip(queries, key_counts)), default=0))
    for number, (start, end) in enumerate(queries):
        size = (count, end - start, key_counts[number])
        weights = block[: size[0] * size[1] * size[2]].view(size)
        yield _Segment(heads, slice(start, end), ranges[first[number] : first[number + 1]], causal[number], weights)


def _over_heads(work: Callable[[slice], None], heads: int, device: torch.device) -> None:
    """Call ``work`` for a few heads at a time, on a CPU in as many threads as PyTorch may use."""
    groups = [slice(head, min(head + _HEADS_AT_ONCE, heads)) for head in range(0, heads, _HEADS_AT_ONCE)]
    threads = torch.get_num_threads()
    if device.type != "cpu" or threads == 1 or len(groups) == 1:
        for group in groups:
            work(group)
        return
    inference = torch.is_inference_mode_enabled()

    def alone(group: slice) -> None:
        # modes are kept by thread
        with torch.inference_mode(inference), torch.no_grad():
            work(group)

    try:
        with ThreadPoolExecutor(min(threads, len(groups)), initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(alone, groups))
    finally:
        torch.set_num_threads(threads)  # for threads that begin later; that of the caller has not changed


def _gather(rows: Tensor, segment: _Segment) -> Tensor:
    """The segment's rows laid end to end: [H, R, Dh] -> [h, K, Dh]."""
    parts = [rows[segment.heads, start:end] for start, end in segment.key_ranges]
    return parts[0] if len(parts) == 1 else torch.cat(parts, dim=1)


def _scatter_add(total: Tensor, part: Tensor, segment: _Segment) -> None:
    """Add ``part`` [h, K, Dh] to the rows of ``total`` [H, R, Dh] that ``_gather`` took."""
    place = 0
    for start, end in segment.key_ranges:
        total[segment.heads, start:end] += part[:, place : place + end - start]
        place += end - start


def _heads_first(rows: Tensor) -> Tensor:
    """[R, H, Dh] -> contiguous [H, R, Dh] in the dtype of softmax and accumulation."""
    dtype = torch.float64 if rows.dtype == torch.float64 else torch.float32
    return rows.transpose(0, 1).to(dtype).contiguous()


class _Dropout:
    """Attention dropout that the backward can draw again: one generator for every group of heads of a call.

    Sixteen random bits decide a weight, four weights a draw.
    """

    def __init__(self, rate: float, seed: int, device: torch.device) -> None:
        self.rate = round(rate * 2**16) / 2**16
        self.scale = 1 / (1 - self.rate)  # of what is kept
        self._generator = torch.Generator(device).manual_seed(seed)

    def drop(self, weights: Tensor, *more: Tensor) -> None:
        """Zero the same weights, drawn anew, of every tensor given."""
        draws = torch.empty((weights.numel() + 3) // 4, dtype=torch.int64, device=weights.device)
        draws.random_(-(2**63), None, generator=self._generator)
        bits = draws.view(torch.int16)[: weights.numel()].view_as(weights)
        kept = (bits >= round(self.rate * 2**16) - 2**15).to(weights.dtype)  # a product with bool is slow
        for tensor in (weights, *more):
            tensor *= kept


class _Softmax:
    """Attention weights of a segment, computed alike in the forward and the backward."""

    def __init__(self, plan: AttentionPlan, like: Tensor) -> None:
        lengths = (plan.query_ranges[:, 1] - plan.query_ranges[:, 0])[plan.causal]
        longest = int(lengths.max()) if len(lengths) else 0
        self._future = like.new_full((longest, longest), float("-inf")).triu(1)

    def __call__(self, q: Tensor, k: Tensor, segment: _Segment) -> Tensor:
        """softmax(q k^T) [h, n, K] in the segment's room; q [h, n, Dh] is scaled, k [h, K, Dh]."""
        weights = torch.bmm(q, k.transpose(1, 2), out=segment.weights)
        if segment.causal:
            n = q.shape[1]
            weights[:, :, -n:] += self._future[:n, :n]
        return torch.softmax(weights, -1, out=weights)


class _RaggedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, dropout: float, seed: int) -> Tensor:
        ctx.save_for_backward(q, k, v)
        ctx.plan, ctx.dropout, ctx.seed = plan, dropout, seed
        queries, keys, values = _heads_first(q) * q.shape[-1] ** -0.5, _heads_first(k), _heads_first(v)
        out = torch.empty_like(queries)
        softmax = _Softmax(plan, queries)

        def attend(heads: slice) -> None:
            drop = _Dropout(dropout, seed + heads.start, q.device)
            for segment in _segments(plan, heads, queries):
                place = heads, segment.queries
                weights = softmax(queries[place], _gather(keys, segment), segment)
                if dropout > 0:
                    drop.drop(weights)
                out[place] = torch.bmm(weights, _gather(values, segment))
            out[heads] *= drop.scale

        _over_heads(attend, q.shape[1], q.device)
        return out.transpose(0, 1).to(q.dtype)

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v = ctx.saved_tensors
        scale = q.shape[-1] ** -0.5
        queries, keys, values = _heads_first(q) * scale, _heads_first(k), _heads_first(v)
        grads = _heads_first(grad_out)
        grad_q, grad_k, grad_v = torch.empty_like(queries), torch.zeros_like(keys), torch.zeros_like(values)
        softmax = _Softmax(ctx.plan, queries)

        def differentiate(heads: slice) -> None:
            drop = _Dropout(ctx.dropout, ctx.seed + heads.start, q.device)
            for segment in _segments(ctx.plan, heads, queries):
                place = heads, segment.queries
                segment_keys, segment_grads = _gather(keys, segment), grads[place] * drop.scale
                weights = softmax(queries[place], segment_keys, segment)
                grad_weights = torch.bmm(segment_grads, _gather(values, segment).transpose(1, 2))
                dropped = weights
                if ctx.dropout > 0:
                    dropped = weights.clone()
                    drop.drop(dropped, grad_weights)
                _scatter_add(grad_v, torch.bmm(dropped.transpose(1, 2), segment_grads), segment)
                torch._softmax_backward_data(grad_weights, weights, -1, weights.dtype, grad_input=grad_weights)
                grad_q[place] = torch.bmm(grad_weights, segment_keys)
                _scatter_add(grad_k, torch.bmm(grad_weights.transpose(1, 2), queries[place]), segment)

        _over_heads(differentiate, q.shape[1], q.device)
        results = (grad_q * scale, grad_k, grad_v)
        return *(grad.transpose(0, 1).to(q.dtype) for grad in results), None, None, None


def ragged_attention(q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, dropout: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(Dh)) v, each segment of ``plan`` over its own keys.

    q [Q, H, Dh], k and v [K, H, Dh], one dtype and device; the segments of ``plan`` cover all Q
    rows. Returns [Q, H, Dh]. Dropout on the weights draws its seed from PyTorch's generator.
    """
    seed = int(torch.randint(2**62, ())) if dropout > 0 else 0
    return _RaggedAttention.apply(q, k, v, plan, dropout, seed)
