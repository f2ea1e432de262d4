"""What a steerable model gains by what it is told: the loss of the same bars, told more and more.

    python -m evaluation.steering CHECKPOINT DATA_BIN [--subset test] [--places 4]

Of every piece four bars are scored, in its middle or, with ``--places``, at random places: continued after the bars
before them; the same with all that is heard of them told (form, repeats, tracks, density, bars left); filled in between
the bars before and after them, told nothing else, as in a request. Prints bits a token with 95 %
intervals over pieces, and how much lower the losses are than where the bars are continued.
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


def random_places(bars: int, places: int, chance: np.random.Generator) -> np.ndarray:
    """int64 [at most places]: where spans begin in a piece of so many bars, counted from 0, rising and each once.

    At least ``SPAN`` bars lie before a span and one after it; a piece that is too short for that has none.
    """
    possible = np.arange(SPAN, bars - SPAN)
    return np.sort(chance.choice(possible, min(places, len(possible)), replace=False))


def sequences_of(bars: Sequence[np.ndarray], first: int, around: int) -> dict[str, list[SequenceBar]]:
    """By name the sequences whose last ``SPAN`` bars are those of a piece from ``first`` (from 0) on.

    ``around``: how many bars before and after them are read at most.
    """
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


def measure(
    decoder: torch.nn.Module, pieces: Sequence[np.ndarray], around: int, places: int = 0, seed: int = 1
) -> dict[str, np.ndarray]:
    """Of pieces, int64 [n] each: by name bits and tokens, float64 [pieces, 2]; too short ones are left out.

    ``around`` as ``sequences_of`` takes it. ``places``: how many ``random_places`` are scored of each piece, drawn from
    ``seed``, and summed up; 0 for the one in the middle.
    """
    families = decoder.families
    found: dict[str, list[np.ndarray]] = {}
    for index, tokens in enumerate(tqdm(pieces, desc="steering", unit="piece", leave=False)):
        bars = cut_bars(tokens, families.end_of_bar)
        if len(bars) < 2 * SPAN + bool(places):
            continue
        heard = heard_conditions(tokens, families)
        firsts = np.array([(len(bars) - SPAN) // 2])
        if places:
            firsts = random_places(len(bars), places, np.random.default_rng([seed, index]))
        of_places = [_losses(decoder, sequences_of(bars, first, around), heard) for first in firsts.tolist()]
        for name in of_places[0]:
            found.setdefault(name, []).append(np.sum([losses[name] for losses in of_places], axis=0))
    return {name: np.array(rows, dtype=float) for name, rows in found.items()}


def _losses(
    decoder: torch.nn.Module, sequences: dict[str, list[SequenceBar]], heard: BarConditions
) -> dict[str, tuple[float, int]]:
    """By name bits and tokens; ``heard``: what could be said of all bars of the piece."""
    found = {}
    for name, sequence in sequences.items():
        said = heard.at(np.array([bar.number - 1 for bar in sequence]))
        if name != "continued, told":
            said = said.without(list(KINDS), np.ones(len(sequence), dtype=bool))
        found[name] = span_bits(decoder, sequence, said)
    return found


def table(found: dict[str, np.ndarray], where: str) -> str:
    """What ``measure`` found, in Markdown; ``where`` the bars lie."""
    bootstrap, base = Bootstrap(), found["continued"]
    lines = [f"{SPAN} bars {where} of {len(base)} pieces | bits a token | lower by (%)", "---|---:|---:"]
    for name, rows in found.items():
        bits = bootstrap.estimate(ratio_of_sums, rows)
        lower = bootstrap.estimate(
            lambda sums: 100 * (1 - sums[0] / sums[1]), np.column_stack([rows[:, 0], base[:, 0]])
        )
        gain = "" if name == "continued" else f"{lower.value:.1f} [{lower.low:.1f}, {lower.high:.1f}]"
        lines.append(f"{name} | {bits.value:.3f} [{bits.low:.3f}, {bits.high:.3f}] | {gain}")
    return "\n".join(lines)


def _run(args: argparse.Namespace) -> int:
    decoder = load_model(args.checkpoint, args.data_bin).model.decoder
    if getattr(decoder, "condition_columns", None) is None:
        raise CommandError(f"{args.checkpoint} cannot be told of bars: it was trained without --steerable.")
    split = Split(args.data_bin, args.subset)
    pieces = [split.indices(index) for index in range(min(len(split), args.pieces or len(split)))]
    found = measure(decoder, pieces, args.around, args.places, args.seed)
    if not found:
        needed = 2 * SPAN + bool(args.places)
        raise CommandError(f"{args.data_bin}: no {args.subset!r} piece has {needed} bars.")
    print(table(found, f"at {args.places} random places" if args.places else "in the middle"))
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
    parser.add_argument(
        "--places", type=positive, default=0, help="score so many random places of a piece (default: its middle)"
    )
    parser.add_argument("--seed", type=int, default=1, help="of the random places (default: 1)")
    args = parser.parse_args(arguments)
    return run_command(lambda: _run(args), "Interrupted.")


if __name__ == "__main__":
    sys.exit(main())
