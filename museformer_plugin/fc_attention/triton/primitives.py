"""Small jitted pieces that the kernels share, and the conventions of their arguments.

Names: ``i_`` program index, ``o_`` offsets, ``m_`` mask, ``b_`` a block in registers. Letters: H heads (``heads``, not
known when kernels are compiled), D head width, BD the power of two that holds it, BM queries and BN keys of a tile.
Tensors of rows are [rows, H, D] with a stride a row; values of a query (its log-sum-exp) are float32 [H, Q].
``random_bits`` int32 [H, Q + K] are for dropout, those of the keys behind those of the queries.
Exponents have base 2: ``scale`` is log2(e) / sqrt(D), and log-sum-exps are logarithms to base 2.
"""

# ruff: noqa: ANN001, ANN201, N803 (jitted: untyped arguments are tensors, capitals compile-time constants)

from __future__ import annotations

import os

import triton
import triton.language as tl

# the interpreter multiplies the bit patterns of bfloat16, and truncates where it should round
INTERPRETED = tl.constexpr(os.environ.get("TRITON_INTERPRET") == "1")


@triton.jit
def row_pointers(ptr, b_row, stride, BD: tl.constexpr):
    """Where the elements of these rows lie: [rows, BD]."""
    return ptr + b_row.to(tl.int64)[:, None] * stride + tl.arange(0, BD)[None, :]


@triton.jit
def row_mask(m_row, D: tl.constexpr, BD: tl.constexpr):
    """Which of them are real: [rows, 1] or [rows, BD]."""
    m = m_row[:, None]
    if D < BD:
        m = m & (tl.arange(0, BD) < D)[None, :]
    return m


@triton.jit
def rounded(b_x, dtype: tl.constexpr):
    """float32 to a dtype that may be narrower, to nearest."""
    if INTERPRETED and dtype == tl.bfloat16:
        b_bits = b_x.to(tl.uint32, bitcast=True)
        b_x = (b_bits + 0x7FFF + ((b_bits >> 16) & 1)).to(tl.float32, bitcast=True)
    return b_x.to(dtype)


@triton.jit
def load_rows(ptr, b_row, m_row, stride, D: tl.constexpr, BD: tl.constexpr):
    """Rows of one head, zeros where ``m_row`` is not set: [rows, BD]."""
    return tl.load(row_pointers(ptr, b_row, stride, BD), mask=row_mask(m_row, D, BD), other=0.0)


@triton.jit
def store_rows(ptr, b_row, m_row, stride, b_x, D: tl.constexpr, BD: tl.constexpr):
    """The opposite of ``load_rows``, converting to what ``ptr`` holds."""
    p = row_pointers(ptr, b_row, stride, BD)
    tl.store(p, rounded(b_x, ptr.dtype.element_ty), mask=row_mask(m_row, D, BD))


@triton.jit
def dot(b_x, b_y, TF32: tl.constexpr):
    """A product of tiles accumulated in float32; with TF32 float32 is rounded to that before."""
    if INTERPRETED:
        b_x, b_y = b_x.to(tl.float32), b_y.to(tl.float32)
    return tl.dot(b_x, b_y, input_precision="tf32" if TF32 else "ieee")


@triton.jit
def edge_mask(o_key, all_see, last_sees, edge, left, BM: tl.constexpr, LEFT: tl.constexpr):
    """For offsets into the keys of a query block, [BM, BN]: query m sees the first ``all_see`` + m.

    With LEFT it does not see those from ``edge`` to ``left`` + m, half-open.
    """
    sees = tl.minimum(all_see + tl.arange(0, BM), last_sees)
    m_seen = o_key[None, :] < sees[:, None]
    if LEFT:
        m_seen = m_seen & ((o_key < edge)[None, :] | (o_key[None, :] >= (left + tl.arange(0, BM))[:, None]))
    return m_seen


@triton.jit
def tiles_at_left(left, BM: tl.constexpr, BN: tl.constexpr):
    """How many keys, in whole tiles from the first, some query of the block may not see."""
    return tl.cdiv(tl.maximum(left + BM - 1, 0), BN) * BN


@triton.jit
def is_kept(b_query_bits, b_key_bits, threshold):
    """Which weights dropout keeps, from 32 random bits of each query and of each key.

    The two are xored and mixed until the high bits depend on all bits: nine integer operations a
    weight. A Philox draw for every weight takes some eighty, more than all the rest of the kernel.
    """
    b_x = (b_query_bits ^ b_key_bits).to(tl.uint32, bitcast=True)
    b_x = (b_x ^ (b_x >> 16)) * 0x7FEB352D
    b_x = (b_x ^ (b_x >> 15)) * 0x846CA68B
    return b_x.to(tl.int32, bitcast=True) >= threshold
