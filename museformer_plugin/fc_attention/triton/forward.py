"""Attention of blocks of queries over their packed keys, forward: one softmax over all ranges."""

# ruff: noqa: ANN001, ANN201, N803 (jitted: untyped arguments are tensors, capitals compile-time constants)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .index_lists import QUERY_BLOCK, DeviceLists
from .launching import NOT_SPECIALIZED, fitting_registers, kernel_arguments, tile_configs, tuned_for
from .primitives import dot, edge_mask, is_kept, load_rows, rounded, store_rows, tiles_at_left


@triton.jit
def fwd_tile(
    b_out, b_max, b_sum, b_q, b_query_bits, start, all_see, last_sees, edge, left,
    k_ptr, v_ptr, key_rows_ptr, key_bits_ptr, stride_k, stride_v, scale, threshold,
    D: tl.constexpr, BD: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    DROPOUT: tl.constexpr, TF32: tl.constexpr, MASKED: tl.constexpr, LEFT: tl.constexpr,
):  # fmt: skip
    """Online softmax over one more tile of keys; without MASKED all are seen, with LEFT the left edge moves there."""
    o_key = start + tl.arange(0, BN)
    m_key = o_key < last_sees if MASKED else tl.full([BN], True, tl.int1)
    b_row = tl.load(key_rows_ptr + o_key, mask=m_key, other=0)
    b_k = load_rows(k_ptr, b_row, m_key, stride_k, D, BD)
    # [BM, BN]
    b_s = dot(b_q, tl.trans(b_k), TF32) * scale
    if MASKED:
        b_s = tl.where(edge_mask(o_key, all_see, last_sees, edge, left, BM, LEFT), b_s, float("-inf"))
    b_new_max = tl.maximum(b_max, tl.max(b_s, 1))
    b_shift = b_new_max
    if LEFT:  # queries that have seen no key yet
        b_shift = tl.where(b_new_max == float("-inf"), 0.0, b_new_max)
    b_shrink = tl.exp2(b_max - b_shift)
    b_p = tl.exp2(b_s - b_shift[:, None])
    b_sum = b_sum * b_shrink + tl.sum(b_p, 1)
    if DROPOUT:
        b_key_bits = tl.load(key_bits_ptr + b_row)
        b_p = tl.where(is_kept(b_query_bits[:, None], b_key_bits[None, :], threshold), b_p, 0.0)
    b_v = load_rows(v_ptr, b_row, m_key, stride_v, D, BD)
    # [BM, BD]
    b_out = b_out * b_shrink[:, None] + dot(rounded(b_p, b_v.dtype), b_v, TF32)
    return b_out, b_new_max, b_sum


@triton.autotune(
    tile_configs("BN"),
    key=["work", "D", "DROPOUT", "WINDOWED", "TF32"],
    prune_configs_by={"early_config_prune": fitting_registers},
)
@triton.jit(do_not_specialize=[*NOT_SPECIALIZED, "work"])
def ragged_fwd_kernel(
    q_ptr, k_ptr, v_ptr, out_ptr, lse_ptr, key_rows_ptr, query_blocks_ptr, bits_ptr,
    stride_q, stride_k, stride_v, num_queries, num_keys, heads, scale, keep_scale, threshold, work,
    D: tl.constexpr, BD: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    DROPOUT: tl.constexpr, WINDOWED: tl.constexpr, TF32: tl.constexpr,
):  # fmt: skip
    """out = softmax(q k^T) v of one block of queries and one head."""
    i_block, i_head = tl.program_id(0), tl.program_id(1)
    block_ptr = query_blocks_ptr + i_block * 7
    first, end = tl.load(block_ptr), tl.load(block_ptr + 1)
    key_rows_ptr += tl.load(block_ptr + 2)
    all_see, last_sees = tl.load(block_ptr + 3), tl.load(block_ptr + 4)
    edge, left = tl.load(block_ptr + 5), tl.load(block_ptr + 6)
    k_ptr += i_head * D
    v_ptr += i_head * D

    b_row = first + tl.arange(0, BM)
    m_row = b_row < end
    b_q = load_rows(q_ptr + i_head * D, b_row, m_row, stride_q, D, BD)
    b_query_bits, key_bits_ptr = 0, bits_ptr
    if DROPOUT:
        bits_ptr += i_head * (num_queries + num_keys)
        b_query_bits = tl.load(bits_ptr + b_row, mask=m_row, other=0)
        key_bits_ptr = bits_ptr + num_queries

    b_out = tl.zeros([BM, BD], tl.float32)
    b_max = tl.full([BM], float("-inf"), tl.float32)
    b_sum = tl.zeros([BM], tl.float32)
    even = all_see // BN * BN  # what every query sees, in whole tiles
    begin = 0
    if WINDOWED:
        begin = tiles_at_left(left, BM, BN)
        even = tl.maximum(begin, even)
        for start in range(0, begin, BN):
            b_out, b_max, b_sum = fwd_tile(
                b_out, b_max, b_sum, b_q, b_query_bits, start, all_see, last_sees, edge, left,
                k_ptr, v_ptr, key_rows_ptr, key_bits_ptr, stride_k, stride_v, scale, threshold,
                D, BD, BM, BN, DROPOUT, TF32, True, True,
            )  # fmt: skip
    for start in range(begin, even, BN):
        b_out, b_max, b_sum = fwd_tile(
            b_out, b_max, b_sum, b_q, b_query_bits, start, all_see, last_sees, edge, left,
            k_ptr, v_ptr, key_rows_ptr, key_bits_ptr, stride_k, stride_v, scale, threshold,
            D, BD, BM, BN, DROPOUT, TF32, False, False,
        )  # fmt: skip
    for start in range(even, last_sees, BN):
        b_out, b_max, b_sum = fwd_tile(
            b_out, b_max, b_sum, b_q, b_query_bits, start, all_see, last_sees, edge, left,
            k_ptr, v_ptr, key_rows_ptr, key_bits_ptr, stride_k, stride_v, scale, threshold,
            D, BD, BM, BN, DROPOUT, TF32, True, False,
        )  # fmt: skip
    if DROPOUT:
        b_out *= keep_scale
    store_rows(out_ptr + i_head * D, b_row, m_row, heads * D, b_out / b_sum[:, None], D, BD)
    tl.store(lse_ptr + i_head * num_queries + b_row, b_max + tl.log2(b_sum), mask=m_row)


def ragged_fwd(
    q: Tensor, k: Tensor, v: Tensor, lists: DeviceLists, random_bits: Tensor | None, rate: float
) -> tuple[Tensor, Tensor]:
    """out [Q, H, D] and the log-sum-exps [H, Q] of its rows."""
    queries, heads, _ = q.shape
    out = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    lse = torch.empty((heads, queries), dtype=torch.float32, device=q.device)
    ragged_fwd_kernel[(len(lists.query_blocks), heads)](
        q, k, v, out, lse, lists.key_rows, lists.query_blocks, random_bits,
        BM=QUERY_BLOCK, WINDOWED=lists.windowed, **kernel_arguments(q, k, v, rate),
        **tuned_for(len(lists.query_blocks) * heads, q),
    )  # fmt: skip
    return out, lse
