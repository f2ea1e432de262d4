"""Small jitted pieces that the kernels share, and the conventions of their arguments.

Names: ``i_`` program index, ``o_`` offsets, ``m_`` mask, ``b_`` a block in registers. Letters: H heads,
D head width, BD the power of two that holds it, BM queries and BN keys of a tile. Tensors of rows are
[rows, H, D] with a stride a row; numbers of a query (its log-sum-exp) are float32 [H, Q]. ``words``
int32 [H, Q + K] are the random words of dropout, those of the keys behind those of the queries.
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
    """Where the numbers of these rows lie: [rows, BD]."""
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
def dot(b_x, b_y):
    """A product of tiles accumulated in float32; float32 is not rounded to TF32."""
    if INTERPRETED:
        b_x, b_y = b_x.to(tl.float32), b_y.to(tl.float32)
    return tl.dot(b_x, b_y, input_precision="ieee")


@triton.jit
def causal_mask(o_key, all_see, last_sees, BM: tl.constexpr):
    """For places in the keys of a query block, [BM, BN]: query m sees the first ``all_see`` + m."""
    sees = tl.minimum(all_see + tl.arange(0, BM), last_sees)
    return o_key[None, :] < sees[:, None]


@triton.jit
def is_kept(b_query_word, b_key_word, threshold):
    """Which weights dropout keeps, from one random word of each query and one of each key.

    The two are xored and mixed until the high bits depend on all bits: nine integer operations a
    weight. A Philox draw for every weight takes some eighty, more than all the rest of the kernel.
    """
    b_x = (b_query_word ^ b_key_word).to(tl.uint32, bitcast=True)
    b_x = (b_x ^ (b_x >> 16)) * 0x7FEB352D
    b_x = (b_x ^ (b_x >> 15)) * 0x846CA68B
    return b_x.to(tl.int32, bitcast=True) >= threshold
