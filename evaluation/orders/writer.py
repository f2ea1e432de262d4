"""Writes what requests ask for, many at a time, through the plugin's generator."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from museformer_plugin.generator import MuseformerGenerator
from museformer_plugin.models.protocol import BarAwareModel
from museformer_plugin.piece_rules import PieceRules
from museformer_plugin.sampling import SamplingOptions
from museformer_plugin.steering.request import Request
from museformer_plugin.token_families import TokenFamilies

from .pieces import Piece

LONGEST = 20480  # tokens that are written of a piece


@dataclass(frozen=True)
class Writer:
    """``decoder``: of a steerable model. ``sampling``: how tokens are drawn. ``streams``: pieces written at once."""

    decoder: BarAwareModel
    sampling: SamplingOptions
    streams: int = 32
    seed: int = 1

    @property
    def families(self) -> TokenFamilies:
        """Of the model's dictionary."""
        return self.decoder.families

    def write(self, requests: Sequence[Request]) -> list[Piece]:
        """The whole piece of each request, given bars at their places. Raises UserError for what cannot be written."""
        given = max(len(request.prompt()) for request in requests)
        rules = PieceRules(self.families, 0, given + LONGEST)
        generator = MuseformerGenerator(self.decoder, self.sampling, rules, at_once=self.streams, seed=self.seed)
        begin = self.decoder.dictionary.eos()
        source = torch.full((len(requests), 1), begin, device=next(self.decoder.parameters()).device)
        found = generator.generate([], {"net_input": {"src_tokens": source}, "requests": list(requests)})
        return [Piece.of(_without_end(pieces[0]["tokens"].numpy(), begin), self.families) for pieces in found]


def _without_end(tokens: np.ndarray, end: int) -> np.ndarray:
    return tokens[:-1] if len(tokens) and tokens[-1] == end else tokens
