"""Writing pieces: prompts read at once, then one token of every stream a step, under the grammar.

fairseq's own generator copies all tokens and reorders all state at every step, which pieces of
20,000 tokens cannot afford; this one stands in its place with the same call and the same result.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from fairseq.models import FairseqModel
from torch import Tensor

from .entrance import Entrance, prompts_of
from .guidance import GuidedModel
from .models.protocol import BarAwareModel, WritingModel
from .piece_rules import PieceRules
from .pieces_under_way import PieceUnderWay, Progress
from .sampling import SamplingOptions
from .steering.request import Request
from .writing import Writing

logger = logging.getLogger(__name__)


class MuseformerGenerator:
    """Stands where fairseq expects a ``SequenceGenerator``.

    Args:
        decoder: the model's decoder, in evaluation mode.
        options: how tokens are chosen.
        rules: what may be written.
        pieces_per_prompt: independent pieces for every prompt (``--beam``).
        at_once: pieces written at the same time; others enter as they end. 0: all (``--streams``).
        ask: makes the request of each example, of its tokens int64 [n] without begin token and of how many of them are
            the prompt; without it prompts are continued, or the ``requests`` of a sample fulfilled.
        seed: of the sampling; None: PyTorch's (``--seed``).
        progress: whether a bar shows how far they are.
    """

    def __init__(
        self,
        decoder: BarAwareModel,
        options: SamplingOptions,
        rules: PieceRules,
        *,
        pieces_per_prompt: int = 1,
        at_once: int = 0,
        ask: Callable[[np.ndarray, int], Request] | None = None,
        seed: int | None = None,
        progress: bool = True,
    ) -> None:
        self.decoder = decoder
        self.dictionary = decoder.dictionary
        self.options = options
        self.rules = rules
        self.pieces_per_prompt = pieces_per_prompt
        self.at_once = at_once
        self.ask = ask
        self.symbols_to_strip_from_output = {self.dictionary.eos()}
        device = next(decoder.parameters()).device
        seed = torch.initial_seed() if seed is None else seed
        self.random = torch.Generator(device).manual_seed(seed)
        self._shows_progress = progress
        logger.info("sampling with seed %d", seed)

    @torch.no_grad()
    def generate(
        self,
        models: Sequence[FairseqModel],
        sample: dict[str, Any],
        prefix_tokens: Tensor | None = None,
        **unused: Any,
    ) -> list[list[dict[str, Any]]]:
        """Continue every example of ``sample``; fairseq's list of hypotheses per example.

        The prompt is ``prefix_tokens`` [B, n] (``--prefix-size``) where given, else the first
        ``prompt_lengths`` source tokens, else all of them. Raises UserError for a prompt that breaks
        the grammar or leaves no room.
        """
        pieces, entrance = self._begin(sample, prefix_tokens)
        for _ in self._write(pieces, entrance):
            pass
        hypotheses: list[list[dict[str, Any]]] = [[] for _ in range(pieces[-1].example + 1)]
        for piece in pieces:
            hypotheses[piece.example].append(piece.hypothesis(self.decoder.families.end_of_bar))
        return [sorted(found, key=lambda h: -h["score"]) for found in hypotheses]

    def bars(self, sample: dict[str, Any]) -> Iterator[list[int]]:
        """The tokens of each bar behind the prompt of the one example of ``sample``, as soon as it has ended.

        What ``generate`` writes, bar by bar; raises UserError as it does, before the first.
        """
        return self._bars(*self._begin(sample, None))

    @torch.no_grad()
    def _bars(self, pieces: list[PieceUnderWay], entrance: Entrance) -> Iterator[list[int]]:
        begin = len(pieces[0].tokens)
        for piece in self._write(pieces, entrance):
            yield piece.tokens[begin:]
            begin = len(piece.tokens)

    def _begin(self, sample: dict[str, Any], prefix_tokens: Tensor | None) -> tuple[list[PieceUnderWay], Entrance]:
        prompts = prompts_of(sample, prefix_tokens, self.dictionary)
        requests = self._requests(sample, prompts)
        entrance = Entrance(self._guided(requests), self.rules, prompts, requests)
        pieces = [
            PieceUnderWay(example, prompt.tolist()[1:], entrance.order(example))
            for example, prompt in enumerate(entrance.prompts)
            for _ in range(self.pieces_per_prompt)
        ]
        return pieces, entrance

    def _guided(self, requests: Sequence[Request] | None) -> WritingModel:
        """The model, guided by what the requests tell, if they tell anything that it can hear."""
        if not (self.options.guidance and requests and getattr(self.decoder, "condition_columns", None)):
            return self.decoder
        guided = GuidedModel(self.decoder, self.options.guidance)
        return guided if guided.needed_for([request.guide for request in requests]) else self.decoder

    def _requests(self, sample: dict[str, Any], prompts: Sequence[Tensor]) -> list[Request] | None:
        if self.ask is None:
            return sample.get("requests")
        rows = sample["net_input"]["src_tokens"].cpu()
        pieces = [row[row != self.dictionary.pad()].numpy()[1:] for row in rows]
        return [self.ask(piece, len(prompt) - 1) for piece, prompt in zip(pieces, prompts)]

    def _write(self, pieces: list[PieceUnderWay], entrance: Entrance) -> Iterator[PieceUnderWay]:
        """Write all pieces; yields one whenever it has ended a bar."""
        progress = Progress(pieces, self.rules.max_len, self.decoder.families.end_of_bar, self._shows_progress)
        at_once = min(self.at_once or len(pieces), len(pieces))
        try:
            writing = Writing(self.rules, self.options, self.random, entrance, pieces, at_once, progress)
            yield from writing.pieces()
        finally:
            progress.close()
