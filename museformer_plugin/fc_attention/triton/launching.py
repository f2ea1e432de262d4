"""What kernels are launched with: the arguments they share, and the few shapes of tiles they choose from."""

from __future__ import annotations

import math
from typing import Any

import torch
import triton
from torch import Tensor

from .primitives import INTERPRETED

# (rows of a walked tile, warps, stages). Blocks of 64 rows fill the 64-row matrix instruction of one
# group of four warps; more stages hide the gathering of rows, longer tiles the loop around them.
_WALKS = [(64, 4, 3), (64, 4, 2), (128, 4, 2), (128, 8, 3), (32, 4, 4)]
_LEAST_SHARED_MEMORY = 99 * 1024  # bytes a block may have on every device since compute capability 8.6


def walk_configs(tile: str) -> list[triton.Config]:
    """Configurations for a kernel whose walked tile has ``tile`` rows; one under the interpreter."""
    walks = _WALKS[:1] if INTERPRETED else _WALKS
    return [triton.Config({tile: rows}, num_warps=warps, num_stages=stages) for rows, warps, stages in walks]


def fits_shared_memory(
    configs: list[triton.Config], named_args: dict[str, Any], **constants: Any
) -> list[triton.Config]:
    """Drop what cannot be launched: two tensors of walked rows a stage, and the two that stay, must fit
    into the shared memory of a block. Wide float32 heads leave only short tiles."""
    keys = named_args["k_ptr"]
    limit = _LEAST_SHARED_MEMORY
    if keys.is_cuda:
        properties = torch.cuda.get_device_properties(keys.device)
        limit = getattr(properties, "shared_memory_per_block_optin", limit)
    row_bytes = 2 * constants["BD"] * keys.element_size()

    def size(config: triton.Config) -> int:
        rows = config.kwargs.get("BN", 0) or config.kwargs["BM"]
        return row_bytes * (rows * config.num_stages + 64)

    return [config for config in configs if size(config) <= limit] or [min(configs, key=size)]


def kernel_arguments(q: Tensor, k: Tensor, v: Tensor, rate: float) -> dict[str, Any]:
    """The numbers every kernel takes, by name, for rows of q, k, v and a rate of dropout."""
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
