"""Writing as ``fairseq-generate`` does it, with the time at which the host had read each step."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from typing import TypeVar

import torch

from museformer_plugin.entrance import Entrance
from museformer_plugin.models.protocol import BarAwareModel
from museformer_plugin.piece_rules import PieceRules
from museformer_plugin.pieces_under_way import PieceUnderWay, Progress
from museformer_plugin.sampling import SamplingOptions
from museformer_plugin.writing import Writing

_TOPK = 8


class StepTimes(Progress):
    """``read``: when the tokens of each step had been read, by the host's clock; a step adds nothing but this."""

    def __init__(self, pieces: Sequence[PieceUnderWay], rules: PieceRules) -> None:
        super().__init__(pieces, rules.max_len, rules.end_of_bar, shown=False)
        self.read: list[float] = []

    def wrote(self, pieces: Sequence[PieceUnderWay], ended: Sequence[bool], streams: int) -> None:
        """See ``Progress``."""
        super().wrote(pieces, ended, streams)
        self.read.append(time.perf_counter())

    def steps(self) -> list[float]:
        """Seconds of each step."""
        return [after - before for before, after in zip(self.read, self.read[1:])]


Times = TypeVar("Times", bound=StepTimes)


@torch.no_grad()
def write_pieces(
    decoder: BarAwareModel,
    rules: PieceRules,
    streams: int,
    make_times: Callable[[Sequence[PieceUnderWay], PieceRules], Times],
) -> tuple[list[PieceUnderWay], Times]:
    """As many new pieces at once, sampled from the 8 likeliest tokens with seed 0, and the times of their steps."""
    device = next(decoder.parameters()).device  # type: ignore[attr-defined]
    begin = torch.full((1,), decoder.dictionary.eos(), device=device)
    entrance = Entrance(decoder, rules, [begin], None)
    pieces = [PieceUnderWay(0, []) for _ in range(streams)]
    times = make_times(pieces, rules)
    options = SamplingOptions(sampling=True, topk=_TOPK, topp=0.0, temperature=1.0)
    random = torch.Generator(device).manual_seed(0)
    for _ in Writing(rules, options, random, entrance, pieces, streams, times).pieces():
        pass
    return pieces, times
