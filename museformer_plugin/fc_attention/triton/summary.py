"""Segments of one query each, as in the summary step: a summary attends to itself and to its bar.

One program a query and head, without matrix products, which would fill one row in 64. No key is seen
twice, so the same program writes the gradients of its keys and values.
"""

# ruff: noqa: ANN001, ANN201, N803 (jitted: untyped arguments are tensors, capitals compile-time constants)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .index_lists import DeviceLists
from .launching import NOT_SPECIALIZED, kernel_arguments
from .primitives import is_kept, load_rows, store_rows

_TILE = 64  # keys at a time
_LN_2 = tl.constexpr(0.6931471805599453)  # scores carry log2(e), gradients do not


@triton.jit(do_not_specialize=NOT_SPECIALIZED)
def summary_fwd_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, key_rows_ptr, query_blocks_ptr, bits_ptr,
    stride_q, stride_k, stride_v, num_queries, num_keys, heads, scale, keep_scale, threshold,
    D: tl.constexpr, BD: tl.constexpr, BN: tl.constexpr, DROPOUT: tl.constexpr,
):  # fmt: skip
    """out = softmax(q k^T) v of one query and head."""
    i_block, i_head = tl.program_id(0), tl.program_id(1)
    block_ptr = query_blocks_ptr + i_block * 7
    b_query = tl.load(block_ptr) + tl.arange(0, 1)
    m_query = b_query >= 0
    key_rows_ptr += tl.load(block_ptr + 2)
    num_seen = tl.load(block_ptr + 4)
    # [1, BD]
    b_q = load_rows(q_ptr + i_head * D, b_query, m_query, stride_q, D, BD).to(tl.float32)
    bits_ptr = bits_ptr + i_head * (num_queries + num_keys) if DROPOUT else bits_ptr

    b_out = tl.zeros([1, BD], tl.float32)
    b_max = tl.full([1], float("-inf"), tl.float32)
    b_sum = tl.zeros([1], tl.float32)
    for start in range(0, num_seen, BN):
        o_key = start + tl.arange(0, BN)
        m_key = o_key < num_seen
        b_row = tl.load(key_rows_ptr + o_key, mask=m_key, other=0)
        b_k = load_rows(k_ptr + i_head * D, b_row, m_key, stride_k, D, BD).to(tl.float32)
        b_v = load_rows(v_ptr + i_head * D, b_row, m_key, stride_v, D, BD).to(tl.float32)
        # [BN]
        b_s = tl.where(m_key, tl.sum(b_k * b_q, 1) * scale, float("-inf"))
        b_new_max = tl.maximum(b_max, tl.max(b_s, 0))
        b_shrink = tl.exp2(b_max - b_new_max)
        b_p = tl.exp2(b_s - b_new_max)
        b_sum = b_sum * b_shrink + tl.sum(b_p, 0)
        if DROPOUT:
            b_key_bits = tl.load(bits_ptr + num_queries + b_row)
            b_p = tl.where(is_kept(tl.load(bits_ptr + b_query), b_key_bits, threshold), b_p, 0.0)
        b_out = b_out * b_shrink[:, None] + tl.sum(b_p[:, None] * b_v, 0)[None, :]
        b_max = b_new_max
    if DROPOUT:
        b_out *= keep_scale
    store_rows(out_ptr + i_head * D, b_query, m_query, heads * D, b_out / b_sum[:, None], D, BD)
    tl.store(lse_ptr + i_head * num_queries + b_query, b_max + tl.log2(b_sum))


@triton.jit(do_not_specialize=NOT_SPECIALIZED)
def summary_bwd_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, do_ptr, lse_ptr, dq_ptr, dk_ptr, dv_ptr,
    key_rows_ptr, query_blocks_ptr, bits_ptr,
    stride_q, stride_k, stride_v, num_queries, num_keys, heads, scale, keep_scale, threshold,
    D: tl.constexpr, BD: tl.constexpr, BN: tl.constexpr, DROPOUT: tl.constexpr,
):  # fmt: skip
    """dq of one query and head, dk and dv of the keys it sees."""
    i_block, i_head = tl.program_id(0), tl.program_id(1)
    block_ptr = query_blocks_ptr + i_block * 7
    b_query = tl.load(block_ptr) + tl.arange(0, 1)
    m_query = b_query >= 0
    key_rows_ptr += tl.load(block_ptr + 2)
    num_seen = tl.load(block_ptr + 4)
    # [1, BD]
    b_q = load_rows(q_ptr + i_head * D, b_query, m_query, stride_q, D, BD).to(tl.float32)
    b_do = load_rows(do_ptr + i_head * D, b_query, m_query, heads * D, D, BD).to(tl.float32)
    b_out = load_rows(out_ptr + i_head * D, b_query, m_query, heads * D, D, BD).to(tl.float32)
    # [1]
    b_delta = tl.sum(b_do * b_out, 1)
    b_lse = tl.load(lse_ptr + i_head * num_queries + b_query)
    bits_ptr = bits_ptr + i_head * (num_queries + num_keys) if DROPOUT else bits_ptr

    b_dq = tl.zeros([1, BD], tl.float32)
    for start in range(0, num_seen, BN):
        o_key = start + tl.arange(0, BN)
        m_key = o_key < num_seen
        b_row = tl.load(key_rows_ptr + o_key, mask=m_key, other=0)
        b_k = load_rows(k_ptr + i_head * D, b_row, m_key, stride_k, D, BD).to(tl.float32)
        b_v = load_rows(v_ptr + i_head * D, b_row, m_key, stride_v, D, BD).to(tl.float32)
        # [BN]
        b_p = tl.where(m_key, tl.exp2(tl.sum(b_k * b_q, 1) * scale - b_lse), 0.0)
        b_dp = tl.sum(b_v * b_do, 1)
        b_dropped = b_p
        if DROPOUT:
            b_key_bits = tl.load(bits_ptr + num_queries + b_row)
            b_kept = is_kept(tl.load(bits_ptr + b_query), b_key_bits, threshold)
            b_dropped = tl.where(b_kept, b_p * keep_scale, 0.0)
            b_dp = tl.where(b_kept, b_dp * keep_scale, 0.0)
        b_ds = b_p * (b_dp - b_delta) * (scale * _LN_2)
        b_dq += tl.sum(b_ds[:, None] * b_k, 0)[None, :]
        store_rows(dk_ptr + i_head * D, b_row, m_key, heads * D, b_ds[:, None] * b_q, D, BD)
        store_rows(dv_ptr + i_head * D, b_row, m_key, heads * D, b_dropped[:, None] * b_do, D, BD)
    store_rows(dq_ptr + i_head * D, b_query, m_query, heads * D, b_dq, D, BD)


def summary_fwd(
    q: Tensor, k: Tensor, v: Tensor, lists: DeviceLists, random_bits: Tensor | None, rate: float
) -> tuple[Tensor, Tensor]:
    """out [Q, H, D] and the log-sum-exps [H, Q] of its rows."""
    queries, heads, _ = q.shape
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    lse = torch.empty((heads, queries), dtype=torch.float32, device=q.device)
    if queries:
        summary_fwd_kernel[(queries, heads)](
            q, k, v, out, lse, lists.key_rows, lists.query_blocks, random_bits,
            BN=_TILE, **kernel_arguments(q, k, v, rate),
        )  # fmt: skip
    return out, lse


def summary_bwd(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, grad_out: Tensor,
    lists: DeviceLists, random_bits: Tensor | None, rate: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """dq [Q, H, D], dk and dv [K, H, D], zero where no query looks; ``grad_out`` is contiguous."""
    queries, heads, _ = q.shape
    dq = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    dk, dv = (torch.zeros(rows.shape, dtype=rows.dtype, device=rows.device) for rows in (k, v))
    if queries:
        summary_bwd_kernel[(queries, heads)](
            q, k, v, out, grad_out, lse, dq, dk, dv, lists.key_rows, lists.query_blocks, random_bits,
            BN=_TILE, **kernel_arguments(q, k, v, rate),
        )  # fmt: skip
    return dq, dk, dv
