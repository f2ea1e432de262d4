"""A whole update of the paper-size model: ours, the same model with full causal attention, fairseq's transformer_lm.

    python -m benchmarks.training --lengths 5120 15360 36864

Each variant and length runs in a process of its own, so that its peak memory is its own. Dropout on attention
weights is off in all of them: full attention on a CPU has no fused kernel with it. The floor beside a time is counted:
see ``floor_seconds``.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import statistics
import subprocess
import sys
import time
from argparse import Namespace
from collections.abc import Callable
from pathlib import Path

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from benchmarks.ceilings import Ceilings, measure_ceilings
from benchmarks.floor import live_pairs
from benchmarks.pieces import random_piece, six_track_dictionary
from museformer_plugin.models.full_attention import FullAttentionDecoder
from museformer_plugin.models.museformer import MuseformerConfig, MuseformerDecoder
from museformer_plugin.models.options import BarAwareConfig

VARIANTS = ("museformer", "full_attention", "transformer_lm")


def _ours(variant: str) -> nn.Module:
    if variant == "full_attention":
        return FullAttentionDecoder(BarAwareConfig(attention_dropout=0.0), six_track_dictionary())
    return MuseformerDecoder(MuseformerConfig(attention_dropout=0.0), six_track_dictionary())


def transformer_lm(length: int) -> nn.Module:
    """fairseq's own model of the paper's size, for pieces of ``length`` tokens."""
    from fairseq.models.transformer_lm import TransformerLanguageModel, TransformerLanguageModelConfig

    cfg = TransformerLanguageModelConfig(
        decoder_layers=4,
        decoder_embed_dim=512,
        decoder_ffn_embed_dim=2048,
        decoder_attention_heads=8,
        decoder_normalize_before=True,
        activation_fn="gelu",
        attention_dropout=0.0,
    )
    cfg.max_target_positions = cfg.tokens_per_sample = length
    dictionary = six_track_dictionary()
    return TransformerLanguageModel.build_model(
        cfg, Namespace(source_dictionary=dictionary, target_dictionary=dictionary)
    )


def _model(variant: str, length: int) -> nn.Module:
    return transformer_lm(length) if variant == "transformer_lm" else _ours(variant)


def _update(model: nn.Module, optimizer: torch.optim.Optimizer, piece: Tensor, dtype: torch.dtype) -> None:
    with torch.autocast(piece.device.type, dtype, enabled=dtype != torch.float32):
        logits = model(piece[None])[0]
    loss = F.cross_entropy(logits.float().flatten(0, 1)[:-1], piece[1:])
    loss.backward()
    optimizer.step()
    optimizer.zero_grad(set_to_none=True)


def floor_seconds(variant: str, model: nn.Module, pieces: list[Tensor], itemsize: int, ceilings: Ceilings) -> float:
    """The least time of an update, the mean of ``pieces``.

    Every matrix of the layers and of the logits times every row, forward and twice backward; two products a pair of a
    query and a key forward and five backward; and Adam, which reads and writes weights, gradients and two moments.
    """
    weights = [weight for name, weight in model.named_parameters() if "embed" not in name and weight.dim() == 2]
    matrices, width, layers = sum(weight.numel() for weight in weights), 512, 4
    rows, pairs = 0, 0
    for piece in pieces:
        rows += len(piece)
        if variant == "museformer":
            layout = model.inputs_of([piece]).layout
            rows += layout.num_summaries
            pairs += live_pairs(layout.token_plan) + live_pairs(layout.summary_plan)
        else:
            pairs += len(piece) * (len(piece) + 1) // 2
    operations = (6 * matrices * rows + 14 * pairs * width * layers) / len(pieces)
    return ceilings.floor_seconds(operations, 7 * itemsize * sum(weight.numel() for weight in model.parameters()))


def measure(variant: str, length: int, device: str, dtype: torch.dtype, repeats: int) -> dict[str, float]:
    """Median seconds of an update (forward, backward, Adam), their floor, and peak memory in GiB, in this process."""
    torch.manual_seed(1)
    model = _model(variant, length).to(device).train()
    optimizer = torch.optim.Adam(model.parameters(), lr=1e-4)
    pieces = [random_piece(length, six_track_dictionary(), seed).to(device) for seed in range(repeats + 1)]
    synchronize: Callable[[], None] = torch.cuda.synchronize if device == "cuda" else lambda: None
    seconds = []
    for piece in pieces:
        synchronize()
        began = time.perf_counter()
        _update(model, optimizer, piece, dtype)
        synchronize()
        seconds.append(time.perf_counter() - began)
    peak = (
        torch.cuda.max_memory_allocated()
        if device == "cuda"
        else resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
    )
    floor = floor_seconds(variant, model, pieces[1:], dtype.itemsize, measure_ceilings(torch.device(device), dtype))
    return {"seconds": statistics.median(seconds[1:]), "floor": floor, "peak_gib": peak / 2**30}


def _measure_apart(variant: str, length: int, args: argparse.Namespace) -> dict[str, float] | None:
    """``measure`` in a process of its own; None where it needs more than the memory allowed."""
    command = [sys.executable, "-m", "benchmarks.training", "--one", variant, "--lengths", str(length)]
    command += ["--device", args.device, "--dtype", args.dtype, "--repeats", str(args.repeats)]
    limit = int(args.memory_gib * 2**30)

    def restrict() -> None:
        if args.device == "cpu":
            resource.setrlimit(resource.RLIMIT_DATA, (limit, limit))

    done = subprocess.run(command, capture_output=True, text=True, preexec_fn=restrict, env=os.environ)
    if done.returncode == 0:
        return json.loads(done.stdout.splitlines()[-1])
    if "memory" in done.stderr:
        return None
    raise RuntimeError(done.stderr[-2000:])


def _table(results: dict[int, dict[str, dict[str, float] | None]]) -> str:
    lines = [
        "| tokens | variant | update s | floor s | tokens/s | peak GiB | time of ours | memory of ours |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for length, by_variant in results.items():
        ours = by_variant["museformer"]
        for variant, found in by_variant.items():
            if found is None or ours is None:
                lines.append(f"| {length} | {variant} | does not fit | | | | | |")
                continue
            tokens_per_second = length / found["seconds"]
            lines.append(
                f"| {length} | {variant} | {found['seconds']:.3f} | {found['floor']:.3f} | {tokens_per_second:.0f} | "
                f"{found['peak_gib']:.2f} | 1/{found['seconds'] / ours['seconds']:.2f} | "
                f"{ours['peak_gib'] / found['peak_gib']:.2f} |"
            )
    return "\n".join(lines)


def main() -> None:
    """The command: prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--lengths", type=int, nargs="+", default=[5120, 15360, 36864], help="tokens of a piece")
    parser.add_argument("--variants", nargs="+", choices=VARIANTS, default=list(VARIANTS))
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu", choices=("cpu", "cuda"))
    parser.add_argument("--dtype", default="float32", choices=("float32", "float16", "bfloat16"))
    parser.add_argument("--repeats", type=int, default=3, help="updates timed after one to warm up")
    parser.add_argument("--memory-gib", type=float, default=24.0, help="what a variant may use on the CPU")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--one", choices=VARIANTS, help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        print(json.dumps(measure(args.one, args.lengths[0], args.device, getattr(torch, args.dtype), args.repeats)))
        return
    results = {
        length: {variant: _measure_apart(variant, length, args) for variant in args.variants} for length in args.lengths
    }
    print(_table(results))
    if args.json:
        args.json.write_text(json.dumps(results, indent=1) + "\n")


if __name__ == "__main__":
    main()
