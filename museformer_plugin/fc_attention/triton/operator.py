"""The calls of this backend. Importing this module imports Triton, so that is done where it is used alone."""

from __future__ import annotations

from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..layout import BarLayout
from ..plan import AttentionPlan
from ..summaries import PlaceKeys, summary_keys_and_values
from .backward import ragged_bwd
from .forward import ragged_fwd
from .index_lists import DeviceLists, lists_on
from .summary import Keys, summary_bwd, summary_fwd


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, dropout: float) -> Tensor:
        q, k, v = (_heads_together(rows) for rows in (q, k, v))
        step = _Step.drawn(plan, q, len(k), dropout)
        out, lse = step.attend(q, Keys.whole(k, v))
        ctx.save_for_backward(q, k, v, out, lse, step.random_bits)
        ctx.options = step.lists, dropout
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse, random_bits = ctx.saved_tensors
        lists, dropout = ctx.options
        step = _Step(lists, random_bits, dropout)
        if not lists.one_query_each:
            return *step.differentiate(q, k, v, out, lse, grad_out), None, None
        gradients = Keys.whole(torch.zeros_like(k), torch.zeros_like(v))
        grad_q = step.differentiate_alone(q, Keys.whole(k, v), out, lse, grad_out, gradients)
        return grad_q, gradients.k, gradients.v, None, None


class _FCAttention(torch.autograd.Function):
    """Both steps in one, so that tokens are laid behind summaries once, and no gradients are added later."""

    @staticmethod
    def forward(
        ctx: Any,
        q_x: Tensor,
        k_x: Tensor,
        v_x: Tensor,
        q_s: Tensor,
        k_s: Tensor,
        v_s: Tensor,
        weight: Tensor,
        layout: BarLayout,
        place: PlaceKeys | None,
        dropout: float,
    ) -> tuple[Tensor, Tensor]:
        q_x, k_x, v_x, q_s, k_s, v_s = map(_heads_together, (q_x, k_x, v_x, q_s, k_s, v_s))
        num_keys = len(k_s) + len(k_x)
        of_summaries = _Step.drawn(layout.summary_plan, q_s, num_keys, dropout)
        s, s_lse = of_summaries.attend(q_s, Keys(k_x, v_x, k_s, v_s))
        k2, v2 = summary_keys_and_values(s, weight, place)
        k, v = torch.cat([k2, k_x]), torch.cat([v2, v_x])
        of_tokens = _Step.drawn(layout.token_plan, q_x, num_keys, dropout)
        x, x_lse = of_tokens.attend(q_x, Keys.whole(k, v))
        bits = of_summaries.random_bits, of_tokens.random_bits
        ctx.save_for_backward(q_x, k, v, q_s, k_s, v_s, weight, s, s_lse, x, x_lse, *bits)
        ctx.options = of_summaries.lists, of_tokens.lists, place, dropout
        return x, s

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_x: Tensor, grad_s: Tensor) -> tuple[Tensor | None, ...]:
        q_x, k, v, q_s, k_s, v_s, weight, s, s_lse, x, x_lse, *bits = ctx.saved_tensors
        summary_lists, token_lists, place, dropout = ctx.options
        count = len(s)
        grad_q_x, grad_k, grad_v = _Step(token_lists, bits[1], dropout).differentiate(q_x, k, v, x, x_lse, grad_x)
        with torch.enable_grad():  # the same again, so that its gradient is PyTorch's own
            leaves = s.detach().requires_grad_(), weight.detach().requires_grad_()
            made = summary_keys_and_values(*leaves, place)
        through_keys, grad_weight = torch.autograd.grad(made, leaves, (grad_k[:count], grad_v[:count]))
        # the summary step adds its gradients of the tokens to those of the token step
        gradients = Keys(grad_k[count:], grad_v[count:], _empty(k_s), _empty(v_s))
        grad_q_s = _Step(summary_lists, bits[0], dropout).differentiate_alone(
            q_s, Keys(k[count:], v[count:], k_s, v_s), s, s_lse, grad_s + through_keys, gradients
        )
        return grad_q_x, gradients.k, gradients.v, grad_q_s, *gradients[2:], grad_weight, None, None, None


class _Step(NamedTuple):
    """Attention by one plan: its lists on the device, and the random bits of its dropout."""

    lists: DeviceLists
    random_bits: Tensor | None
    dropout: float

    @staticmethod
    def drawn(plan: AttentionPlan, q: Tensor, num_keys: int, dropout: float) -> _Step:
        """With bits for each row, from PyTorch's generator of the device; kernels mix those of query and key."""
        random_bits = None
        if dropout > 0:
            size = (q.shape[1], len(q) + num_keys)
            random_bits = torch.randint(-(2**31), 2**31, size, dtype=torch.int32, device=q.device)
        return _Step(lists_on(plan, q.device), random_bits, dropout)

    def attend(self, q: Tensor, keys: Keys) -> tuple[Tensor, Tensor]:
        """out [Q, H, D] and the log-sum-exps [H, Q] of its rows; keys may lie apart where each query is alone."""
        with torch.cuda.device_of(q):
            if self.lists.one_query_each:
                return summary_fwd(q, keys, *self)
            return ragged_fwd(q, keys.k, keys.v, *self)

    def differentiate(
        self, q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, grad_out: Tensor
    ) -> tuple[Tensor, Tensor, Tensor]:
        """dq, dk and dv where queries share segments."""
        with torch.cuda.device_of(q):
            return ragged_bwd(q, k, v, out, lse, grad_out.contiguous(), *self)

    def differentiate_alone(
        self, q: Tensor, keys: Keys, out: Tensor, lse: Tensor, grad_out: Tensor, gradients: Keys
    ) -> Tensor:
        """dq where each query is alone; dk and dv go into ``gradients``."""
        with torch.cuda.device_of(q):
            return summary_bwd(q, keys, out, lse, grad_out.contiguous(), *self, gradients)


def _empty(like: Tensor) -> Tensor:
    return torch.empty(like.shape, dtype=like.dtype, device=like.device)


def _heads_together(rows: Tensor) -> Tensor:
    """[R, H, D] as the kernels read it: any stride between rows, none between heads."""
    packed = rows.stride(2) == 1 and rows.stride(1) == rows.shape[2]
    return rows if packed else rows.contiguous()


def attention(q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, dropout: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(D)) v, each segment of ``plan`` over its own keys.

    q [Q, H, D], k and v [K, H, D], one dtype (float32, float16 or bfloat16) and device, D from 16 to
    128; the segments of ``plan`` cover all Q rows. Returns [Q, H, D]. Softmax and sums are float32.
    Dropout on the weights draws from PyTorch's generator of the device; gradients repeat bit by bit.

    Raises ValueError for other dtypes and shapes.
    """
    if q.dtype not in (torch.float32, torch.float16, torch.bfloat16):
        raise ValueError(f"q: dtype {q.dtype}, expected float32, float16 or bfloat16")
    for name, rows in (("k", k), ("v", v)):
        if rows.dtype != q.dtype or rows.shape[1:] != q.shape[1:] or len(rows) != plan.num_keys:
            expected = f"[{plan.num_keys}, {', '.join(map(str, q.shape[1:]))}]"
            raise ValueError(f"{name}: {rows.dtype} {tuple(rows.shape)}, expected {q.dtype} {expected}")
    if not 16 <= q.shape[-1] <= 128:
        raise ValueError(f"q has shape {tuple(q.shape)}, expected [{len(q)}, heads, head width from 16 to 128]")
    return _Attention.apply(q, k, v, plan, dropout)


def fc_attention(
    tokens: tuple[Tensor, Tensor, Tensor],
    summaries: tuple[Tensor, Tensor, Tensor],
    summary_kv_weight: Tensor,
    layout: BarLayout,
    dropout: float = 0.0,
    place_summary_keys: PlaceKeys | None = None,
) -> tuple[Tensor, Tensor]:
    """As ``fc_attention.api`` says, of arguments that fit a coarse layout."""
    with torch.autocast(tokens[0].device.type, enabled=False):
        return _FCAttention.apply(*tokens, *summaries, summary_kv_weight, layout, place_summary_keys, dropout)
