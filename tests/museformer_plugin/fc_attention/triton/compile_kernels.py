"""Compile every kernel for a Hopper GPU, which need not be there; prints what came out as JSON.

    python compile_kernels.py float32|bfloat16 HEAD_WIDTH DROPOUT WINDOWED

A program of its own: a process that interprets kernels cannot compile them.
"""

import json
import sys

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.autotuner import Autotuner

from museformer_plugin.fc_attention.triton import backward, forward, summary

HOPPER = GPUTarget("cuda", 90, 32)
FLOAT32_POINTERS = ("lse_ptr", "partial_dk_ptr", "partial_dv_ptr")
INT32_POINTERS = ("key_rows_ptr", "query_blocks_ptr", "key_order_ptr", "query_rows_ptr", "key_blocks_ptr")
INT32_POINTERS += ("partial_blocks_ptr", "bits_ptr", "records_ptr")


def type_of(name, dtype):
    """What the launchers pass as the argument of this name."""
    if name in FLOAT32_POINTERS:
        return "*fp32"
    if name in INT32_POINTERS:
        return "*i32"
    if name == "masks_ptr":
        return "*i64"
    if name.endswith("_ptr"):
        return {torch.float32: "*fp32", torch.bfloat16: "*bf16"}[dtype]
    return "fp32" if name in ("scale", "keep_scale") else "i32"


def configs_of(kernel, dtype):
    if not isinstance(kernel, Autotuner):
        return [triton.Config({})]
    return kernel.early_config_prune(kernel.configs, {"k_ptr": torch.empty(0, dtype=dtype)})


def compiled(kernel, dtype, width, dropout, windowed):
    config = configs_of(kernel, dtype)[0]
    function = kernel.fn if isinstance(kernel, Autotuner) else kernel
    constants = {"H": 8, "D": width, "BD": triton.next_power_of_2(width), "DROPOUT": dropout, "WINDOWED": windowed}
    constants |= {"BM": 64, "BN": 64} | config.kwargs
    if not dropout:
        constants["bits_ptr"] = None
    constants = {name: constants[name] for name in function.arg_names if name in constants}
    signature = {name: "constexpr" if name in constants else type_of(name, dtype) for name in function.arg_names}
    aligned = [
        place for place, name in enumerate(function.arg_names) if name.startswith("stride") or name[:2] in ("q_", "k_")
    ]
    source = ASTSource(function, signature, constants, {(place,): [["tt.divisibility", 16]] for place in aligned})
    options = {"num_warps": config.num_warps, "num_stages": config.num_stages}
    return function.__name__, triton.compile(source, target=HOPPER, options=options)


def main():
    dtype, width = getattr(torch, sys.argv[1]), int(sys.argv[2])
    dropout, windowed = (argument == "True" for argument in sys.argv[3:])
    found = {}
    for module in (forward, backward, summary):
        for name, kernel in vars(module).items():
            if name.endswith(("_kernel", "_dq", "_dkdv", "_add")) and "_kernel" in name:
                name, binary = compiled(kernel, dtype, width, dropout, windowed)
                found[name] = {"matrix": "wgmma" in binary.asm["ptx"], "shared": binary.metadata.shared}
    print(json.dumps(found))


if __name__ == "__main__":
    main()
