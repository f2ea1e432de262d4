"""FC-attention as an operator against full attention and against the same mask by other means.

    python -m benchmarks.attention --device cuda --dtype bfloat16 --lengths 1024,15360 --json attention.json

One piece of each length, its bars drawn with a mean of 158 tokens and a coefficient of variation of
0.5, 8 heads of width 64. All candidates of a length run in turn, again and again, and medians are
compared, so that ratios come from one run. "whole operator" is the summary step, the keys and values of
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
from collections.abc import Callable
from dataclasses import asdict, dataclass
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel

from benchmarks.floor import Ceilings, live_pairs, measure_ceilings, seconds
from museformer_plugin.fc_attention import BarLayout, PieceBars, attention, fc_attention
from museformer_plugin.fc_attention.backends import choose_backend
from museformer_plugin.fc_attention.reference import dense_masks

STRUCTURE_BARS = (1, 2, 4, 8, 12, 16, 24, 32)
HEADS, HEAD_WIDTH = 8, 64
MEAN_BAR_TOKENS, BAR_VARIATION = 158, 0.5
MOST_MASK_CELLS = 1 << 30  # of a dense mask
FLEX_BLOCKS = (128, 64)

CAUSAL, TOKEN_STEP, WHOLE = "causal over everything", "token step", "whole operator"


@dataclass(frozen=True)
class Candidate:
    """``run`` gives the output; gradients are taken for ``leaves``."""

    name: str
    computes: str
    run: Callable[[], Tensor]
    leaves: tuple[Tensor, ...]


@dataclass
class Row:
    """Medians in milliseconds, or why there are none."""

    tokens: int
    computes: str
    name: str
    forward_ms: float | None = None
    both_ms: float | None = None
    note: str = ""


def draw_layout(num_tokens: int, seed: int) -> BarLayout:
    """One piece of ``num_tokens`` with the prefix; its last bar is cut and incomplete."""
    shape = BAR_VARIATION**-2
    generator = np.random.default_rng(seed)
    lengths = generator.gamma(shape, MEAN_BAR_TOKENS / shape, num_tokens // 10 + 10).astype(int).clip(1)
    starts = 1 + np.concatenate([[0], np.cumsum(lengths)])
    starts = starts[starts < num_tokens]
    return BarLayout.build([PieceBars(num_tokens, starts, len(starts) - 1)], STRUCTURE_BARS)


def floor_ms(layout: BarLayout, dtype: torch.dtype, ceilings: Ceilings, backward: bool) -> float:
    """The least time for the whole operator: two products a pair forward and five backward; every row of
    q, k, v and the output moved once forward, and with the gradients eight times more backward."""
    pairs = live_pairs(layout.token_plan) + live_pairs(layout.summary_plan)
    width, rows = HEADS * HEAD_WIDTH, layout.num_tokens + layout.num_summaries
    summary_products = 2 * layout.num_summaries * width * 2 * width
    operations = 2 * (7 if backward else 2) * pairs * width + (3 if backward else 1) * summary_products
    moved = (12 if backward else 4) * rows * width * dtype.itemsize
    return 1e3 * ceilings.floor_seconds(operations, moved)


def flex_block_mask(layout: BarLayout, block: int, device: torch.device) -> object:
    """FlexAttention's mask of the token step, its blocks counted from the ranges of the plan."""
    from torch.nn.attention.flex_attention import BlockMask

    plan, num_summaries = layout.token_plan, layout.num_summaries
    shape = (-(-layout.num_tokens // block), -(-plan.num_keys // block))
    count = np.zeros(shape, dtype=np.int64)
    for number, (first, end) in enumerate(plan.query_ranges.tolist()):
        for start, stop in plan.key_ranges[plan.first_key_range[number] : plan.first_key_range[number + 1]].tolist():
            columns = np.arange(start // block, -(-stop // block))
            edges = np.stack([np.maximum(columns * block, start), np.minimum((columns + 1) * block, stop)])
            for row in range(first // block, -(-end // block)):
                queries = np.arange(max(row * block, first), min((row + 1) * block, end))
                last = np.minimum(edges[1], queries[:, None] + num_summaries + 1)
                count[row, columns] += np.maximum(last - edges[0], 0).sum(axis=0)
    full = count == block * block
    indices = [torch.from_numpy(np.argsort(~kind, axis=1, kind="stable")) for kind in ((count > 0) & ~full, full)]
    numbers = [torch.from_numpy(kind.sum(axis=1)) for kind in ((count > 0) & ~full, full)]
    kv_num, kv, full_num, full_kv = (
        part[None, None].to(device, torch.int32) for pair in zip(numbers, indices) for part in pair
    )

    bar = torch.from_numpy(layout.bar_ids).to(device)
    key_bar = torch.from_numpy(np.concatenate([layout.summary_bar_ids, layout.bar_ids])).to(device)
    is_structure = torch.zeros(int(bar.max()) + 1, dtype=torch.bool, device=device)
    is_structure[[distance for distance in layout.structure_bars if distance < len(is_structure)]] = True

    def sees(_batch: Tensor, _head: Tensor, query: Tensor, key: Tensor) -> Tensor:
        distance = bar[query] - key_bar[key]
        in_structure = is_structure[distance.clamp(min=0)] & (distance > 0)
        fine = (key <= query + num_summaries) & ((distance == 0) | in_structure | (key_bar[key] == 0))
        return torch.where(key < num_summaries, (distance > 0) & ~in_structure, fine)

    return BlockMask.from_kv_blocks(
        kv_num, kv, full_num, full_kv, BLOCK_SIZE=block, mask_mod=sees, seq_lengths=(layout.num_tokens, plan.num_keys)
    )


def flex_attention_for(layout: BarLayout, block: int, q: Tensor, k: Tensor, v: Tensor) -> Callable[[], Tensor]:
    """Compiled FlexAttention over q, k, v [1, H, rows, Dh]."""
    from torch.nn.attention.flex_attention import flex_attention

    mask = flex_block_mask(layout, block, q.device)
    tiles = ("BLOCK_M", "BLOCK_N", "BLOCK_M1", "BLOCK_N1", "BLOCK_M2", "BLOCK_N2")
    options = {} if block >= 128 else dict.fromkeys(tiles, block)
    compiled = torch.compile(flex_attention, dynamic=False)
    return partial(compiled, q, k, v, block_mask=mask, kernel_options=options)


def candidates(layout: BarLayout, device: torch.device, dtype: torch.dtype) -> tuple[list[Candidate], list[Row]]:
    """What can run, and rows that say what cannot and why."""
    generator = torch.Generator(device).manual_seed(0)

    def leaf(*shape: int, scale: float = 1.0) -> Tensor:
        return torch.randn(*shape, generator=generator, device=device, dtype=dtype).mul_(scale).requires_grad_()

    def heads_first(rows: Tensor) -> Tensor:
        return rows.detach().transpose(0, 1)[None].contiguous().requires_grad_()

    tokens, summaries, width = layout.num_tokens, layout.num_summaries, HEADS * HEAD_WIDTH
    token_qkv = tuple(leaf(tokens, HEADS, HEAD_WIDTH) for _ in "qkv")
    summary_qkv = tuple(leaf(summaries, HEADS, HEAD_WIDTH) for _ in "qkv")
    weight = leaf(2 * width, width, scale=width**-0.5)
    step = (token_qkv[0], *(leaf(layout.token_plan.num_keys, HEADS, HEAD_WIDTH) for _ in "kv"))
    causal = tuple(map(heads_first, token_qkv))
    step_heads_first = tuple(map(heads_first, step))

    found, missing = [], []
    over_everything = partial(F.scaled_dot_product_attention, *causal, is_causal=True)
    if device.type == "cuda":
        for backend in (SDPBackend.FLASH_ATTENTION, SDPBackend.CUDNN_ATTENTION):
            found.append(
                Candidate(f"SDPA {backend.name.lower()}", CAUSAL, _with_sdpa(backend, over_everything), causal)
            )
    else:
        found.append(Candidate("SDPA", CAUSAL, over_everything, causal))

    cells = tokens * layout.token_plan.num_keys
    if cells <= MOST_MASK_CELLS:
        mask = dense_masks(layout)[0].to(device)
        run = partial(F.scaled_dot_product_attention, *step_heads_first, attn_mask=mask)
        found.append(Candidate("SDPA dense mask", TOKEN_STEP, run, step_heads_first))
    else:
        missing.append(Row(tokens, TOKEN_STEP, "SDPA dense mask", note=f"a mask of {cells:.1e} cells"))

    for block in FLEX_BLOCKS:
        name = f"FlexAttention {block}"
        if device.type == "cuda":
            run = flex_attention_for(layout, block, *step_heads_first)
            found.append(Candidate(name, TOKEN_STEP, run, step_heads_first))
        else:
            missing.append(Row(tokens, TOKEN_STEP, name, note="compared on CUDA only"))

    names = ["cpu"]
    if choose_backend(device, dtype, HEAD_WIDTH).name == "triton":
        names.append("triton")
    for name in names:
        run = partial(attention, *step, layout.token_plan, backend=name)
        found.append(Candidate(f"ours, {name}", TOKEN_STEP, run, step))
        operator = partial(fc_attention, token_qkv, summary_qkv, weight, layout, backend=name)
        found.append(
            Candidate(f"ours, {name}", WHOLE, lambda run=operator: run()[0], (*token_qkv, *summary_qkv, weight))
        )
    return found, missing


def _with_sdpa(backend: SDPBackend, run: Callable[[], Tensor]) -> Callable[[], Tensor]:
    def run_with() -> Tensor:
        with sdpa_kernel(backend):
            return run()

    return run_with


def forward_only(candidate: Candidate) -> None:
    """One forward pass that keeps nothing."""
    with torch.no_grad():
        candidate.run()


def forward_and_backward(candidate: Candidate) -> None:
    """One forward pass and the gradients of all leaves."""
    out = candidate.run()
    torch.autograd.grad(out, candidate.leaves, out.detach())


def measure(layout: BarLayout, device: torch.device, dtype: torch.dtype, repeats: int) -> list[Row]:
    """Every candidate at one length, in turn."""
    found, rows = candidates(layout, device, dtype)
    running: list[tuple[Candidate, tuple[list[float], list[float]]]] = []
    for candidate in found:
        try:  # compiles, tunes and warms up
            for _ in range(3 if device.type == "cuda" else 1):
                forward_only(candidate)
                forward_and_backward(candidate)
            running.append((candidate, ([], [])))
        except (RuntimeError, torch.cuda.OutOfMemoryError) as error:
            reason = str(error).strip().splitlines() or [type(error).__name__]
            rows.append(Row(layout.num_tokens, candidate.computes, candidate.name, note=reason[0][:60]))
    for _ in range(repeats):
        for candidate, (forward, both) in running:
            forward.append(seconds(partial(forward_only, candidate), device))
            both.append(seconds(partial(forward_and_backward, candidate), device))
    for candidate, times in running:
        forward_ms, both_ms = (1e3 * statistics.median(values) for values in times)
        rows.append(Row(layout.num_tokens, candidate.computes, candidate.name, forward_ms, both_ms))
    order = [CAUSAL, TOKEN_STEP, WHOLE]
    return sorted(rows, key=lambda row: order.index(row.computes))


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
        floors[length] = tuple(floor_ms(layout, dtype, ceilings, backward) for backward in (False, True))
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
