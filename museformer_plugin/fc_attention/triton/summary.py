"""Segments of one query each, as in the summary step: a summary attends to itself and to its bar.

Keys of summaries and of tokens lie in two tensors, and gradients are added to those that the tokens have
already, so that nothing is laid together or summed around these kernels. One program a query and head,
without matrix products, which would fill one row in 64. No key is seen twice, so the same program writes
the gradients of its keys and values.
"""

# ruff: noqa: ANN001, ANN201, N803 (jitted: untyped arguments are tensors, capitals compile-time constants)

from __future__ import annotations

from typing import Any, NamedTuple

import torch
import triton
import triton.language as tl
from torch import Tensor

from .index_lists import DeviceLists
from .launching import NOT_SPECIALIZED, kernel_arguments
from .primitives import is_kept, load_rows, store_rows

_TILE = 64  # keys at a time
_NOT_SPECIALIZED = [*NOT_SPECIALIZED, "num_first"]
_LN_2 = tl.constexpr(0.6931471805599453)  # scores carry log2(e), gradients do not


@triton.jit
def load_keys(
    first_ptr, ptr, b_row, m_row, stride_first, stride, num_first,
    D: tl.constexpr, BD: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    """Rows of keys or values as float32, of which with SPLIT the first ``num_first`` lie elsewhere.

    Each row comes by one of two loads: chosen pointers would be loaded from number by number.
    """
    if SPLIT:
        m_first = m_row & (b_row < num_first)
        b_x = load_rows(ptr, b_row - num_first, m_row & (b_row >= num_first), stride, D, BD).to(tl.float32)
        return b_x + load_rows(first_ptr, b_row, m_first, stride_first, D, BD).to(tl.float32)
    return load_rows(ptr, b_row, m_row, stride, D, BD).to(tl.float32)


@triton.jit
def store_keys(
    first_ptr, ptr, b_row, m_row, stride, num_first, b_x, D: tl.constexpr, BD: tl.constexpr, SPLIT: tl.constexpr
):  # fmt: skip
    """Gradients of keys or values; with SPLIT those behind the first rows are added to what is there."""
    if SPLIT:
        store_rows(first_ptr, b_row, m_row & (b_row < num_first), stride, b_x, D, BD)
        m_row = m_row & (b_row >= num_first)
        b_row -= num_first
        b_x += load_rows(ptr, b_row, m_row, stride, D, BD).to(tl.float32)
    store_rows(ptr, b_row, m_row, stride, b_x, D, BD)


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def summary_fwd_kernel(
    q_ptr, k_ptr, v_ptr, first_k_ptr, first_v_ptr, out_ptr, lse_ptr, key_rows_ptr, query_blocks_ptr, bits_ptr,
    stride_q, stride_k, stride_v, stride_first_k, stride_first_v, num_queries, num_keys, num_first, heads,
    scale, keep_scale, threshold,
    D: tl.constexpr, BD: tl.constexpr, BN: tl.constexpr, DROPOUT: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    """out = softmax(q k^T) v of one query and head."""
    i_block, i_head = tl.program_id(0), tl.program_id(1)
    block_ptr = query_blocks_ptr + i_block * 7
    b_query = tl.load(block_ptr) + tl.arange(0, 1)
    m_query = b_query >= 0
    key_rows_ptr += tl.load(block_ptr + 2)
    num_seen = tl.load(block_ptr + 4)
    k_ptr += i_head * D
    v_ptr += i_head * D
    first_k_ptr += i_head * D
    first_v_ptr += i_head * D
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
        b_k = load_keys(first_k_ptr, k_ptr, b_row, m_key, stride_first_k, stride_k, num_first, D, BD, SPLIT)
        b_v = load_keys(first_v_ptr, v_ptr, b_row, m_key, stride_first_v, stride_v, num_first, D, BD, SPLIT)
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


@triton.jit(do_not_specialize=_NOT_SPECIALIZED)
def summary_bwd_kernel(
    q_ptr, k_ptr, v_ptr, first_k_ptr, first_v_ptr, out_ptr, do_ptr, lse_ptr, dq_ptr,
    dk_ptr, dv_ptr, first_dk_ptr, first_dv_ptr,
    key_rows_ptr, query_blocks_ptr, bits_ptr,
    stride_q, stride_k, stride_v, stride_first_k, stride_first_v, num_queries, num_keys, num_first, heads,
    scale, keep_scale, threshold,
    D: tl.constexpr, BD: tl.constexpr, BN: tl.constexpr, DROPOUT: tl.constexpr, SPLIT: tl.constexpr,
):  # fmt: skip
    """dq of one query and head, dk and dv of the keys it sees."""
    i_block, i_head = tl.program_id(0), tl.program_id(1)
    block_ptr = query_blocks_ptr + i_block * 7
    b_query = tl.load(block_ptr) + tl.arange(0, 1)
    m_query = b_query >= 0
    key_rows_ptr += tl.load(block_ptr + 2)
    num_seen = tl.load(block_ptr + 4)
    k_ptr += i_head * D
    v_ptr += i_head * D
    first_k_ptr += i_head * D
    first_v_ptr += i_head * D
    dk_ptr += i_head * D
    dv_ptr += i_head * D
    first_dk_ptr += i_head * D
    first_dv_ptr += i_head * D
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
        b_k = load_keys(first_k_ptr, k_ptr, b_row, m_key, stride_first_k, stride_k, num_first, D, BD, SPLIT)
        b_v = load_keys(first_v_ptr, v_ptr, b_row, m_key, stride_first_v, stride_v, num_first, D, BD, SPLIT)
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
        b_dk, b_dv = b_ds[:, None] * b_q, b_dropped[:, None] * b_do
        store_keys(first_dk_ptr, dk_ptr, b_row, m_key, heads * D, num_first, b_dk, D, BD, SPLIT)
        store_keys(first_dv_ptr, dv_ptr, b_row, m_key, heads * D, num_first, b_dv, D, BD, SPLIT)
    store_rows(dq_ptr + i_head * D, b_query, m_query, heads * D, b_dq, D, BD)


class Keys(NamedTuple):
    """Keys and values, or their gradients: the rows of ``first_k`` and ``first_v``, if there are any, come before the
    others, [rows, H, D] each."""

    k: Tensor
    v: Tensor
    first_k: Tensor
    first_v: Tensor

    @staticmethod
    def whole(k: Tensor, v: Tensor) -> Keys:
        """In one tensor each."""
        return Keys(k, v, k[:0], v[:0])


def _arguments(q: Tensor, keys: Keys, rate: float) -> dict[str, Any]:
    """What both kernels take, by name."""
    num_first = len(keys.first_k)
    return kernel_arguments(q, keys.k, keys.v, rate) | {
        "stride_first_k": keys.first_k.stride(0),
        "stride_first_v": keys.first_v.stride(0),
        "num_keys": num_first + len(keys.k),
        "num_first": num_first,
        "SPLIT": num_first > 0,
    }


def summary_fwd(
    q: Tensor, keys: Keys, lists: DeviceLists, random_bits: Tensor | None, rate: float
) -> tuple[Tensor, Tensor]:
    """out [Q, H, D] and the log-sum-exps [H, Q] of its rows."""
    queries, heads, _ = q.shape
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    lse = torch.empty((heads, queries), dtype=torch.float32, device=q.device)
    if queries:
        summary_fwd_kernel[(queries, heads)](
            q, *keys, out, lse, lists.key_rows, lists.query_blocks, random_bits,
            BN=_TILE, **_arguments(q, keys, rate),
        )  # fmt: skip
    return out, lse


def summary_bwd(
    q: Tensor, keys: Keys, out: Tensor, lse: Tensor, grad_out: Tensor,
    lists: DeviceLists, random_bits: Tensor | None, rate: float, gradients: Keys,
) -> Tensor:  # fmt: skip
    """dq [Q, H, D]; ``grad_out`` is contiguous.

    Writes dk and dv into ``gradients``, which lie as the keys do, where some query looks. Where there are first rows,
    it adds to those of the others.
    """
    queries, heads, _ = q.shape
    dq = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    if queries:
        summary_bwd_kernel[(queries, heads)](
            q, *keys, out, grad_out, lse, dq, *gradients, lists.key_rows, lists.query_blocks, random_bits,
            BN=_TILE, **_arguments(q, keys, rate),
        )  # fmt: skip
    return dq
