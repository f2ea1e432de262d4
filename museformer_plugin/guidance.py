"""Guided sampling: from what a model would write untold on to what it writes when told, and beyond.

Each piece is read twice, as it is told and untold (``steering.untold``), and its next token drawn by the logits
``told + strength * (told - untold)``, classifier-free guidance (Ho and Salimans, arXiv 2207.12598) of a language model
(Sanchez et al., arXiv 2306.17806), with ``strength`` one less than theirs, so that 0 leaves them as they are. The model
has learnt both sides, as in training each thing is told in some windows alone.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence

import torch
from torch import Tensor

from .errors import UserError
from .models.protocol import DecodingState, WritingModel
from .steering.conditions import ConditionColumns
from .steering.guide import BarGuide
from .steering.untold import tells, untold


def guidance_strength(strength: float) -> float:
    """``--guidance``. Raises UserError where it is no number from 0 up."""
    if not 0 <= strength < math.inf:
        raise UserError(f"--guidance must be a number from 0 up, not {strength}.")
    return strength


class GuidedStreams:
    """B pieces being written, in 2 B streams of a model: as they are told, then untold. A ``DecodingState``."""

    def __init__(self, both: DecodingState) -> None:
        self.both = both
        self.run = both.run  # a step of the pieces is one of all streams

    def __len__(self) -> int:
        return len(self.both) // 2

    def twice(self, indices: Sequence[int]) -> list[int]:
        """Of pieces the streams that are told, then those that are not."""
        return [*indices, *(len(self) + index for index in indices)]

    def select(self, indices: Sequence[int]) -> None:
        """See ``DecodingState``."""
        self.both.select(self.twice(indices))

    def put(self, index: int, entering: GuidedStreams) -> None:
        """See ``DecodingState``."""
        for side, stream in enumerate(self.twice([index])):
            one = copy.deepcopy(entering.both)
            one.select([side])
            self.both.put(stream, one)


class GuidedModel:
    """A ``WritingModel``.

    Args:
        model: a steerable one.
        strength: how far beyond what it writes when told, above 0.
    """

    def __init__(self, model: WritingModel, strength: float) -> None:
        self._model, self._strength = model, strength
        self._columns = ConditionColumns.of(model.families)
        self.dictionary, self.families = model.dictionary, model.families

    def needed_for(self, guides: Sequence[BarGuide]) -> bool:
        """Whether any of these tells something, so that the two sides differ."""
        return any(tells(guide, self._columns) for guide in guides)

    def read_prompts(self, prompts: Sequence[Tensor], guides: Sequence[BarGuide]) -> tuple[list[Tensor], GuidedStreams]:
        """See ``WritingModel``, but for the logits: those behind each prompt alone, [1, V]."""
        end_of_bar = self.families.end_of_bar
        other = [
            untold(prompt.cpu().numpy(), guide, self._columns, end_of_bar) for prompt, guide in zip(prompts, guides)
        ]
        untold_prompts = [prompt.new_tensor(tokens) for prompt, (tokens, _) in zip(prompts, other)]
        logits, both = self._model.read_prompts([*prompts, *untold_prompts], [*guides, *(guide for _, guide in other)])
        last = torch.stack([of_prompt[-1] for of_prompt in logits])
        return list(self._guided(last).split(1)), GuidedStreams(both)

    def _guided(self, logits: Tensor) -> Tensor:
        """Of both sides, [2 B, V] -> float32 [B, V]."""
        told, other = logits.float().chunk(2)
        return told + self._strength * (told - other)

    def advance(self, tokens: Tensor, streams: GuidedStreams) -> Tensor:
        """See ``WritingModel``."""
        return self._guided(self._model.advance(torch.cat([tokens, tokens]), streams.both))

    def end_bars(self, streams: GuidedStreams, ended: Sequence[int]) -> None:
        """See ``WritingModel``."""
        self._model.end_bars(streams.both, streams.twice(ended))
