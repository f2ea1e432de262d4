"""Attention over ranges of rows in plain PyTorch, with its own backward: no T x T tensor.

One segment of queries at a time (a bar, a prefix, a summary): its keys are gathered once, scored in
one product, and the backward scores them again from the saved log-sum-exp. Memory is linear in the
number of rows. Softmax and accumulation run in float32 (float64 stays float64).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import torch
from torch import Tensor

from .layout import AttentionPlan


class _Segment(NamedTuple):
    queries: slice
    key_ranges: list[list[int]]
    causal: bool


def _segments(plan: AttentionPlan) -> Iterator[_Segment]:
    first, ranges = plan.first_key_range.tolist(), plan.key_ranges.tolist()
    for number, (start, end) in enumerate(plan.query_ranges.tolist()):
        yield _Segment(slice(start, end), ranges[first[number] : first[number + 1]], bool(plan.causal[number]))


def _gather(rows: Tensor, ranges: list[list[int]]) -> Tensor:
    """Rows [H, K, Dh] of the given ranges, laid end to end."""
    if len(ranges) == 1:
        return rows[:, ranges[0][0] : ranges[0][1]]
    return torch.cat([rows[:, start:end] for start, end in ranges], dim=1)


def _scatter_add(total: Tensor, part: Tensor, ranges: list[list[int]]) -> None:
    """Add ``part`` [H, K, Dh] to the rows of ``total`` that ``_gather`` took."""
    place = 0
    for start, end in ranges:
        total[:, start:end] += part[:, place : place + end - start]
        place += end - start


class _Dropout:
    """Attention dropout that the backward can draw again: one generator per call, rewound by its seed."""

    def __init__(self, rate: float, seed: int, device: torch.device) -> None:
        self.rate = rate
        self.generator = torch.Generator(device).manual_seed(seed) if rate > 0 else None

    def scaled_mask(self, like: Tensor) -> Tensor:
        """1 / (1 - rate) where a weight stays, 0 where it is dropped."""
        keep = 1 - self.rate
        return torch.empty_like(like).bernoulli_(keep, generator=self.generator).div_(keep)


def _heads_first(rows: Tensor) -> Tensor:
    """[R, H, Dh] -> contiguous [H, R, Dh] in the dtype of accumulation."""
    dtype = torch.float64 if rows.dtype == torch.float64 else torch.float32
    return rows.transpose(0, 1).to(dtype).contiguous()


def _future(plan: AttentionPlan, like: Tensor) -> Tensor:
    """-inf above the diagonal, 0 elsewhere, as large as the longest causal segment."""
    lengths = (plan.query_ranges[:, 1] - plan.query_ranges[:, 0])[plan.causal]
    longest = int(lengths.max()) if len(lengths) else 0
    return like.new_full((longest, longest), float("-inf")).triu(1)


def _scores(q: Tensor, k: Tensor, causal: bool, future: Tensor) -> Tensor:
    """Scores [H, n, K] of scaled queries q [H, n, Dh] with keys k [H, K, Dh]."""
    scores = torch.bmm(q, k.transpose(1, 2))
    if causal:
        n = q.shape[1]
        scores[:, :, -n:] += future[:n, :n]
    return scores


class _RaggedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, dropout: float, seed: int) -> Tensor:
        queries, keys, values = _heads_first(q * q.shape[-1] ** -0.5), _heads_first(k), _heads_first(v)
        future = _future(plan, queries)
        out = torch.empty_like(queries)
        log_sum_exp = queries.new_empty(queries.shape[:2])
        drop = _Dropout(dropout, seed, q.device)
        for segment in _segments(plan):
            scores = _scores(queries[:, segment.queries], _gather(keys, segment.key_ranges), segment.causal, future)
            log_sum_exp[:, segment.queries] = scores.logsumexp(dim=-1)
            weights = scores.sub_(log_sum_exp[:, segment.queries, None]).exp_()
            if dropout > 0:
                weights *= drop.scaled_mask(weights)
            torch.bmm(weights, _gather(values, segment.key_ranges), out=out[:, segment.queries])
        ctx.save_for_backward(q, k, v, out, log_sum_exp)
        ctx.plan, ctx.dropout, ctx.seed = plan, dropout, seed
        return out.transpose(0, 1).to(q.dtype)

    @staticmethod
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, log_sum_exp = ctx.saved_tensors
        plan, scale = ctx.plan, q.shape[-1] ** -0.5
        queries, keys, values = _heads_first(q * scale), _heads_first(k), _heads_first(v)
        grad_out = _heads_first(grad_out)
        # sum over keys of weight * its gradient, for every query (FlashAttention's D)
        delta = (grad_out * out).sum(dim=-1)
        future = _future(plan, queries)
        grad_q, grad_k, grad_v = torch.empty_like(queries), torch.zeros_like(keys), torch.zeros_like(values)
        drop = _Dropout(ctx.dropout, ctx.seed, q.device)
        for segment in _segments(plan):
            segment_k = _gather(keys, segment.key_ranges)
            segment_q, segment_grad = queries[:, segment.queries], grad_out[:, segment.queries]
            weights = _scores(segment_q, segment_k, segment.causal, future)
            weights.sub_(log_sum_exp[:, segment.queries, None]).exp_()
            grad_weights = torch.bmm(segment_grad, _gather(values, segment.key_ranges).transpose(1, 2))
            dropped = weights
            if ctx.dropout > 0:
                mask = drop.scaled_mask(weights)
                dropped = weights * mask
                grad_weights *= mask
            _scatter_add(grad_v, torch.bmm(dropped.transpose(1, 2), segment_grad), segment.key_ranges)
            grad_scores = grad_weights.sub_(delta[:, segment.queries, None]).mul_(weights)
            torch.bmm(grad_scores, segment_k, out=grad_q[:, segment.queries])
            _scatter_add(grad_k, torch.bmm(grad_scores.transpose(1, 2), segment_q), segment.key_ranges)
        grads = (grad_q.mul_(scale), grad_k, grad_v)
        return *(g.transpose(0, 1).to(q.dtype) for g in grads), None, None, None


def ragged_attention(q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, dropout: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(Dh)) v, each segment of ``plan`` over its own keys.

    q [Q, H, Dh], k and v [K, H, Dh], one dtype and device; the segments of ``plan`` cover all Q
    rows. Returns [Q, H, Dh]. Dropout on the weights draws its seed from PyTorch's generator.
    """
    seed = int(torch.randint(2**62, ())) if dropout > 0 else 0
    return _RaggedAttention.apply(q, k, v, plan, dropout, seed)
