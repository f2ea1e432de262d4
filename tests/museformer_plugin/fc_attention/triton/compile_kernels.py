"""Compile kernels for GPUs that need not be there; prints what came out as lines of JSON.

    python compile_kernels.py --capability 90 --dtype bfloat16 --width 64 --dropout --shapes first
    python compile_kernels.py                     # every capability, dtype and shape of tiles, with and without dropout

A program of its own: a process that interprets kernels cannot compile them.
"""

import argparse
import json
import sys
import time
from itertools import product

import torch
import triton
from triton.backends.compiler import GPUTarget
from triton.compiler import ASTSource
from triton.runtime.autotuner import Autotuner

from museformer_plugin.fc_attention.triton import backward, forward, summary

FLOAT32_POINTERS = ("lse_ptr", "partial_dk_ptr", "partial_dv_ptr")
INT32_POINTERS = ("key_rows_ptr", "query_blocks_ptr", "key_order_ptr", "query_rows_ptr", "key_blocks_ptr")
INT32_POINTERS += ("partial_blocks_ptr", "bits_ptr", "records_ptr")
DTYPES = {"bfloat16": "*bf16", "float16": "*fp16", "float32": "*fp32", "tf32": "*fp32"}
CAPABILITIES = (80, 90, 100)
SHARED_MEMORY = {80: 163 * 1024, 90: 227 * 1024, 100: 227 * 1024}  # bytes that a block may have
# the matrix instructions that a dtype should come to
MATRIX = {80: "mma.sync", 90: "wgmma", 100: "tcgen05.mma"}


def type_of(name, dtype):
    """What the launchers pass as the argument of this name."""
    if name in FLOAT32_POINTERS:
        return "*fp32"
    if name in INT32_POINTERS:
        return "*i32"
    if name == "masks_ptr":
        return "*i64"
    if name.endswith("_ptr"):
        return DTYPES[dtype]
    return "fp32" if name in ("scale", "keep_scale") else "i32"


def configs_of(kernel, dtype):
    """The shapes of tiles that it would be tuned over."""
    if not isinstance(kernel, Autotuner):
        return [triton.Config({})]
    rows = torch.empty(0, dtype=torch.float32 if dtype in ("float32", "tf32") else getattr(torch, dtype))
    return kernel.early_config_prune(kernel.configs, {"k_ptr": rows}, TF32=dtype == "tf32")


def compiled(kernel, config, capability, dtype, width, dropout, windowed):
    function = kernel.fn if isinstance(kernel, Autotuner) else kernel
    constants = {
        "D": width,
        "BD": triton.next_power_of_2(width),
        "DROPOUT": dropout,
        "WINDOWED": windowed,
        "SPLIT": True,
    }
    constants |= {"TF32": dtype == "tf32", "BM": 64, "BN": 64} | config.kwargs
    if not dropout:
        constants["bits_ptr"] = None
    constants = {name: constants[name] for name in function.arg_names if name in constants}
    signature = {name: "constexpr" if name in constants else type_of(name, dtype) for name in function.arg_names}
    aligned = [
        (place,)
        for place, name in enumerate(function.arg_names)
        if name not in constants and (name.startswith("stride") or name.endswith("_ptr"))
    ]
    source = ASTSource(function, signature, constants, {place: [["tt.divisibility", 16]] for place in aligned})
    options = {"num_warps": config.num_warps, "num_stages": config.num_stages}
    return triton.compile(source, target=GPUTarget("cuda", capability, 32), options=options)


def kernels():
    """Every kernel by name."""
    found = {}
    for module in (forward, backward, summary):
        for name, kernel in vars(module).items():
            if "_kernel" in name and name.endswith(("_kernel", "_dq", "_dkdv", "_add")):
                found[name] = kernel
    return found


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--capability", type=int, nargs="+", choices=CAPABILITIES, default=CAPABILITIES)
    parser.add_argument("--dtype", nargs="+", choices=DTYPES, default=list(DTYPES))
    parser.add_argument("--width", type=int, default=64)
    parser.add_argument("--dropout", action="store_const", const=[True], default=[False, True], help="that alone")
    parser.add_argument("--no-dropout", dest="dropout", action="store_const", const=[False], help="that alone")
    parser.add_argument("--windowed", action="store_true")
    parser.add_argument("--shapes", choices=("first", "all"), default="all")
    args = parser.parse_args()
    failed = False
    for capability, dtype, dropout in product(args.capability, args.dtype, args.dropout):
        for name, kernel in kernels().items():
            for config in configs_of(kernel, dtype)[: 1 if args.shapes == "first" else None]:
                case = {"kernel": name, "capability": capability, "dtype": dtype, "dropout": dropout}
                case |= {**config.kwargs, "warps": config.num_warps, "stages": config.num_stages}
                began = time.perf_counter()
                try:
                    binary = compiled(kernel, config, capability, dtype, args.width, dropout, args.windowed)
                except Exception as error:  # what compilers raise
                    print(json.dumps({**case, "error": f"{type(error).__name__}: {error}"[:300]}), flush=True)
                    failed = True
                    continue
                case["matrix"] = MATRIX[capability] in binary.asm["ptx"]
                case["shared"], case["fits"] = (
                    binary.metadata.shared,
                    binary.metadata.shared <= SHARED_MEMORY[capability],
                )
                print(json.dumps({**case, "seconds": round(time.perf_counter() - began, 2)}), flush=True)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
