"""FC-attention as an operator against full attention and against the same mask by other means.

    python -m benchmarks.attention --device cuda --dtype bfloat16 --lengths 1024,15360 --json attention.json

One piece of each length, its bars drawn with a mean of 158 tokens and a coefficient of variation of
0.5, 8 heads of width 64. On a CPU all candidates of a length run in turn, again and again, and medians are
compared, so that ratios come from one run; on a GPU each runs by itself, several calls in a row in one timed window.
"whole operator" is the summary step, the keys and values of
summaries and the token step; the "token step" alone has the same mask as dense and FlexAttention.
The floor beside the times is counted: operations and bytes of the pairs that attend to each other, over
the rates of a large matrix product and a large copy measured on the same device in the same run.
"""

from __future__ import annotations

import argparse
import json
import platform
import statistics
import sys
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import torch

from benchmarks.attention_candidates import (
    LONGEST_PLAIN,
    TOKEN_STEP,
    WHOLE,
    Inputs,
    draw_layout,
    ours,
    same_mask,
)
from benchmarks.candidates import (
    CAUSAL,
    Candidate,
    forward_and_backward,
    forward_only,
    full_attention,
    measure_candidate,
    warm_up,
    why_not,
)
from benchmarks.ceilings import measure_ceilings, seconds
from benchmarks.floor import floor_ms, live_pairs
from museformer_plugin.fc_attention import BarLayout
from museformer_plugin.fc_attention.backends import choose_backend

HEADS, HEAD_WIDTH = 8, 64


@dataclass
class Row:
    """Medians in milliseconds, or why there are none."""

    tokens: int
    computes: str
    name: str
    forward_ms: float | None = None
    both_ms: float | None = None
    note: str = ""


def candidates(layout: BarLayout, device: torch.device, dtype: torch.dtype) -> Iterator[Candidate]:
    """What can run on this device."""
    inputs = Inputs(layout, HEADS, HEAD_WIDTH, device, dtype)
    yield from full_attention(inputs.tokens)
    others = same_mask(layout, inputs)
    on_gpu = device.type == "cuda"
    yield from (other for other in others if on_gpu or not other.name.startswith("FlexAttention"))
    if not on_gpu or layout.num_tokens <= LONGEST_PLAIN:
        yield from ours(layout, inputs, "cpu")
    if choose_backend(device, dtype, HEAD_WIDTH).name == "triton":
        yield from ours(layout, inputs, "triton")


def measure(layout: BarLayout, device: torch.device, dtype: torch.dtype, repeats: int) -> list[Row]:
    """Every candidate at one length."""
    found = list(candidates(layout, device, dtype))
    rows = [Row(layout.num_tokens, candidate.computes, candidate.name) for candidate in found]
    if device.type == "cuda":
        for row, candidate in zip(rows, found):
            try:
                _, row.forward_ms, row.both_ms = measure_candidate(candidate, device, repeats)
            except Exception as error:  # of compilers, drivers and kernels that are not there
                row.note = why_not(error)
    else:
        _measure_in_turn(found, rows, device, repeats)
    order = [CAUSAL, TOKEN_STEP, WHOLE]
    return sorted(rows, key=lambda row: order.index(row.computes))


def _measure_in_turn(found: list[Candidate], rows: list[Row], device: torch.device, repeats: int) -> None:
    calls = [candidate.make() for candidate in found]
    for call in calls:
        warm_up(call, device)
    forward: list[list[float]] = [[] for _ in calls]
    both: list[list[float]] = [[] for _ in calls]
    for _ in range(repeats):
        for number, call in enumerate(calls):
            forward[number].append(seconds(partial(forward_only, call), device))
            both[number].append(seconds(partial(forward_and_backward, call), device))
    for row, *times in zip(rows, forward, both):
        row.forward_ms, row.both_ms = (1e3 * statistics.median(values) for values in times)


def print_table(rows: list[Row], floors: dict[int, tuple[float, float]]) -> None:
    """Times with the counted floors, and how many times faster forward and backward are than the
    fastest full attention and the fastest FlexAttention of that length."""
    head = f"{'tokens':>6} {'computes':22} {'by':22} {'fwd ms':>9} {'floor':>8} {'f+b ms':>9} {'floor':>8}"
    head += f" {'vs full':>8} {'vs flex':>8}"
    print(head, "-" * len(head), sep="\n")
    for row in rows:
        line = f"{row.tokens:6} {row.computes:22} {row.name:22}"
        if row.both_ms is None:
            print(line, row.note)
            continue
        times = (row.forward_ms, row.both_ms)
        for time_ms, floor in zip(times, floors[row.tokens]):
            line += f" {time_ms:9.3f}" + (f" {floor:8.3f}" if row.computes == WHOLE else " " * 9)
        measured = [other for other in rows if other.tokens == row.tokens and other.both_ms is not None]
        full = [other.both_ms for other in measured if other.computes == CAUSAL]
        flex = [other.both_ms for other in measured if other.name.startswith("FlexAttention")]
        for others in (full, flex):
            line += f" {min(others) / row.both_ms:7.2f}x" if others else " " * 9
        print(line.rstrip())


def main() -> int:
    """Print the table and write the JSON."""
    parser = argparse.ArgumentParser(description="Time the attention operator against its alternatives.")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    parser.add_argument("--lengths", default="1024,2048,5120,10240,15360,20480,36864", help="tokens, comma-separated")
    parser.add_argument("--dtype", choices=["float32", "float16", "bfloat16"], help="default: bfloat16 on CUDA")
    parser.add_argument("--repeats", type=int, default=11, help="runs of each candidate; medians count")
    parser.add_argument("--seed", type=int, default=0, help="of the bars")
    parser.add_argument("--json", type=Path, help="write all numbers here")
    args = parser.parse_args()
    device = torch.device(args.device)
    dtype = getattr(torch, args.dtype or ("bfloat16" if device.type == "cuda" else "float32"))
    name = torch.cuda.get_device_name(device) if device.type == "cuda" else platform.processor() or platform.machine()
    ceilings = measure_ceilings(device, dtype)
    print(f"{name}, {str(dtype).removeprefix('torch.')}, torch {torch.__version__}, {torch.get_num_threads()} threads")
    print(f"ceilings: {ceilings.operations / 1e12:.2f} TFLOP/s, {ceilings.bytes / 1e9:.0f} GB/s")
    rows, floors, shares = [], {}, {}
    for length in map(int, args.lengths.split(",")):
        layout = draw_layout(length, args.seed)
        floors[length] = tuple(
            floor_ms(layout, HEADS * HEAD_WIDTH, dtype, ceilings, backward) for backward in (False, True)
        )
        shares[length] = live_pairs(layout.token_plan) / (length * (length + 1) / 2)
        rows += measure(layout, device, dtype, args.repeats)
    print_table(rows, floors)
    print("pairs that see each other, of all causal pairs:", ", ".join(f"{n}: {s:.1%}" for n, s in shares.items()))
    if args.json:
        report = {"device": name, "dtype": str(dtype), "torch": torch.__version__, "ceilings": asdict(ceilings)}
        report |= {"floors_ms": floors, "live_share": shares, "rows": [asdict(row) for row in rows]}
        args.json.write_text(json.dumps(report, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
