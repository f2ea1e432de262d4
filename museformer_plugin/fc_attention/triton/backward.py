"""The gradients of attention over packed keys: one loop over keys for dq, one over queries for dk, dv.

Every result is summed by one program in a fixed order, or by a few whose partial sums are added in
order: no atomic additions, so gradients repeat bit by bit.
"""

# ruff: noqa: ANN001, ANN201, N803 (jitted: untyped arguments are tensors, capitals compile-time constants)

from __future__ import annotations

import torch
import triton
import triton.language as tl
from torch import Tensor

from .index_lists import QUERY_BLOCK, DeviceLists
from .launching import NOT_SPECIALIZED, fitting_registers, kernel_arguments, tile_configs, tuned_for
from .primitives import dot, edge_mask, is_kept, load_rows, rounded, store_rows, tiles_at_left
from .segments import KEY_BLOCK

_LN_2 = tl.constexpr(0.6931471805599453)  # scores carry log2(e), gradients do not


@triton.jit
def store_records(ptr, b_query, m_query, b_lse, b_delta, b_bits):
    """What the loop over queries needs of each: int32 [Q, 4], log-sum-exp, random bits, delta, nothing.

    delta = sum(do * out).
    """
    p = ptr + b_query * 4
    tl.store(p, b_lse.to(tl.int32, bitcast=True), mask=m_query)
    tl.store(p + 1, b_bits, mask=m_query)
    tl.store(p + 2, b_delta.to(tl.int32, bitcast=True), mask=m_query)


@triton.jit
def load_records(ptr, b_query, m_query, BM: tl.constexpr):
    """(log-sum-exp, delta, random bits), all zero where ``m_query`` is not set; one load of 16 bytes.

    Loaded one by one, in the layout of columns of scores, every thread would gather a quarter of all
    queries' numbers for itself.
    """
    p = ptr + b_query[:, None] * 4 + tl.arange(0, 4)[None, :]
    b_record = tl.load(p, mask=m_query[:, None], other=0)
    b_first, b_second = tl.split(b_record.reshape(BM, 2, 2))  # numbers 0 and 2, 1 and 3
    b_lse, b_delta = tl.split(b_first)
    b_bits, _ = tl.split(b_second)
    return b_lse.to(tl.float32, bitcast=True), b_delta.to(tl.float32, bitcast=True), b_bits


@triton.jit
def bwd_tile_dq(
    b_dq, b_q, b_do, b_lse, b_delta, b_query_bits, start, all_see, last_sees, edge, left,
    k_ptr, v_ptr, key_rows_ptr, key_bits_ptr, stride_k, stride_v, scale, keep_scale, threshold,
    D: tl.constexpr, BD: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    DROPOUT: tl.constexpr, TF32: tl.constexpr, MASKED: tl.constexpr, LEFT: tl.constexpr,
):  # fmt: skip
    """Add what one tile of keys gives to dq (without the scale of the scores)."""
    o_key = start + tl.arange(0, BN)
    m_key = o_key < last_sees if MASKED else tl.full([BN], True, tl.int1)
    b_row = tl.load(key_rows_ptr + o_key, mask=m_key, other=0)
    b_k = load_rows(k_ptr, b_row, m_key, stride_k, D, BD)
    b_v = load_rows(v_ptr, b_row, m_key, stride_v, D, BD)
    # [BM, BN]
    b_p = tl.exp2(dot(b_q, tl.trans(b_k), TF32) * scale - b_lse[:, None])
    if MASKED:
        b_p = tl.where(edge_mask(o_key, all_see, last_sees, edge, left, BM, LEFT), b_p, 0.0)
    b_dp = dot(b_do, tl.trans(b_v), TF32)
    if DROPOUT:
        b_key_bits = tl.load(key_bits_ptr + b_row)
        b_kept = is_kept(b_query_bits[:, None], b_key_bits[None, :], threshold)
        b_dp = tl.where(b_kept, b_dp * keep_scale, 0.0)
    b_ds = b_p * (b_dp - b_delta[:, None])
    return b_dq + dot(rounded(b_ds, b_k.dtype), b_k, TF32)


@triton.autotune(
    tile_configs("BN"),
    key=["work", "D", "DROPOUT", "WINDOWED", "TF32"],
    prune_configs_by={"early_config_prune": fitting_registers},
)
@triton.jit(do_not_specialize=[*NOT_SPECIALIZED, "work"])
def ragged_bwd_kernel_dq(
    q_ptr, k_ptr, v_ptr, out_ptr, do_ptr, lse_ptr, records_ptr, dq_ptr,
    key_rows_ptr, query_blocks_ptr, bits_ptr,
    stride_q, stride_k, stride_v, num_queries, num_keys, heads, scale, keep_scale, threshold, work,
    D: tl.constexpr, BD: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    DROPOUT: tl.constexpr, WINDOWED: tl.constexpr, TF32: tl.constexpr,
):  # fmt: skip
    """dq of one block of queries and one head; on the way the records that the other kernel reads."""
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
    b_do = load_rows(do_ptr + i_head * D, b_row, m_row, heads * D, D, BD)
    b_out = load_rows(out_ptr + i_head * D, b_row, m_row, heads * D, D, BD)
    b_delta = tl.sum(b_do.to(tl.float32) * b_out.to(tl.float32), 1)
    b_lse = tl.load(lse_ptr + i_head * num_queries + b_row, mask=m_row, other=0.0)
    b_query_bits, key_bits_ptr = b_row, bits_ptr  # without dropout any number will do
    if DROPOUT:
        bits_ptr += i_head * (num_queries + num_keys)
        b_query_bits = tl.load(bits_ptr + b_row, mask=m_row, other=0)
        key_bits_ptr = bits_ptr + num_queries
    store_records(records_ptr + i_head * num_queries * 4, b_row, m_row, b_lse, b_delta, b_query_bits)

    b_dq = tl.zeros([BM, BD], tl.float32)
    even = all_see // BN * BN  # what every query sees, in whole tiles
    begin = 0
    if WINDOWED:
        begin = tiles_at_left(left, BM, BN)
        even = tl.maximum(begin, even)
        for start in range(0, begin, BN):
            b_dq = bwd_tile_dq(
                b_dq, b_q, b_do, b_lse, b_delta, b_query_bits, start, all_see, last_sees, edge, left,
                k_ptr, v_ptr, key_rows_ptr, key_bits_ptr, stride_k, stride_v, scale, keep_scale, threshold,
                D, BD, BM, BN, DROPOUT, TF32, True, True,
            )  # fmt: skip
    for start in range(begin, even, BN):
        b_dq = bwd_tile_dq(
            b_dq, b_q, b_do, b_lse, b_delta, b_query_bits, start, all_see, last_sees, edge, left,
            k_ptr, v_ptr, key_rows_ptr, key_bits_ptr, stride_k, stride_v, scale, keep_scale, threshold,
            D, BD, BM, BN, DROPOUT, TF32, False, False,
        )  # fmt: skip
    for start in range(even, last_sees, BN):
        b_dq = bwd_tile_dq(
            b_dq, b_q, b_do, b_lse, b_delta, b_query_bits, start, all_see, last_sees, edge, left,
            k_ptr, v_ptr, key_rows_ptr, key_bits_ptr, stride_k, stride_v, scale, keep_scale, threshold,
            D, BD, BM, BN, DROPOUT, TF32, True, False,
        )  # fmt: skip
    store_rows(dq_ptr + i_head * D, b_row, m_row, heads * D, b_dq * (scale * _LN_2), D, BD)


@triton.jit
def bwd_tile_dkdv(
    b_dk, b_dv, b_k, b_v, b_key_bits, start, num_seeing, num_masked,
    q_ptr, do_ptr, records_ptr, query_rows_ptr, masks_ptr, stride_q, heads, scale, keep_scale, threshold,
    D: tl.constexpr, BD: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    DROPOUT: tl.constexpr, TF32: tl.constexpr, MASKED: tl.constexpr,
):  # fmt: skip
    """Add what one tile of queries gives to dk and dv (without the scales). Tiles lie transposed."""
    o_query = start + tl.arange(0, BM)
    m_query = o_query < num_seeing
    b_row = tl.load(query_rows_ptr + o_query, mask=m_query, other=0)
    b_q = load_rows(q_ptr, b_row, m_query, stride_q, D, BD)
    b_do = load_rows(do_ptr, b_row, m_query, heads * D, D, BD)
    b_lse, b_delta, b_query_bits = load_records(records_ptr, b_row, m_query, BM)
    # [BN, BM]; queries past the end are zeros and add nothing
    b_p = tl.exp2(dot(b_k, tl.trans(b_q), TF32) * scale - b_lse[None, :])
    if MASKED:
        b_mask = tl.load(masks_ptr + o_query, mask=o_query < num_masked, other=-1)
        b_seen = (b_mask[None, :] >> tl.arange(0, BN).to(tl.int64)[:, None]) & 1
        b_p = tl.where(b_seen != 0, b_p, 0.0)
    b_dp = dot(b_v, tl.trans(b_do), TF32)
    b_dropped = b_p
    if DROPOUT:
        b_kept = is_kept(b_query_bits[None, :], b_key_bits[:, None], threshold)
        b_dropped = tl.where(b_kept, b_p, 0.0)
        b_dp = tl.where(b_kept, b_dp * keep_scale, 0.0)
    b_ds = b_p * (b_dp - b_delta[None, :])
    # [BN, BD]
    return b_dk + dot(rounded(b_ds, b_q.dtype), b_q, TF32), b_dv + dot(rounded(b_dropped, b_do.dtype), b_do, TF32)


@triton.autotune(
    tile_configs("BM"),
    key=["work", "D", "DROPOUT", "TF32"],
    prune_configs_by={"early_config_prune": fitting_registers},
)
@triton.jit(do_not_specialize=[*NOT_SPECIALIZED, "work"])
def ragged_bwd_kernel_dkdv(
    q_ptr, k_ptr, v_ptr, do_ptr, records_ptr, dk_ptr, dv_ptr, partial_dk_ptr, partial_dv_ptr,
    key_order_ptr, query_rows_ptr, key_blocks_ptr, masks_ptr, bits_ptr,
    stride_q, stride_k, stride_v, num_queries, num_keys, heads, scale, keep_scale, threshold, work,
    D: tl.constexpr, BD: tl.constexpr, BM: tl.constexpr, BN: tl.constexpr,
    DROPOUT: tl.constexpr, TF32: tl.constexpr,
):  # fmt: skip
    """dk and dv of one block of keys and one head, or the part of them that some of its queries give."""
    i_block, i_head = tl.program_id(0), tl.program_id(1)
    block_ptr = key_blocks_ptr + i_block * 7
    key_order_ptr += tl.load(block_ptr)
    block_size = tl.load(block_ptr + 1)
    query_rows_ptr += tl.load(block_ptr + 2)
    num_seeing, num_masked = tl.load(block_ptr + 3), tl.load(block_ptr + 4)
    masks_ptr += tl.load(block_ptr + 5)
    i_partial = tl.load(block_ptr + 6)
    q_ptr += i_head * D
    do_ptr += i_head * D
    records_ptr += i_head * num_queries * 4

    o_key = tl.arange(0, BN)
    m_key = o_key < block_size
    b_row = tl.load(key_order_ptr + o_key, mask=m_key, other=0)
    b_k = load_rows(k_ptr + i_head * D, b_row, m_key, stride_k, D, BD)
    b_v = load_rows(v_ptr + i_head * D, b_row, m_key, stride_v, D, BD)
    b_key_bits = 0
    if DROPOUT:
        b_key_bits = tl.load(bits_ptr + i_head * (num_queries + num_keys) + num_queries + b_row)

    b_dk = tl.zeros([BN, BD], tl.float32)
    b_dv = tl.zeros([BN, BD], tl.float32)
    even = tl.cdiv(num_masked, BM) * BM
    for start in range(0, even, BM):
        b_dk, b_dv = bwd_tile_dkdv(
            b_dk, b_dv, b_k, b_v, b_key_bits, start, num_seeing, num_masked,
            q_ptr, do_ptr, records_ptr, query_rows_ptr, masks_ptr,
            stride_q, heads, scale, keep_scale, threshold, D, BD, BM, BN, DROPOUT, TF32, True,
        )  # fmt: skip
    for start in range(even, num_seeing, BM):
        b_dk, b_dv = bwd_tile_dkdv(
            b_dk, b_dv, b_k, b_v, b_key_bits, start, num_seeing, num_masked,
            q_ptr, do_ptr, records_ptr, query_rows_ptr, masks_ptr,
            stride_q, heads, scale, keep_scale, threshold, D, BD, BM, BN, DROPOUT, TF32, False,
        )  # fmt: skip
    b_dk *= scale * _LN_2
    if DROPOUT:
        b_dv *= keep_scale
    if i_partial < 0:
        store_rows(dk_ptr + i_head * D, b_row, m_key, heads * D, b_dk, D, BD)
        store_rows(dv_ptr + i_head * D, b_row, m_key, heads * D, b_dv, D, BD)
    else:
        b_row = i_partial * BN + o_key
        store_rows(partial_dk_ptr + i_head * D, b_row, m_key, heads * D, b_dk, D, BD)
        store_rows(partial_dv_ptr + i_head * D, b_row, m_key, heads * D, b_dv, D, BD)


@triton.jit(do_not_specialize=["heads"])
def ragged_bwd_kernel_add(
    dk_ptr, dv_ptr, partial_dk_ptr, partial_dv_ptr, key_order_ptr, partial_blocks_ptr, heads,
    D: tl.constexpr, BD: tl.constexpr, BN: tl.constexpr,
):  # fmt: skip
    """dk and dv of one block of keys that was split, and one head: its partial sums added in order."""
    i_block, i_head = tl.program_id(0), tl.program_id(1)
    block_ptr = partial_blocks_ptr + i_block * 4
    key_order_ptr += tl.load(block_ptr)
    block_size = tl.load(block_ptr + 1)
    first, num = tl.load(block_ptr + 2), tl.load(block_ptr + 3)
    o_key = tl.arange(0, BN)
    m_key = o_key < block_size
    b_row = tl.load(key_order_ptr + o_key, mask=m_key, other=0)
    b_dk = tl.zeros([BN, BD], tl.float32)
    b_dv = tl.zeros([BN, BD], tl.float32)
    for i_partial in range(first, first + num):
        b_partial_row = i_partial * BN + o_key
        b_dk += load_rows(partial_dk_ptr + i_head * D, b_partial_row, m_key, heads * D, D, BD)
        b_dv += load_rows(partial_dv_ptr + i_head * D, b_partial_row, m_key, heads * D, D, BD)
    store_rows(dk_ptr + i_head * D, b_row, m_key, heads * D, b_dk, D, BD)
    store_rows(dv_ptr + i_head * D, b_row, m_key, heads * D, b_dv, D, BD)


def ragged_bwd(
    q: Tensor, k: Tensor, v: Tensor, out: Tensor, lse: Tensor, grad_out: Tensor,
    lists: DeviceLists, random_bits: Tensor | None, rate: float,
) -> tuple[Tensor, Tensor, Tensor]:  # fmt: skip
    """dq [Q, H, D], dk and dv [K, H, D]; ``grad_out`` is contiguous."""
    arguments = kernel_arguments(q, k, v, rate)
    heads, width = q.shape[1:]
    dq = torch.empty(q.shape, dtype=q.dtype, device=q.device)
    dk, dv = (torch.empty(rows.shape, dtype=rows.dtype, device=rows.device) for rows in (k, v))
    partial_dk, partial_dv = torch.empty(
        (2, lists.num_partials * KEY_BLOCK, heads, width), dtype=torch.float32, device=q.device
    )
    records = torch.empty((*lse.shape, 4), dtype=torch.int32, device=lse.device)
    ragged_bwd_kernel_dq[(len(lists.query_blocks), heads)](
        q, k, v, out, grad_out, lse, records, dq, lists.key_rows, lists.query_blocks, random_bits,
        BM=QUERY_BLOCK, WINDOWED=lists.windowed, **arguments, **tuned_for(len(lists.query_blocks) * heads, q),
    )  # fmt: skip
    ragged_bwd_kernel_dkdv[(len(lists.key_blocks), heads)](
        q, k, v, grad_out, records, dk, dv, partial_dk, partial_dv,
        lists.key_order, lists.query_rows, lists.key_blocks, lists.masks, random_bits,
        BN=KEY_BLOCK, **arguments, **tuned_for(len(lists.key_blocks) * heads, q),
    )  # fmt: skip
    if len(lists.partial_blocks):
        ragged_bwd_kernel_add[(len(lists.partial_blocks), heads)](
            dk, dv, partial_dk, partial_dv, lists.key_order, lists.partial_blocks, heads,
            D=width, BD=arguments["BD"], BN=KEY_BLOCK,
        )  # fmt: skip
    return dq, dk, dv
