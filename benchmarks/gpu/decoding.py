"""Stage: writing with the paper-size model as ``fairseq-generate`` does, one stream and many.

A step is timed on the host, which reads the tokens of the step before at every step anyway: the benchmark adds no
launch and waits for nothing. Weights are random, and bars shorter than those of real songs, which the row says: more of
them end.
"""

from __future__ import annotations

import statistics
import sys
from functools import partial

import torch

from benchmarks.architectures import build
from benchmarks.writing import StepTimes, write_pieces
from museformer_plugin.piece_rules import PieceRules

from .stage import StageArguments, run_each, stage_arguments

_WINDOW = 400  # steps over which a time is taken


def main() -> int:
    """The exit status: 1 where writing failed."""
    arguments = stage_arguments("decoding")
    if arguments.on_gpu:
        chosen = [(1, 3000, torch.bfloat16), (64, 1600, torch.bfloat16), (1, 1600, torch.float32)]
        chosen += [(16, 1600, torch.bfloat16), (256, 1000, torch.bfloat16)]
    else:
        chosen = [(1, 60, torch.float32), (3, 60, torch.bfloat16)]
    names = [f"{streams} streams, {str(dtype).removeprefix('torch.')}" for streams, _, dtype in chosen]
    jobs = [(name, partial(_measure, name, *choice, arguments)) for name, choice in zip(names, chosen)]
    return run_each(arguments, jobs)


def _measure(name: str, streams: int, length: int, dtype: torch.dtype, arguments: StageArguments) -> None:
    decoder = build("museformer" if arguments.on_gpu else "museformer_tiny", 0).decoder
    decoder.to(arguments.device, dtype).eval()
    pieces, times = write_pieces(decoder, PieceRules(decoder.families, length, length), streams, StepTimes)
    steps = times.steps()
    bars = sum(piece.tokens.count(decoder.families.end_of_bar) for piece in pieces)
    tokens = sum(len(piece.tokens) for piece in pieces)
    window = min(_WINDOW, len(steps) // 4)
    places = {length // 2, length} if arguments.on_gpu else {length}
    for place in sorted(places):
        taken = steps[:place][-window:]
        mean = statistics.mean(taken)
        arguments.rows.add(
            name,
            tokens_so_far=place,
            step_ms=1e3 * mean,
            median_ms=1e3 * statistics.median(taken),
            tokens_per_s=streams / mean,
            tokens_a_bar=tokens / max(1, bars),
        )


if __name__ == "__main__":
    sys.exit(main())
