"""What an H200 should take: launches, bytes and tiles counted here, over its data sheet.

    python -m benchmarks.expected                     # pieces drawn as in the other benchmarks
    python -m benchmarks.expected --data-bin data-bin # pieces cut from those that fairseq-preprocess wrote

Every row is counted from a layout and from the operations that PyTorch and the kernels would launch (``launches``). A
launch takes the longest of LAUNCH, its bytes over the memory's rate, and its products over the matrix units' rate.
Kernels of attention are given a share of that rate, the same for ours and for others, so that ratios follow from tiles
alone.
"""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import numpy as np
import torch
import torch.nn.functional as F
from fairseq.data import Dictionary, data_utils
from torch import Tensor

from benchmarks.floor import live_pairs
from benchmarks.launches import STAND_IN, Counted, Operation, counting
from benchmarks.pieces import random_piece, six_track_dictionary
from benchmarks.tiles import fill, walked_by_aligned_blocks, walked_by_queries, whole_blocks
from museformer_plugin.fc_attention import BarCache, BarLayout, fc_attention
from museformer_plugin.fc_attention.backends import prepare_for_kernels
from museformer_plugin.fc_attention.triton.index_lists import lists_on
from museformer_plugin.models.museformer import MuseformerConfig, MuseformerDecoder

BYTES_A_SECOND, OPERATIONS_A_SECOND = 4.8e12, 990e12  # NVIDIA's data sheet: HBM3e, dense bfloat16
LAUNCH = 4e-6  # seconds from one kernel to the next
GRAPH_NODE = 1.5e-6  # the same where a CUDA graph holds them
OF_ATTENTION = 0.4  # share of the products' rate that fused attention reaches, forward and backward together
HEADS, HEAD_WIDTH = 8, 64
BYTES_A_WEIGHT = 28  # of an optimizer step: gradient, weight in two precisions, two moments


@dataclass
class Row:
    """One line of the table. ``moved``: bytes of PyTorch's operations; ``products``: operations of all products."""

    what: str
    launches: int
    transfers: int
    moved: float
    products: float
    seconds: float
    note: str = ""

    def line(self) -> str:
        """As Markdown."""
        counted = f"{self.launches} | {self.transfers} | {self.moved / 1e6:,.0f} | {self.products / 1e12:.2f}"
        return f"| {self.what} | {counted} | {1e3 * self.seconds:.2f} | {self.note} |"


def seconds(operation: Operation) -> float:
    """Of one launch of PyTorch's."""
    return max(LAUNCH, operation.moved / BYTES_A_SECOND, operation.operations / OPERATIONS_A_SECOND)


def attention_seconds(cells: float) -> float:
    """Of seven products over so many cells of tiles: two forward, five backward."""
    return 14 * cells * HEADS * HEAD_WIDTH / (OF_ATTENTION * OPERATIONS_A_SECOND)


def total(what: str, counted: Counted, cells: float, layers: int, note: str = "") -> Row:
    """All that was counted, with attention over ``cells`` of tiles in each layer."""
    plain = sum(map(seconds, counted.plain)) + LAUNCH * counted.kernels.total()
    products = sum(one.operations for one in counted.plain) + layers * 14 * cells * HEADS * HEAD_WIDTH
    moved = sum(one.moved for one in counted.plain)
    return Row(
        what, counted.launches, counted.transfers, moved, products, plain + layers * attention_seconds(cells), note
    )


def count_operator(layout: BarLayout) -> Counted:
    """Forward and backward in bfloat16, lists at hand."""

    def leaf(*shape: int) -> Tensor:
        return torch.empty(*shape, dtype=torch.bfloat16, device=STAND_IN, requires_grad=True)

    width = HEADS * HEAD_WIDTH
    tokens, summaries = (
        tuple(leaf(rows, HEADS, HEAD_WIDTH) for _ in "qkv") for rows in (layout.num_tokens, layout.num_summaries)
    )
    weight = leaf(2 * width, width)
    prepare_for_kernels(layout.token_plan, layout.summary_plan)
    for plan in (layout.token_plan, layout.summary_plan):
        lists_on(plan, STAND_IN)
    with counting() as counted:
        outputs = fc_attention(tokens, summaries, weight, layout, backend="triton")
        torch.autograd.grad(outputs, [*tokens, *summaries, weight], tuple(map(torch.empty_like, outputs)))
    return counted


def count_update(pieces: Sequence[Tensor], cfg: MuseformerConfig) -> tuple[Counted, MuseformerDecoder]:
    """Forward, loss and backward of a batch of pieces, begin token first, in bfloat16, with the inputs' own copy."""
    model = MuseformerDecoder(cfg, six_track_dictionary())
    batches = [model.inputs_of(pieces) for _ in range(2)]
    for batch in batches:
        prepare_for_kernels(*batch.attention_plans())
    model.to(STAND_IN, torch.bfloat16).train()
    tokens = data_utils.collate_tokens(list(pieces), model.dictionary.pad()).to(STAND_IN)
    with counting():
        model(tokens, inputs=batches[0])  # what is copied once for all
    with counting() as counted:
        logits, _ = model(tokens, inputs=batches[1])
        F.cross_entropy(logits.float().flatten(0, 1), tokens.flatten()).backward()
    return counted, model


def count_step(streams: int) -> tuple[Counted, MuseformerDecoder]:
    """One token of each of so many streams, the model's part, as a graph records it."""
    model = MuseformerDecoder(MuseformerConfig(), six_track_dictionary()).to(torch.bfloat16).eval()
    prompts = [random_piece(400, model.dictionary, seed) for seed in range(streams)]
    with torch.no_grad(), patch.object(model, "empty_cache", lambda on_gpu, expected: model_cache(model, expected)):
        _, state = model.read_prompts(prompts)
        token = torch.full((streams,), model.dictionary.index("o-0"))
        with counting(torch.device("cpu")) as counted:
            model.step(token, state)
    return counted, model


def model_cache(model: MuseformerDecoder, expected: int) -> BarCache:
    """As on a GPU."""
    return BarCache(model.structure_bars, model.coarse, padded=True, expected=expected)


def operator_rows(layout: BarLayout) -> list[Row]:
    """Ours, and what it is compared with: the same share of the products' rate, the cells of their tiles."""
    plan, tokens = layout.token_plan, layout.num_tokens
    ours = walked_by_queries(plan, 64)
    times = {"SDPA": tokens * (tokens + 128) / 2, "FlexAttention, 128": walked_by_aligned_blocks(plan, 128)}
    note = f"tiles of 64 x 64 are {fill(plan, ours):.0%} full, of 128 x 64 with remainders of 64 "
    note += f"{fill(plan, walked_by_queries(plan, 128)):.0%}, of 128 alone {fill(plan, whole_blocks(plan, 128)):.0%}"
    rows = [total(f"operator, {tokens:,} tokens", count_operator(layout), ours, 1, note)]
    for name, cells in times.items():
        took = attention_seconds(cells)
        products = 14 * cells * HEADS * HEAD_WIDTH
        note = f"{took / rows[0].seconds:.1f} times ours; our pairs are {live_pairs(plan) / cells:.0%} of its cells"
        rows.append(Row(f"{name}, {tokens:,} tokens", 3, 0, 0, products, took, note))
    return rows


def update_row(pieces: Sequence[Tensor], cfg: MuseformerConfig, what: str) -> Row:
    """A whole update: what was counted, and one pass of an optimizer over its weights."""
    counted, model = count_update(pieces, cfg)
    cells = walked_by_queries(model.inputs_of(pieces).layout.token_plan, 64)
    row = total(what, counted, cells, len(model.layers))
    weights = sum(weight.numel() for weight in model.parameters())
    row.seconds += BYTES_A_WEIGHT * weights / BYTES_A_SECOND
    row.note = f"{sum(map(len, pieces)) / row.seconds:,.0f} tokens/s; host waits: {counted.reads}"
    return row


def step_row(streams: int, layout: BarLayout) -> Row:
    """A step of writing, by a graph: weights once, and of each stream the keys and values that it sees at the end."""
    counted, model = count_step(streams)
    lengths = layout.token_plan.key_ranges[layout.token_plan.first_key_range[-2] :]
    seen = int((lengths[:, 1] - lengths[:, 0]).sum())
    layers, width = len(model.layers), HEADS * HEAD_WIDTH
    weights = sum(weight.numel() for weight in model.parameters())
    moved = 2 * (weights + streams * seen * layers * 2 * width)
    took = len(counted.plain) * GRAPH_NODE + moved / BYTES_A_SECOND
    note = f"{streams / took:,.0f} tokens/s without sampling, {seen:,} rows seen"
    return Row(f"step of {streams} streams at {layout.num_tokens:,}", len(counted.plain), 0, moved, 0, took, note)


def _pieces(data_bin: Path | None, lengths: Sequence[int]) -> list[Tensor]:
    """One of each length, begin token first."""
    if data_bin is None:
        return [random_piece(length, six_track_dictionary(), seed=0) for length in lengths]
    dictionary = Dictionary.load(str(data_bin / "dict.txt"))
    dataset = data_utils.load_indexed_dataset(str(data_bin / "train"), dictionary)
    longest = np.argsort(-np.asarray(dataset.sizes), kind="stable")
    found = []
    for length in lengths:
        # enough of the longest laid end to end: few songs are as long as the targets
        parts, have = [torch.tensor([dictionary.eos()])], 1
        for index in longest.tolist():
            parts.append(dataset[index][:-1].long())
            have += len(parts[-1])
            if have >= length:
                break
        found.append(torch.cat(parts)[:length])
    return found


def main() -> None:
    """The command: prints the table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--data-bin", type=Path, help="six-track pieces; several make one as long as is asked for")
    parser.add_argument("--lengths", type=int, nargs=2, default=[15360, 36864], help="tokens of a piece")
    parser.add_argument("--streams", type=int, nargs="+", default=[1, 64], help="written at once, at 5,000 tokens")
    args = parser.parse_args()
    short, long, batch, written = _pieces(args.data_bin, [*args.lengths, 4096, 5000])
    paper = MuseformerConfig(attention_dropout=0.0)
    model = MuseformerDecoder(paper, six_track_dictionary())
    layouts = [model.inputs_of([piece]).layout for piece in (short, long, written)]
    rows = [row for layout in layouts[:2] for row in operator_rows(layout)]
    rows.append(update_row([short], paper, f"update, {len(short):,} tokens"))
    rows.append(update_row([batch] * 16, paper, f"update, 16 x {len(batch):,} tokens"))
    rows += [step_row(streams, layouts[2]) for streams in args.streams]
    head = ["| | launches | copies to the device | MB moved beside attention | TFLOP | expected ms | |"]
    head.append("|---|---|---|---|---|---|---|")
    print("\n".join([*head, *(row.line() for row in rows)]))


if __name__ == "__main__":
    main()
