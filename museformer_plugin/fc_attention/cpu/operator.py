"""The calls of this backend: attention over ranges of rows, with its own backward and no T x T tensor.

Beside what comes in and goes out only the log-sum-exp of each query and head is kept for the backward, so memory is
linear in the number of rows. Softmax and accumulation run in float32 (float64 stays float64).

On a CPU the heads of tokens, and the bars of summaries, are spread over threads of their own. Splitting every small
product over the cores instead would make them wait for each other a thousand times a call, and for ever on a machine
that is busy.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..layout import BarLayout
from ..plan import AttentionPlan
from ..summaries import PlaceKeys, summary_keys_and_values
from . import head as one_head
from .bfloat16 import Bfloat16Step, multiplies_bfloat16
from .summary import SummaryGradients, SummaryStep, differentiate_summaries, summarise
from .threads import in_threads
from .tiles import Tiles


@dataclass(frozen=True)
class _Step:
    """One attention: queries [Q, H, Dh] over keys and values that lie end to end in parts, each [R, H, Dh]."""

    plan: Tiles
    dropout: float
    seed: int
    queries: Tensor
    keys: list[Tensor]
    values: list[Tensor]

    def attend(self) -> tuple[Tensor, Tensor]:
        """The output, as the queries, and the log-sum-exps [H, Q] of its rows."""
        out = torch.empty_like(self.queries)
        lse = out.new_empty(out.shape[1], len(out), dtype=_accurate_dtype(out.dtype))

        def begin() -> Callable[[int], None]:
            worker = _Worker(self)
            buffer = worker.buffer()
            return lambda head: one_head.attend(*worker.arguments(head), buffer, out[:, head], lse[head])

        in_threads(begin, out.shape[1], out.device)
        return out, lse

    def differentiate(
        self,
        out: Tensor,
        lse: Tensor,
        grad_out: Tensor,
        grad_keys: list[Tensor],
        grad_values: list[Tensor],
    ) -> Tensor:
        """From what ``attend`` returned: write the gradients of keys and values; returns that of the queries."""
        grad_queries = torch.empty_like(self.queries)

        def begin() -> Callable[[int], None]:
            worker = _Worker(self)
            buffers = [worker.buffer(), worker.buffer()]
            grad_k, grad_v = worker.rows(*self.keys), worker.rows(*self.values)

            def differentiate(head: int) -> None:
                grad_k.zero_()
                grad_v.zero_()
                of_queries = out[:, head], lse[head], grad_out[:, head], grad_queries[:, head]
                one_head.differentiate(*worker.arguments(head), buffers, *of_queries, grad_k, grad_v)
                for total, parts in ((grad_k, grad_keys), (grad_v, grad_values)):
                    for rows, part in zip(total.split([len(part) for part in parts]), parts):
                        part[:, head] = rows

            return differentiate

        in_threads(begin, grad_queries.shape[1], grad_queries.device)
        return grad_queries


class _Worker:
    """What one thread needs for one head after another: rows of one head are multiplied faster side by side."""

    def __init__(self, step: _Step) -> None:
        self._step = step
        self._like = step.queries
        self._keys, self._values = self.rows(*step.keys), self.rows(*step.values)
        device = self._like.device
        draws = (step.plan.scores_of_segment + 3) // 4 if step.dropout > 0 else 0
        quadruples = torch.empty(draws, dtype=torch.int64, device=device)
        numbers = quadruples.view(torch.int16)
        self._dropout = one_head.Dropout(step.dropout, torch.Generator(device), numbers, quadruples)
        self._plan = step.plan._replace(masked=step.plan.masked.to(device))

    def buffer(self) -> Tensor:
        """For the scores of any tile."""
        return self._like.new_empty(self._step.plan.scores_of_tile, dtype=_accurate_dtype(self._like.dtype))

    def rows(self, *parts: Tensor) -> Tensor:
        """For one head of ``parts`` laid end to end."""
        return self._like.new_empty(sum(map(len, parts)), self._like.shape[2], dtype=_accurate_dtype(self._like.dtype))

    def arguments(self, head: int) -> tuple[Tensor, Tensor, Tensor, Tiles, one_head.Dropout]:
        """The first ones of ``one_head.attend`` and ``differentiate``."""
        step = self._step
        _join(step.keys, head, self._keys)
        _join(step.values, head, self._values)
        self._dropout.generator.manual_seed(step.seed + head)
        return step.queries[:, head], self._keys, self._values, self._plan, self._dropout


def _join(parts: list[Tensor], head: int, rows: Tensor) -> None:
    """Lay one head of the parts [R, H, Dh] end to end in ``rows``."""
    for part_rows, part in zip(rows.split([len(part) for part in parts]), parts):
        part_rows.copy_(part[:, head])


def _step(
    q: Tensor, keys: list[Tensor], values: list[Tensor], plan: Tiles, dropout: float, seed: int
) -> Bfloat16Step | _Step:
    """The attention, computed where possible in the dtype of its rows."""
    in_bfloat16 = q.dtype == torch.bfloat16 and multiplies_bfloat16(q.device)
    return (Bfloat16Step if in_bfloat16 else _Step)(plan, dropout, seed, q, keys, values)


def _accurate_dtype(dtype: torch.dtype) -> torch.dtype:
    """That of softmax and accumulation."""
    return torch.float64 if dtype == torch.float64 else torch.float32


def _accurate(rows: Tensor) -> Tensor:
    return rows.to(_accurate_dtype(rows.dtype))


_BARS_AT_ONCE = 8  # few enough to share out evenly, many enough to be worth a call


def _over_bars(function: Callable[..., None], step: SummaryStep, *arguments: Any) -> None:
    """Call ``function(first, last, step, *arguments)`` for a few summaries at a time."""
    count = len(step.q)

    def of_group(group: int) -> None:
        function(group * _BARS_AT_ONCE, min((group + 1) * _BARS_AT_ONCE, count), step, *arguments)

    in_threads(lambda: of_group, -(-count // _BARS_AT_ONCE), step.q.device)


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, dropout: float, seed: int) -> Tensor:
        ctx.options = plan.prepared(Tiles.of), dropout, seed
        out, lse = _step(q, [k], [v], *ctx.options).attend()
        ctx.save_for_backward(q, k, v, out, lse)
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse = ctx.saved_tensors
        grad_k, grad_v = torch.empty_like(k), torch.empty_like(v)
        grad_q = _step(q, [k], [v], *ctx.options).differentiate(out, lse, grad_out, [grad_k], [grad_v])
        return grad_q, grad_k, grad_v, None, None, None


class _FCAttention(torch.autograd.Function):
    """Both steps in one, so that summaries and tokens are not laid end to end and no gradients are added later."""

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
        place_summary_keys: PlaceKeys | None,
        dropout: float,
        seed: int,
    ) -> tuple[Tensor, Tensor]:
        ctx.token_options = layout.token_plan.prepared(Tiles.of), dropout, seed
        ctx.summary_options = layout, dropout, seed + q_x.shape[1]
        step = _summary_step((q_s, k_s, v_s, k_x, v_x), *ctx.summary_options)
        s = torch.empty_like(step.q)
        _over_bars(summarise, step, s)
        s = s.to(q_s.dtype)
        k2, v2 = summary_keys_and_values(s, summary_kv_weight, place_summary_keys)
        x, x_lse = _step(q_x, [k2, k_x], [v2, v_x], *ctx.token_options).attend()
        ctx.place_summary_keys = place_summary_keys
        ctx.save_for_backward(q_x, k_x, v_x, q_s, k_s, v_s, summary_kv_weight, s, x, x_lse)
        return x, s

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_x: Tensor, grad_s: Tensor) -> tuple[Tensor | None, ...]:
        q_x, k_x, v_x, q_s, k_s, v_s, weight, s, x, x_lse = ctx.saved_tensors
        k2, v2 = summary_keys_and_values(s, weight)
        with torch.enable_grad():
            unplaced = k2.detach().requires_grad_()
            placed = unplaced if ctx.place_summary_keys is None else ctx.place_summary_keys(unplaced)
        k2 = placed.detach()
        # the two steps' gradients of the tokens meet here
        grad_k_x, grad_v_x = (rows.new_empty(rows.shape, dtype=_accurate_dtype(rows.dtype)) for rows in (k_x, v_x))
        grad_rows = k2.new_empty(len(s), 2, *s.shape[1:])
        token_step = _step(q_x, [k2, k_x], [v2, v_x], *ctx.token_options)
        grad_k2, grad_v2 = grad_rows.unbind(1)
        grad_q_x = token_step.differentiate(x, x_lse, grad_x, [grad_k2, grad_k_x], [grad_v2, grad_v_x])
        if placed is not unplaced:
            (grad_placed,) = torch.autograd.grad(placed, unplaced, grad_k2.to(placed.dtype))
            grad_k2.copy_(grad_placed)
        grad_rows = grad_rows.flatten(1)
        grad_weight = (grad_rows.t() @ s.flatten(1).to(grad_rows.dtype)).to(weight.dtype)
        grad_s = grad_s + (grad_rows @ weight.to(grad_rows.dtype)).view(s.shape)
        step = _summary_step((q_s, k_s, v_s, k_x, v_x), *ctx.summary_options)
        grad_q_s, grad_k_s, grad_v_s = map(torch.empty_like, (step.q, step.own_keys, step.own_values))
        grads = SummaryGradients(grad_q_s, grad_k_s, grad_v_s, grad_k_x, grad_v_x)
        _over_bars(differentiate_summaries, step, _accurate(grad_s), grads)
        written = zip((grad_q_x, grad_k_x, grad_v_x, *grads[:3]), (q_x, k_x, v_x, q_s, k_s, v_s))
        return *(grad.to(like.dtype) for grad, like in written), grad_weight, None, None, None, None


def _summary_step(rows: tuple[Tensor, ...], layout: BarLayout, dropout: float, seed: int) -> SummaryStep:
    """The summary step of ``rows``: q, k, v of summaries, k, v of tokens."""
    like = rows[0]
    bars = torch.from_numpy(layout.summary_bars)
    count = layout.num_summaries + layout.num_tokens if dropout > 0 else 0
    kept = like.new_empty(like.shape[1], count, dtype=_accurate_dtype(like.dtype))
    generator = torch.Generator(like.device).manual_seed(seed)
    kept = kept.bernoulli_(1 - dropout, generator=generator) / (1 - dropout)
    return SummaryStep(bars, kept, *map(_accurate, rows))


def _whole_65536ths(dropout: float) -> float:
    return min(round(dropout * 2**16), 2**16 - 1) / 2**16


def attention(q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, dropout: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(Dh)) v, each segment of ``plan`` over its own keys.

    q [Q, H, Dh], k and v [K, H, Dh], one dtype and device; the segments of ``plan`` cover all Q
    rows. Returns [Q, H, Dh]. Dropout on the weights, in whole 65536ths, draws its seed from PyTorch's generator.
    """
    with torch.autocast(q.device.type, enabled=False):
        return _Attention.apply(q, k, v, plan, _whole_65536ths(dropout), _seed(dropout))


def fc_attention(
    tokens: tuple[Tensor, Tensor, Tensor],
    summaries: tuple[Tensor, Tensor, Tensor],
    summary_kv_weight: Tensor,
    layout: BarLayout,
    dropout: float = 0.0,
    place_summary_keys: PlaceKeys | None = None,
) -> tuple[Tensor, Tensor]:
    """As ``fc_attention.api`` says, of arguments that fit a coarse layout."""
    options = layout, place_summary_keys, _whole_65536ths(dropout), _seed(dropout)
    with torch.autocast(tokens[0].device.type, enabled=False):
        return _FCAttention.apply(*tokens, *summaries, summary_kv_weight, *options)


def _seed(dropout: float) -> int:
    return int(torch.randint(2**62, ())) if dropout > 0 else 0
