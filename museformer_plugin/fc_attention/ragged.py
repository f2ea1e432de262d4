"""Attention over ranges of rows in plain PyTorch, with its own backward: no T x T tensor.

One segment of queries at a time (a bar, a prefix, a summary): its keys and values are gathered
once, scored in one product a group of heads, and scored again in the backward, so that nothing but
q, k and v is kept. Memory is linear in the number of rows. Softmax and accumulation run in float32
(float64 stays float64).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .layout import AttentionPlan

_MAX_SCORES = 1 << 24  # scores held at a time, all heads of a group together


class _Segment(NamedTuple):
    queries: slice
    key_ranges: list[list[int]]
    causal: bool


def _segments(plan: AttentionPlan) -> Iterator[_Segment]:
    first, ranges, causal = plan.first_key_range.tolist(), plan.key_ranges.tolist(), plan.causal.tolist()
    for number, (start, end) in enumerate(plan.query_ranges.tolist()):
        yield _Segment(slice(start, end), ranges[first[number] : first[number + 1]], causal[number])


def _gather(rows: Tensor, ranges: list[list[int]]) -> Tensor:
    """The rows of the given ranges laid end to end, heads first: [R, H, Dh] -> [H, K, Dh], for computing."""
    parts = [rows[start:end] for start, end in ranges]
    return _computed(parts[0] if len(parts) == 1 else torch.cat(parts)).transpose(0, 1)


def _scatter_add(total: Tensor, part: Tensor, ranges: list[list[int]]) -> None:
    """Add ``part`` [H, K, Dh] to the rows of ``total`` [R, H, Dh] that ``_gather`` took."""
    part = part.transpose(0, 1)
    place = 0
    for start, end in ranges:
        total[start:end] += part[place : place + end - start]
        place += end - start


def _computed(rows: Tensor) -> Tensor:
    """In the dtype of softmax and accumulation."""
    return rows if rows.dtype == torch.float64 else rows.float()


class _Scratch:
    """One block of memory that all segments compute in: blocks of this size are dear to allocate."""

    def __init__(self, plan: AttentionPlan, heads: int, like: Tensor) -> None:
        lengths = plan.key_ranges[:, 1] - plan.key_ranges[:, 0]
        keys = [lengths[a:b].sum() for a, b in zip(plan.first_key_range, plan.first_key_range[1:])]
        queries = plan.query_ranges[:, 1] - plan.query_ranges[:, 0]
        largest = int(max((n * k for n, k in zip(queries, keys)), default=0))
        self._block = like.new_empty(max(largest, min(largest * heads, _MAX_SCORES)))

    def head_groups(self, heads: int, queries: int, keys: int) -> Iterator[tuple[slice, Tensor]]:
        """Groups of heads as large as fit, each with room for its scores [heads, queries, keys]."""
        size = max(1, len(self._block) // (queries * keys))
        for first in range(0, heads, size):
            group = slice(first, min(first + size, heads))
            count = group.stop - group.start
            yield group, self._block[: count * queries * keys].view(count, queries, keys)


class _Dropout:
    """Attention dropout that the backward can draw again: one generator a call, rewound by its seed.

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

    def __call__(self, q: Tensor, k: Tensor, causal: bool, out: Tensor) -> None:
        """softmax(q k^T) into ``out`` [h, n, K]; q [h, n, Dh] is scaled, k [h, K, Dh]."""
        torch.bmm(q, k.transpose(1, 2), out=out)
        if causal:
            n = q.shape[1]
            out[:, :, -n:] += self._future[:n, :n]
        torch.softmax(out, -1, out=out)


class _RaggedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, dropout: float, seed: int) -> Tensor:
        out = torch.empty_like(q)
        heads, like = q.shape[1], _computed(q[:0])
        softmax, scratch = _Softmax(plan, like), _Scratch(plan, heads, like)
        drop = _Dropout(dropout, seed, q.device) if dropout > 0 else None
        for segment in _segments(plan):
            queries = _scaled(q[segment.queries])
            keys, values = _gather(k, segment.key_ranges), _gather(v, segment.key_ranges)
            for group, weights in scratch.head_groups(heads, queries.shape[1], keys.shape[1]):
                softmax(queries[group], keys[group], segment.causal, weights)
                if drop:
                    drop.drop(weights)
                attended = torch.bmm(weights, values[group])
                out[segment.queries, group] = (attended.mul_(drop.scale) if drop else attended).transpose(0, 1)
        ctx.save_for_backward(q, k, v)
        ctx.plan, ctx.dropout, ctx.seed = plan, dropout, seed
        return out

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v = ctx.saved_tensors
        plan, heads = ctx.plan, q.shape[1]
        like = _computed(q[:0])
        grad_q = torch.empty_like(q)
        grad_k, grad_v = (torch.zeros_like(rows, dtype=like.dtype) for rows in (k, v))
        softmax = _Softmax(plan, like)
        scratch, grad_scratch = _Scratch(plan, heads, like), _Scratch(plan, heads, like)
        drop = _Dropout(ctx.dropout, ctx.seed, q.device) if ctx.dropout > 0 else None
        for segment in _segments(plan):
            queries, grads = _scaled(q[segment.queries]), _computed(grad_out[segment.queries]).transpose(0, 1)
            if drop:
                grads = grads * drop.scale
            keys, values = _gather(k, segment.key_ranges), _gather(v, segment.key_ranges)
            segment_grad_k, segment_grad_v = torch.empty_like(keys), torch.empty_like(values)
            sizes = (heads, queries.shape[1], keys.shape[1])
            for (group, weights), (_, grad_scores) in zip(
                scratch.head_groups(*sizes), grad_scratch.head_groups(*sizes)
            ):
                softmax(queries[group], keys[group], segment.causal, weights)
                torch.bmm(grads[group], values[group].transpose(1, 2), out=grad_scores)
                dropped = weights
                if drop:
                    dropped = weights.clone()
                    drop.drop(dropped, grad_scores)
                segment_grad_v[group] = torch.bmm(dropped.transpose(1, 2), grads[group])
                torch._softmax_backward_data(grad_scores, weights, -1, like.dtype, grad_input=grad_scores)
                segment_grad_k[group] = torch.bmm(grad_scores.transpose(1, 2), queries[group])
                group_grad_q = torch.bmm(grad_scores, keys[group]).mul_(q.shape[-1] ** -0.5)
                grad_q[segment.queries, group] = group_grad_q.transpose(0, 1)
            _scatter_add(grad_k, segment_grad_k, segment.key_ranges)
            _scatter_add(grad_v, segment_grad_v, segment.key_ranges)
        return grad_q, grad_k.to(k.dtype), grad_v.to(v.dtype), None, None, None


def _scaled(queries: Tensor) -> Tensor:
    """[n, H, Dh] -> [H, n, Dh], times 1 / sqrt(Dh)."""
    return (_computed(queries) * queries.shape[-1] ** -0.5).transpose(0, 1)


def ragged_attention(q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, dropout: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(Dh)) v, each segment of ``plan`` over its own keys.

    q [Q, H, Dh], k and v [K, H, Dh], one dtype and device; the segments of ``plan`` cover all Q
    rows. Returns [Q, H, Dh]. Dropout on the weights draws its seed from PyTorch's generator.
    """
    seed = int(torch.randint(2**62, ())) if dropout > 0 else 0
    return _RaggedAttention.apply(q, k, v, plan, dropout, seed)
