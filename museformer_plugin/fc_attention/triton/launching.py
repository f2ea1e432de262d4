"""What kernels are launched with: the arguments they share, and the few shapes of tiles they choose from."""

from __future__ import annotations

import math
from typing import Any

import triton
from torch import Tensor

from .primitives import INTERPRETED

_FLOAT32_ROWS = 32  # longest tile of float32 in a loop


def tile_configs(tile: str) -> list[triton.Config]:
    """The shapes a kernel may take that loops over tiles of ``tile`` rows; one under the interpreter.

    Blocks of 64 rows fill the matrix instruction of one group of four warps. More stages hide the
    gathering of rows, longer tiles the loop around them, shorter ones leave registers to more programs.
    """
    tiles = [(64, 4, 3), (64, 4, 2), (64, 8, 2), (32, 4, 3)]  # rows, warps, stages
    if tile == "BN":  # one accumulator, where the loop over queries has two
        tiles = [(64, 4, 3), (64, 4, 4), (128, 4, 2), (128, 8, 2)]
    tiles += [(_FLOAT32_ROWS, 8, 2), (_FLOAT32_ROWS // 2, 8, 2)]
    if INTERPRETED:
        tiles = tiles[:1]
    return [triton.Config({tile: rows}, num_warps=warps, num_stages=stages) for rows, warps, stages in tiles]


def fitting_registers(
    configs: list[triton.Config], named_args: dict[str, Any], **constants: Any
) -> list[triton.Config]:
    """Keep the shapes made for the dtype. Products of float32 are unrolled into single multiplications:
    with tiles made for matrix instructions they spill thousands of registers and compile for minutes."""
    is_float32 = named_args["k_ptr"].element_size() == 4

    def made_for_float32(config: triton.Config) -> bool:
        return config.num_warps == 8 and max(config.kwargs.values()) <= _FLOAT32_ROWS

    return [config for config in configs if made_for_float32(config) == is_float32] or configs


def kernel_arguments(q: Tensor, k: Tensor, v: Tensor, rate: float) -> dict[str, Any]:
    """The arguments every kernel takes, by name, for rows of q, k, v and a rate of dropout."""
    queries, heads, width = q.shape
    return {
        "stride_q": q.stride(0),
        "stride_k": k.stride(0),
        "stride_v": v.stride(0),
        "num_queries": queries,
        "num_keys": len(k),
        "scale": width**-0.5 / math.log(2),
        "keep_scale": 1 / (1 - rate),
        "threshold": round(rate * 2**32) - 2**31,
        "H": heads,
        "D": width,
        "BD": max(16, triton.next_power_of_2(width)),
        "DROPOUT": rate > 0,
    }
