"""What each part of the fast recipe costs: updates of one piece, against the paper's model with Adam.

    OMP_NUM_THREADS=1 python -m benchmarks.recipes --tokens 10240

All take turns; a ratio is the median of those of all turns. An update is forward, backward and the optimizer's step.
"""

from __future__ import annotations

import argparse
from argparse import Namespace
from dataclasses import dataclass, field
from typing import Any

import torch
import torch.nn.functional as F
from fairseq.models import ARCH_CONFIG_REGISTRY
from torch import Tensor

from benchmarks.pieces import random_piece, six_track_dictionary
from benchmarks.turns import Seconds, median_ms, median_ratios, timed
from museformer_plugin.models.museformer import MuseformerConfig, MuseformerDecoder
from museformer_plugin.muon import FairseqMuon, MuonConfig

PAPER = "the paper's model, Adam"


@dataclass(frozen=True)
class Variant:
    """``against`` is the variant that the ratio is to; ``options`` are those of the model."""

    against: str
    muon: bool = False
    options: dict[str, Any] = field(default_factory=dict)


_PRESET = {"positions": "rotary", "qk_norm": True, "previous_tokens": 3}
VARIANTS = {
    PAPER: Variant(PAPER),
    "rotary positions, Adam": Variant(PAPER, options={"positions": "rotary"}),
    "our model, Adam": Variant(PAPER, options=_PRESET),
    "our model, Muon": Variant("our model, Adam", muon=True, options=_PRESET),
}


class _Training:
    def __init__(self, variant: Variant, arch: str, dtype: torch.dtype) -> None:
        torch.manual_seed(1)
        chosen = Namespace(**variant.options)
        ARCH_CONFIG_REGISTRY[arch](chosen)
        known = vars(MuseformerConfig()).keys()
        cfg = MuseformerConfig(**{name: value for name, value in vars(chosen).items() if name in known})
        self._model = MuseformerDecoder(cfg, six_track_dictionary()).train()
        parameters = list(self._model.parameters())
        self._optimizer: Any = torch.optim.Adam(parameters, lr=1e-4)
        if variant.muon:
            self._optimizer = FairseqMuon(MuonConfig(lr=[0.04]), parameters)
        self._dtype = dtype

    def update(self, piece: Tensor) -> None:
        with torch.autocast("cpu", self._dtype, enabled=self._dtype != torch.float32):
            logits = self._model(piece[None])[0]
        F.cross_entropy(logits.float()[0, :-1], piece[1:]).backward()
        self._optimizer.step()
        self._optimizer.zero_grad()


def measure(arch: str, tokens: int, turns: int, dtype: torch.dtype) -> dict[str, list[Seconds]]:
    """Every turn's seconds of every variant, after one to warm up."""
    trainings = {name: _Training(variant, arch, dtype) for name, variant in VARIANTS.items()}
    times: dict[str, list[Seconds]] = {name: [] for name in VARIANTS}
    for seed in range(turns + 1):
        piece = random_piece(tokens, six_track_dictionary(), seed)
        for name, training in trainings.items():
            times[name].append(timed(lambda training=training, piece=piece: training.update(piece)))
    return {name: found[1:] for name, found in times.items()}


def main() -> None:
    """The command: prints a table."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--arch", default="museformer_tiny", choices=("museformer_tiny", "museformer"), help="the size")
    parser.add_argument("--tokens", type=int, default=10240, help="of the piece")
    parser.add_argument("--turns", type=int, default=7)
    parser.add_argument("--dtype", default="float32", choices=("float32", "bfloat16"))
    args = parser.parse_args()
    times = measure(args.arch, args.tokens, args.turns, getattr(torch, args.dtype))
    print(f"| update of {args.tokens:,} tokens | ms | CPU ms | against | times its ms | times its CPU ms |")
    print("|---|---|---|---|---|---|")
    for name, variant in VARIANTS.items():
        wall, cpu = median_ms(times[name])
        ratios = "| | | |"
        if variant.against != name:
            of_wall, of_cpu = median_ratios(times[name], times[variant.against])
            ratios = f"| {variant.against} | {of_wall:.3f} | {of_cpu:.3f} |"
        print(f"| {name} | {wall:,.0f} | {cpu:,.0f} {ratios}")


if __name__ == "__main__":
    main()
