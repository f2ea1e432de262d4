"""Attention over ranges of rows in plain PyTorch, with its own backward: no T x T tensor.

Beside queries, keys and values only one number a query and head is kept for the backward, so memory is linear in the
number of rows. Softmax and accumulation run in float32 (float64 stays float64).

On a CPU the heads are spread over threads that each walk all segments. Splitting every small product over the cores
instead would make them wait for each other a thousand times a call, and for ever on a machine that is busy.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.autograd.function import once_differentiable

from . import ragged_head
from .layout import AttentionPlan, BarLayout

# Key ranges with at most this many rows between them are taken as one, and those rows hidden: a product of its own
# for each short run of summaries costs more.
_LARGEST_HOLE = 16


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


@dataclass(frozen=True)
class _Step:
    """One attention: queries [Q, H, Dh] over keys and values that lie end to end in parts, each [R, H, Dh]."""

    walk: _Walk
    dropout: float
    seed: int
    queries: Tensor
    keys: list[Tensor]
    values: list[Tensor]

    def attend(self) -> tuple[Tensor, Tensor]:
        """The output, as the queries, and the logarithms of the softmax's sums [H, Q]."""
        out = torch.empty_like(self.queries)
        log_sums = out.new_empty(out.shape[1], len(out), dtype=_accurate(out.dtype))

        def attend(heads: Iterator[int]) -> None:
            worker = _Worker(self)
            room, head_out = worker.room(), worker.rows(self.queries)
            for head in heads:
                ragged_head.attend(*worker.arguments(head), room, head_out, log_sums[head])
                out[:, head] = head_out

        _over_heads(attend, out.shape[1], out.device)
        return out, log_sums

    def differentiate(
        self, log_sums: Tensor, grad_out: Tensor, grad_keys: list[Tensor], grad_values: list[Tensor], add: bool = False
    ) -> Tensor:
        """Write the gradients of keys and values into their parts, or add them; returns that of the queries."""
        grad_queries = torch.empty_like(self.queries)

        def differentiate(heads: Iterator[int]) -> None:
            worker = _Worker(self)
            rooms = [worker.room(), worker.room()]
            head_grads, grad_q = worker.rows(self.queries), worker.rows(self.queries)
            grad_k, grad_v = worker.rows(*self.keys), worker.rows(*self.values)
            for head in heads:
                for total, parts in ((grad_k, grad_keys), (grad_v, grad_values)):
                    if add:
                        _join(parts, head, total)
                    else:
                        total.zero_()
                arguments = worker.arguments(head)
                _join([grad_out], head, head_grads)
                ragged_head.differentiate(*arguments, rooms, log_sums[head], head_grads, grad_q, grad_k, grad_v)
                grad_queries[:, head] = grad_q
                for total, parts in ((grad_k, grad_keys), (grad_v, grad_values)):
                    for rows, part in zip(total.split([len(part) for part in parts]), parts):
                        part[:, head] = rows

        _over_heads(differentiate, grad_queries.shape[1], grad_queries.device)
        return grad_queries


class _Worker:
    """What one thread needs for one head after another: rows of one head are multiplied faster side by side."""

    def __init__(self, step: _Step) -> None:
        self._step = step
        self._like = step.queries
        self._generator = torch.Generator(self._like.device)
        draws = (step.walk.room + 3) // 4 if step.dropout > 0 else 0
        self._draws = torch.empty(draws, dtype=torch.int64, device=self._like.device)
        self._rows = self.rows(step.queries), self.rows(*step.keys), self.rows(*step.values)

    def room(self) -> Tensor:
        """For the scores of any segment."""
        return self._like.new_empty(self._step.walk.room, dtype=_accurate(self._like.dtype))

    def rows(self, *parts: Tensor) -> Tensor:
        """For one head of ``parts`` laid end to end."""
        return self._like.new_empty(sum(map(len, parts)), self._like.shape[2], dtype=_accurate(self._like.dtype))

    def arguments(self, head: int) -> tuple[Any, ...]:
        """The first ones of ``ragged_head.attend`` and ``differentiate``."""
        step, walk = self._step, self._step.walk
        for parts, rows in zip(([step.queries], step.keys, step.values), self._rows):
            _join(parts, head, rows)
        plan = walk.queries, walk.key_ranges, walk.holes, walk.causal, walk.future
        generator = self._generator.manual_seed(step.seed + head)
        return *self._rows, *plan, step.dropout, generator, [self._draws, self._draws.view(torch.int16)]


def _join(parts: list[Tensor], head: int, rows: Tensor) -> None:
    """Lay one head of the parts [R, H, Dh] end to end in ``rows``."""
    for place, part in zip(rows.split([len(part) for part in parts]), parts):
        place.copy_(part[:, head])


def _accurate(dtype: torch.dtype) -> torch.dtype:
    """That of softmax and accumulation."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _over_heads(work: Callable[[Iterator[int]], None], heads: int, device: torch.device) -> None:
    """Call ``work`` with the heads to take one after the other; on a CPU in as many threads as PyTorch may use."""
    left = iter(range(heads))  # shared: who is done with a head takes the next
    threads = torch.get_num_threads()
    workers = min(threads, heads) if device.type == "cpu" else 1
    if workers == 1:
        work(left)
        return
    inference = torch.is_inference_mode_enabled()

    def alone(_: int) -> None:
        # modes are kept by thread
        with torch.inference_mode(inference), torch.no_grad():
            work(left)

    try:
        with ThreadPoolExecutor(workers, initializer=torch.set_num_threads, initargs=(1,)) as pool:
            list(pool.map(alone, range(workers)))
    finally:
        torch.set_num_threads(threads)  # for threads that begin later; that of the caller has not changed


class _RaggedAttention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, dropout: float, seed: int) -> Tensor:
        ctx.options = _Walk.of(plan, q), dropout, seed
        out, log_sums = _Step(*ctx.options, q, [k], [v]).attend()
        ctx.save_for_backward(q, k, v, log_sums)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, log_sums = ctx.saved_tensors
        grad_k, grad_v = torch.empty_like(k), torch.empty_like(v)
        grad_q = _Step(*ctx.options, q, [k], [v]).differentiate(log_sums, grad_out, [grad_k], [grad_v])
        return grad_q, grad_k, grad_v, None, None, None


class _RaggedFCAttention(torch.autograd.Function):
    """Both steps of FC-attention in one, so that nothing is copied to stand in one tensor, nor gradients added later."""

    @staticmethod
    def forward(
        ctx: Any,
        q_x: Tensor,
        k_x: Tensor,
        v_x: Tensor,
        q_s: Tensor,
        k_s: Tensor,
        v_s: Tensor,
        summary_kv_weight: Tensor,
        layout: BarLayout,
        dropout: float,
        seed: int,
    ) -> tuple[Tensor, Tensor]:
        ctx.summary_options = _Walk.of(layout.summary_plan, q_s), dropout, seed
        ctx.token_options = _Walk.of(layout.token_plan, q_x), dropout, seed + q_x.shape[1]
        s, s_sums = _Step(*ctx.summary_options, q_s, [k_s, k_x], [v_s, v_x]).attend()
        k2, v2 = summary_keys_and_values(s, summary_kv_weight)
        x, x_sums = _Step(*ctx.token_options, q_x, [k2, k_x], [v2, v_x]).attend()
        ctx.save_for_backward(q_x, k_x, v_x, q_s, k_s, v_s, summary_kv_weight, s, s_sums, x_sums)
        return x, s

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_x: Tensor, grad_s: Tensor) -> tuple[Tensor | None, ...]:
        q_x, k_x, v_x, q_s, k_s, v_s, weight, s, s_sums, x_sums = ctx.saved_tensors
        k2, v2 = summary_keys_and_values(s, weight)
        # the two steps' gradients of the tokens meet here
        grad_k_x, grad_v_x = (rows.new_empty(rows.shape, dtype=_accurate(rows.dtype)) for rows in (k_x, v_x))
        grad_rows = k2.new_empty(len(s), 2, *s.shape[1:])
        step = _Step(*ctx.token_options, q_x, [k2, k_x], [v2, v_x])
        grad_k2, grad_v2 = grad_rows.unbind(1)
        grad_q_x = step.differentiate(x_sums, grad_x, [grad_k2, grad_k_x], [grad_v2, grad_v_x])
        grad_rows = grad_rows.flatten(1)
        grad_weight = (grad_rows.t() @ s.flatten(1).to(grad_rows.dtype)).to(weight.dtype)
        grad_s = grad_s + (grad_rows @ weight.to(grad_rows.dtype)).view(s.shape)
        grad_k_s, grad_v_s = torch.zeros_like(k_s), torch.zeros_like(v_s)
        step = _Step(*ctx.summary_options, q_s, [k_s, k_x], [v_s, v_x])
        grad_q_s = step.differentiate(s_sums, grad_s, [grad_k_s, grad_k_x], [grad_v_s, grad_v_x], add=True)
        of_tokens = grad_q_x, grad_k_x.to(k_x.dtype), grad_v_x.to(v_x.dtype)
        return *of_tokens, grad_q_s, grad_k_s, grad_v_s, grad_weight, None, None, None


def summary_keys_and_values(s: Tensor, weight: Tensor) -> tuple[Tensor, Tensor]:
    """K2 s' and V2 s' [N, H, Dh] of s' [N, H, Dh]; weight [2 * H * Dh, H * Dh] is K2 above V2."""
    k2, v2 = F.linear(s.flatten(1), weight.to(s.dtype)).view(len(s), 2, *s.shape[1:]).unbind(1)
    return k2, v2


def _whole_65536ths(dropout: float) -> float:
    return round(dropout * 2**16) / 2**16


def ragged_attention(q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, dropout: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(Dh)) v, each segment of ``plan`` over its own keys.

    q [Q, H, Dh], k and v [K, H, Dh], one dtype and device; the segments of ``plan`` cover all Q
    rows. Returns [Q, H, Dh]. Dropout on the weights, in whole 65536ths, draws its seed from PyTorch's generator.
    """
    seed = int(torch.randint(2**62, ())) if dropout > 0 else 0
    return _RaggedAttention.apply(q, k, v, plan, _whole_65536ths(dropout), seed)


def ragged_fc_attention(
    tokens: tuple[Tensor, Tensor, Tensor],
    summaries: tuple[Tensor, Tensor, Tensor],
    summary_kv_weight: Tensor,
    layout: BarLayout,
    dropout: float = 0.0,
) -> tuple[Tensor, Tensor]:
    """``fc_attention`` of a coarse layout; see there."""
    seed = int(torch.randint(2**62, ())) if dropout > 0 else 0
    options = layout, _whole_65536ths(dropout), seed
    return _RaggedFCAttention.apply(*tokens, *summaries, summary_kv_weight, *options)
