"""What kernels are launched with: the arguments they share, and the few shapes of tiles they choose from."""

from __future__ import annotations

import math
from typing import Any

import triton
from torch import Tensor

from ..tf32 import takes_tf32
from .primitives import INTERPRETED

# neither a value nor its divisibility makes another kernel: what was compiled for two heads runs for eight
NOT_SPECIALIZED = ["num_queries", "num_keys", "heads", "threshold"]

_FLOAT32_ROWS = 32  # longest tile of float32 in a loop
_MANY_PROGRAMS = 6  # powers of four: 4,096 programs and more are tuned alike


def tile_configs(tile: str) -> list[triton.Config]:
    """The shapes a kernel may take that loops over tiles of ``tile`` rows; one under the interpreter.

    Blocks of 64 rows fill the matrix instruction of one group of four warps. Stages hide the gathering of
    rows, in pairs: the indices of a tile come one stage before its rows. So three have two tiles of rows under
    way, in as much memory as two, which would wait for indices; five have three tiles. Longer tiles hide the
    loop around them, shorter ones leave registers to more programs.
    """
    tiles = [(64, 4, 3), (64, 4, 5), (64, 8, 3), (32, 4, 3)]  # rows, warps, stages
    if tile == "BN":  # one accumulator, where the loop over queries has two
        tiles = [(64, 4, 3), (64, 4, 5), (128, 4, 3), (128, 8, 3)]
    tiles += [(_FLOAT32_ROWS, 8, 2), (_FLOAT32_ROWS // 2, 8, 2)]
    if INTERPRETED:
        tiles = tiles[:1]
    return [triton.Config({tile: rows}, num_warps=warps, num_stages=stages) for rows, warps, stages in tiles]


def fitting_registers(
    configs: list[triton.Config], named_args: dict[str, Any], **constants: Any
) -> list[triton.Config]:
    """Keep the shapes made for the dtype. Products of float32 are unrolled into single multiplications unless they are
    rounded to TF32: with tiles made for matrix instructions they spill thousands of registers and compile for
    minutes."""
    is_unrolled = named_args["k_ptr"].element_size() == 4 and not constants.get("TF32")

    def made_for_float32(config: triton.Config) -> bool:
        return config.num_warps == 8 and max(config.kwargs.values()) <= _FLOAT32_ROWS

    return [config for config in configs if made_for_float32(config) == is_unrolled] or configs


def tuned_for(programs: int, q: Tensor) -> dict[str, Any]:
    """The arguments that choose a shape of tiles beside the width, for so many programs: few run all at once, and then
    the longest decides; many take turns. ``work`` counts in powers of four, so that a training on windows of all
    lengths tunes a few times.
    """
    return {"work": min(programs.bit_length() // 2, _MANY_PROGRAMS), "TF32": takes_tf32(q.dtype)}


def kernel_arguments(q: Tensor, k: Tensor, v: Tensor, rate: float) -> dict[str, Any]:
    """The arguments every kernel takes, by name, for rows of q, k, v and a rate of dropout."""
    queries, heads, width = q.shape
    return {
        "stride_q": q.stride(0),
        "stride_k": k.stride(0),
        "stride_v": v.stride(0),
        "num_queries": queries,
        "num_keys": len(k),
        "heads": heads,
        "scale": width**-0.5 / math.log(2),
        "keep_scale": 1 / (1 - rate),
        "threshold": round(rate * 2**32) - 2**31,
        "D": width,
        "BD": max(16, triton.next_power_of_2(width)),
        "DROPOUT": rate > 0,
    }
