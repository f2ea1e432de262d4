"""The calls of this backend. Importing this module imports Triton, so that is done where it is used alone."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

from ..layout import BarLayout
from ..plan import AttentionPlan
from ..summaries import PlaceKeys, summary_keys_and_values
from .backward import ragged_bwd
from .forward import ragged_fwd
from .index_lists import lists_on
from .summary import summary_bwd, summary_fwd


class _Attention(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, q: Tensor, k: Tensor, v: Tensor, plan: AttentionPlan, dropout: float) -> Tensor:
        q, k, v = (_heads_together(rows) for rows in (q, k, v))
        lists, random_bits = lists_on(plan, q.device), None
        if dropout > 0:
            # one for each row, from PyTorch's generator of the device; kernels mix those of query and key
            size = (q.shape[1], len(q) + len(k))
            random_bits = torch.randint(-(2**31), 2**31, size, dtype=torch.int32, device=q.device)
        run = summary_fwd if lists.one_query_each else ragged_fwd
        with torch.cuda.device_of(q):
            out, lse = run(q, k, v, lists, random_bits, dropout)
        ctx.save_for_backward(q, k, v, out, lse, random_bits)
        ctx.lists, ctx.dropout = lists, dropout
        return out

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad_out: Tensor) -> tuple[Tensor | None, ...]:
        q, k, v, out, lse, random_bits = ctx.saved_tensors
        run = summary_bwd if ctx.lists.one_query_each else ragged_bwd
        with torch.cuda.device_of(grad_out):
            grads = run(q, k, v, out, lse, grad_out.contiguous(), ctx.lists, random_bits, ctx.dropout)
        return *grads, None, None


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
    (q_x, k_x, v_x), (q_s, k_s, v_s) = tokens, summaries
    s = attention(q_s, torch.cat([k_s, k_x]), torch.cat([v_s, v_x]), layout.summary_plan, dropout)
    k2, v2 = summary_keys_and_values(s, summary_kv_weight, place_summary_keys)
    return attention(q_x, torch.cat([k2, k_x]), torch.cat([v2, v_x]), layout.token_plan, dropout), s
