"""What a steerable model gains by what it is told: the loss of the same bars, told more and more.

    python -m evaluation.steering CHECKPOINT DATA_BIN [--subset test]

Of every piece four bars in its middle are scored: continued after the bars before them; the same with all that is heard
of them told (form, repeats, tracks, density, bars left); filled in between the bars before and after them. Prints bits
a token with 95 % intervals over pieces, and how much lower the losses are than where the bars are continued.
"""

from __future__ import annotations

import argparse
import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from tqdm import tqdm

from data_prep.command import CommandError, positive, run_command
from evaluation.bootstrap import Bootstrap, ratio_of_sums
from evaluation.data_bin import Split
from evaluation.perplexity import load_model
from museformer_plugin.steering.conditions import KINDS, BarConditions, ConditionColumns, Role
from museformer_plugin.steering.heard_conditions import heard_conditions
from museformer_plugin.steering.sequence_bars import SequenceBar, cut_bars, guide_of

SPAN = 4  # bars that are scored


def sequences_of(bars: Sequence[np.ndarray], around: int) -> dict[str, list[SequenceBar]]:
    """By name the sequences whose last ``SPAN`` bars are those in the middle of a piece.

    ``around``: how many bars before and after them are read at most.
    """
    first = (len(bars) - SPAN) // 2
    numbered = [SequenceBar(bar, number) for number, bar in enumerate(bars, start=1)]
    span = numbered[first : first + SPAN]
    before = numbered[max(0, first - around) : first]
    after = numbered[first + SPAN : first + SPAN + around]
    given = [SequenceBar(bar.tokens, bar.number, Role.GIVEN) for bar in (*before, *after)]
    return {"continued": before + span, "continued, told": before + span, "filled in": given + span}


@torch.no_grad()
def span_bits(
    decoder: torch.nn.Module, sequence: Sequence[SequenceBar], conditions: BarConditions
) -> tuple[float, int]:
    """Bits of the last ``SPAN`` bars of a sequence, summed, and how many tokens they have."""
    families = decoder.families
    tokens = np.concatenate([[families.dictionary.eos()], *(bar.tokens for bar in sequence)])
    guide = guide_of(sequence, conditions, ConditionColumns.of(families))
    device = next(decoder.parameters()).device
    source = torch.from_numpy(tokens[:-1]).to(device)
    logits = decoder(source[None], inputs=decoder.inputs_of([source], [guide]))[0][0]
    count = sum(len(bar.tokens) for bar in sequence[-SPAN:])
    target = torch.from_numpy(tokens[1:][-count:]).to(device)
    losses = torch.nn.functional.cross_entropy(logits[-count:].double(), target, reduction="sum")
    return float(losses) / math.log(2), count


def measure(decoder: torch.nn.Module, pieces: Sequence[np.ndarray], around: int) -> dict[str, np.ndarray]:
    """Of pieces, int64 [n] each: by name bits and tokens, float64 [pieces, 2]; too short ones are left out.

    ``around`` as ``sequences_of`` takes it.
    """
    families = decoder.families
    found: dict[str, list[tuple[float, int]]] = {}
    for tokens in tqdm(pieces, desc="steering", unit="piece", leave=False):
        bars = cut_bars(tokens, families.end_of_bar)
        if len(bars) < 2 * SPAN:
            continue
        heard = heard_conditions(tokens, families)
        for name, sequence in sequences_of(bars, around).items():
            said = heard.at(np.array([bar.number - 1 for bar in sequence]))
            if name != "continued, told":
                said = said.without(list(KINDS), np.ones(len(sequence), dtype=bool))
            found.setdefault(name, []).append(span_bits(decoder, sequence, said))
    return {name: np.array(rows, dtype=float) for name, rows in found.items()}


def _run(args: argparse.Namespace) -> int:
    decoder = load_model(args.checkpoint, args.data_bin).model.decoder
    if getattr(decoder, "condition_columns", None) is None:
        raise CommandError(f"{args.checkpoint} cannot be told of bars: it was trained without --steerable.")
    split = Split(args.data_bin, args.subset)
    pieces = [split.indices(index) for index in range(min(len(split), args.pieces or len(split)))]
    found = measure(decoder, pieces, args.around)
    if not found:
        raise CommandError(f"{args.data_bin}: no {args.subset!r} piece has {2 * SPAN} bars.")
    bootstrap, base = Bootstrap(), found["continued"]
    print(f"{SPAN} bars in the middle of {len(base)} pieces | bits a token | lower by (%)\n---|---:|---:")
    for name, rows in found.items():
        bits = bootstrap.estimate(ratio_of_sums, rows)
        lower = bootstrap.estimate(
            lambda sums: 100 * (1 - sums[0] / sums[1]), np.column_stack([rows[:, 0], base[:, 0]])
        )
        gain = "" if name == "continued" else f"{lower.value:.1f} [{lower.low:.1f}, {lower.high:.1f}]"
        print(f"{name} | {bits.value:.3f} [{bits.low:.3f}, {bits.high:.3f}] | {gain}")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.steering", description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path, metavar="CHECKPOINT", help="a model trained with --steerable")
    parser.add_argument("data_bin", type=Path, metavar="DATA_BIN", help="the folder that fairseq-preprocess wrote")
    parser.add_argument("--subset", default="test", help="which pieces (default: test)")
    parser.add_argument("--pieces", type=positive, help="how many of them (default: all)")
    parser.add_argument(
        "--around", type=positive, default=32, help="bars before and after that are read at most (default: 32)"
    )
    args = parser.parse_args(arguments)
    return run_command(lambda: _run(args), "Interrupted.")


if __name__ == "__main__":
    sys.exit(main())
