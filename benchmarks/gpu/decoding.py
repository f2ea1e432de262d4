"""Stage: writing with the paper-size model as ``fairseq-generate`` does, one stream and many.

A step is timed on the host, which reads the chosen tokens at every step anyway: the benchmark adds no launch and waits
for nothing. Weights are random, and
bars shorter than those of real songs, which the row says: more of them end.
"""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Sequence
from functools import partial

import torch
from torch import Tensor

from benchmarks.architectures import build
from museformer_plugin.generator import MuseformerGenerator
from museformer_plugin.grammar import StreamGrammar
from museformer_plugin.piece_rules import PieceRules
from museformer_plugin.sampling import SamplingOptions
from museformer_plugin.token_families import TokenFamilies

from .stage import StageArguments, run_each, stage_arguments

_TOPK = 8
_WINDOW = 400  # steps over which a time is taken


class _TimedRules(PieceRules):
    """The rules of a piece of just this many tokens, and when each step asked for them."""

    def __init__(self, families: TokenFamilies, length: int) -> None:
        super().__init__(families, length, length)
        self.asked: list[float] = []

    def allowed(self, pieces: Sequence[Sequence[int]], grammar: StreamGrammar, logits: Tensor) -> Tensor:
        """See ``PieceRules``."""
        self.asked.append(time.perf_counter())
        return super().allowed(pieces, grammar, logits)


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
    rules = _TimedRules(decoder.families, length)
    generator = MuseformerGenerator(decoder, SamplingOptions(True, _TOPK, 0.0, 1.0), rules)
    begin = torch.full((streams, 1), decoder.dictionary.eos(), device=arguments.device)
    written = generator.generate([], {"net_input": {"src_tokens": begin}})
    steps = [after - before for before, after in zip(rules.asked, rules.asked[1:])]
    tokens = torch.cat([piece["tokens"] for hypotheses in written for piece in hypotheses])
    bars = int((tokens == decoder.families.end_of_bar).sum())
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
            tokens_a_bar=len(tokens) / max(1, bars),
        )


if __name__ == "__main__":
    sys.exit(main())
