"""Stage: the kernels against the definition in float64, at the model's own shape: 8 heads of 64.

Bfloat16 comes first, since models are trained in it. ``backend="triton"`` always: no other code can pose as a kernel.
"""

from __future__ import annotations

import sys
from functools import partial

import torch

from .stage import StageArguments, run_each, stage_arguments
from .without_fairseq import leave_fairseq_out

_DTYPES = (torch.bfloat16, torch.float16, torch.float32)


def main() -> int:
    """The exit status: 1 where a kernel failed or is wrong."""
    leave_fairseq_out()
    arguments = stage_arguments("checking")
    checks = [(str(dtype).removeprefix("torch."), partial(_check, dtype, arguments)) for dtype in _DTYPES]
    checks.append(("the same twice, bit by bit", partial(_check_twice, arguments)))
    return run_each(arguments, checks)


def _check(dtype: torch.dtype, arguments: StageArguments) -> None:
    from museformer_plugin.fc_attention import fc_attention
    from museformer_plugin.fc_attention.self_check import largest_error, tolerance

    heads, width, bars = (8, 64, 40) if arguments.on_gpu else (2, 16, 4)
    allowed = tolerance(dtype)
    error = largest_error(partial(fc_attention, backend="triton"), arguments.device, dtype, width, heads, bars)
    name = str(dtype).removeprefix("torch.")
    arguments.rows.add(name, heads=heads, head_width=width, largest_relative_error=error, allowed=allowed)
    if not error < allowed:
        raise ValueError(f"the kernels compute wrong values: relative error {error:.1e}")


def _check_twice(arguments: StageArguments) -> None:
    """At a realistic length, with dropout: no race, and every row is written."""
    from benchmarks.attention_candidates import Inputs, draw_layout
    from museformer_plugin.fc_attention import fc_attention

    tokens, heads, width = (15360, 8, 64) if arguments.on_gpu else (100, 1, 16)
    layout = draw_layout(tokens, seed=1)
    inputs = Inputs(layout, heads, width, arguments.device, torch.bfloat16)
    leaves = (*inputs.tokens, *inputs.summaries, inputs.weight)
    found = []
    for _ in range(2):
        torch.manual_seed(1)
        x, _ = fc_attention(inputs.tokens, inputs.summaries, inputs.weight, layout, 0.1, backend="triton")
        found.append([x, *torch.autograd.grad(x, leaves, x.detach())])
    same = all(torch.equal(*pair) for pair in zip(*found))
    finite = all(bool(part.isfinite().all()) for part in found[0])
    arguments.rows.add("the same twice, bit by bit", tokens=tokens, same=str(same), finite=str(finite))
    if not (same and finite):
        raise ValueError("results differ between two runs, or are not finite")


if __name__ == "__main__":
    sys.exit(main())
