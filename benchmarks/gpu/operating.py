"""Stage: forward and backward of the attention operator, against PyTorch's own attention and FlexAttention.

    python -m benchmarks.gpu.operating --rows FILE --tokens 15360

Ours comes first, then what it is compared with, each row as soon as it is measured. Where NumPy cannot be imported
there is no layout: then what PyTorch does alone is measured, so that the ceilings are known.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import torch

from benchmarks.candidates import Candidate, Figures, full_attention, measure_candidate
from benchmarks.ceilings import Ceilings, measure_ceilings

from .stage import StageArguments, run_each, stage_arguments
from .without_fairseq import leave_fairseq_out

_DTYPE = torch.bfloat16
_Measured = dict[str, Figures]


def main() -> int:
    """The exit status: 1 where one of ours failed."""
    leave_fairseq_out()
    arguments = stage_arguments("operator")
    tokens = arguments.tokens
    heads, width = (8, 64) if arguments.on_gpu else (1, 16)
    ceilings = measure_ceilings(arguments.device, _DTYPE)
    if not arguments.names:
        arguments.rows.add("ceilings", TFLOP_per_s=ceilings.operations / 1e12, GB_per_s=ceilings.bytes / 1e9)
    measured: _Measured = {}
    try:
        found, floor = _with_layout(tokens, heads, width, ceilings, arguments)
    except ImportError as error:
        arguments.rows.add("ours", tokens=tokens, failed=f"no layout without NumPy: {error}")
        rows = tuple(torch.randn(tokens, heads, width, device=arguments.device, dtype=_DTYPE) for _ in "qkv")
        found, floor = list(full_attention(rows)), {}
    jobs = [(_name(one), partial(_measure, one, tokens, floor, measured, arguments)) for one in found]
    jobs.append(("ratios", partial(_add_ratios, tokens, measured, arguments)))
    others = [name for name, _ in jobs if not name.startswith("ours")]
    return run_each(arguments, jobs, may_fail=others)


def _name(candidate: Candidate) -> str:
    return f"{candidate.name}: {candidate.computes}"


def _with_layout(
    tokens: int, heads: int, width: int, ceilings: Ceilings, arguments: StageArguments
) -> tuple[list[Candidate], dict[str, float]]:
    """The candidates, and the counted floors of forward and of both in milliseconds."""
    from benchmarks.attention_candidates import Inputs, draw_layout, ours, same_mask
    from benchmarks.floor import floor_ms, live_pairs

    layout = draw_layout(tokens, seed=0)
    inputs = Inputs(layout, heads, width, arguments.device, _DTYPE)
    floor = {
        name: floor_ms(layout, heads * width, _DTYPE, ceilings, backward)
        for name, backward in (("forward_floor_ms", False), ("both_floor_ms", True))
    }
    pairs = live_pairs(layout.token_plan)
    arguments.rows.add("pairs that see each other", tokens=tokens, of_all=pairs / (tokens * (tokens + 1) / 2))
    candidates = [*ours(layout, inputs, "triton"), *full_attention(inputs.tokens), *same_mask(layout, inputs)]
    return candidates, floor


def _measure(
    candidate: Candidate, tokens: int, floor: dict[str, float], measured: _Measured, arguments: StageArguments
) -> None:
    figures = measure_candidate(candidate, arguments.device, repeats=5 if arguments.on_gpu else 1)
    measured[_name(candidate)] = figures
    shown: dict[str, Any] = {"tokens": tokens, "forward_ms": figures.forward_ms, "both_ms": figures.both_ms}
    if candidate.computes == "whole operator":
        shown |= floor
    arguments.rows.add(_name(candidate), **shown, first_s=figures.first_s)


def _add_ratios(tokens: int, measured: _Measured, arguments: StageArguments) -> None:
    """How many times as fast ours is, forward and backward, as the best of the others."""
    for ours in ("whole operator", "token step"):
        mine = measured.get(f"ours, triton: {ours}")
        ratios = {}
        for name, belongs in _GROUPS.items():
            others = [figures.both_ms for other, figures in measured.items() if belongs(other)]
            if mine and others:
                ratios[f"times_as_fast_as_{name}"] = min(others) / mine.both_ms
        if ratios:
            arguments.rows.add(f"ours: {ours}", tokens=tokens, **ratios)


_GROUPS: dict[str, Callable[[str], bool]] = {
    "full_attention": lambda name: name.startswith("SDPA") and "dense" not in name,
    "FlexAttention": lambda name: name.startswith("FlexAttention"),
}


if __name__ == "__main__":
    sys.exit(main())
