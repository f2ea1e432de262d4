"""Stage: the attention kernels compiled ahead, every shape of tiles in a process of its own, side by side.

A process pins each tuned kernel to one shape and runs forward and backward on a small piece, so that what it compiles
lies in the cache under the key of later calls: they know neither the number of heads nor that of rows.
"""

from __future__ import annotations

import os
import subprocess
import sys
import time
from functools import partial
from itertools import product

import torch

from .stage import StageArguments, run_each, stage_arguments
from .without_fairseq import leave_fairseq_out

_SHAPES = 4  # of tiles for 16 bits


def main() -> int:
    """Run all jobs, as many at a time as there are cores; the exit status: 1 where one failed."""
    arguments = stage_arguments("compiling")
    if arguments.names:
        shape, dtype, dropout = arguments.names
        name = f"shape {shape}, {dtype}, dropout {dropout}"
        job = partial(_compile, name, int(shape), getattr(torch, dtype), float(dropout), arguments)
        return run_each(arguments._replace(names=[]), [(name, job)])
    dtypes, shapes = (("bfloat16", "float16"), range(_SHAPES)) if arguments.on_gpu else (("bfloat16",), range(1))
    jobs = [(str(shape), dtype, dropout) for dtype, dropout, shape in product(dtypes, ("0", "0.1"), shapes)]
    return int(any(_run_side_by_side([[sys.executable, *sys.orig_argv[1:], "--only", *job] for job in jobs])))


def _run_side_by_side(commands: list[list[str]]) -> list[int]:
    """Their exit statuses, in the order in which they end."""
    running: list[subprocess.Popen[bytes]] = []
    statuses = []
    while commands or running:
        while commands and len(running) < (os.cpu_count() or 1):
            running.append(subprocess.Popen(commands.pop(0)))
        statuses += [process.returncode for process in running if process.poll() is not None]
        running = [process for process in running if process.returncode is None]
        time.sleep(0.05)
    return statuses


def _compile(name: str, shape: int, dtype: torch.dtype, dropout: float, arguments: StageArguments) -> None:
    leave_fairseq_out()
    from museformer_plugin.fc_attention import fc_attention
    from museformer_plugin.fc_attention.self_check import largest_error

    _pin_tiles(shape)
    operator = partial(fc_attention, dropout=dropout, backend="triton")
    began = time.perf_counter()
    error = largest_error(operator, arguments.device, dtype, *((64,) if arguments.on_gpu else (16, 2, 4)))
    checked = {} if dropout else {"largest_relative_error": error}
    arguments.rows.add(name, s=time.perf_counter() - began, **checked)


def _pin_tiles(shape: int) -> None:
    from triton.runtime.autotuner import Autotuner

    from museformer_plugin.fc_attention.triton import backward, forward

    for kernel in (*vars(forward).values(), *vars(backward).values()):
        if isinstance(kernel, Autotuner):
            prune = kernel.early_config_prune
            kernel.early_config_prune = lambda *given, prune=prune, **named: [prune(*given, **named)[shape]]


if __name__ == "__main__":
    sys.exit(main())
