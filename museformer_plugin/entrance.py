"""Prompts on their way into a batch of streams: cut out, checked, read by the model."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from fairseq.data import Dictionary
from torch import Tensor

from data_prep.tokens.grammar import GrammarState
from data_prep.tokens.vocabulary import TokenError

from .errors import UserError
from .models.protocol import DecodingState, WritingModel
from .piece_rules import TOKENS_TO_CLOSE, PieceRules
from .steering.bars_to_write import BarsToWrite
from .steering.conditions import Role
from .steering.request import Request
from .token_families import TokenFamilies


class Entrance:
    """Prompts that are continued, and what each asks.

    Args:
        decoder: reads them.
        rules: of the pieces.
        prompts: int64 [n] each, begin token first; with ``requests`` they are what these give.
        requests: what each asks, where anything is.

    Raises UserError for a prompt that breaks the grammar or leaves no room, or too little for what is to be written.
    """

    def __init__(
        self,
        decoder: WritingModel,
        rules: PieceRules,
        prompts: Sequence[Tensor],
        requests: Sequence[Request] | None,
    ) -> None:
        self.decoder = decoder
        self.requests = requests
        if requests:
            prompts = [torch.cat([p[:1], p.new_tensor(request.prompt())]) for p, request in zip(prompts, requests)]
        self.prompts = prompts
        _check_room(prompts, requests, rules, decoder.families)
        self.states = [
            _read_grammar(number, prompt, decoder.families) if rules.grammar else _begin(decoder.families)
            for number, prompt in enumerate(prompts, start=1)
        ]
        self._latest: tuple[tuple[int, ...], Tensor, DecodingState] | None = None

    def order(self, example: int) -> BarsToWrite | None:
        """What a piece of this example must write."""
        return BarsToWrite(self.requests[example], self.decoder.families) if self.requests else None

    def _read(self, examples: Sequence[int]) -> tuple[list[Tensor], DecodingState]:
        guides = None if self.requests is None else [self.requests[example].guide for example in examples]
        return self.decoder.read_prompts([self.prompts[example] for example in examples], guides)

    def _key(self, example: int) -> tuple[int, ...]:
        """The same of examples that are continued alike, so that one reading will do."""
        return tuple(self.prompts[example].tolist()) if self.requests is None else (example,)

    def open(self, examples: Sequence[int]) -> tuple[Tensor, DecodingState]:
        """Logits [B, V] and streams of the first pieces, which continue these prompts."""
        # a prompt that several pieces share is read once
        places: dict[tuple[int, ...], int] = {}
        of_piece = [places.setdefault(self._key(example), len(places)) for example in examples]
        logits, streams = self._read([examples[of_piece.index(place)] for place in range(len(places))])
        streams.select(of_piece)
        return torch.stack([logits[place][-1] for place in of_piece]), streams

    def enter(self, example: int, number: int, streams: DecodingState) -> Tensor:
        """Put a stream that continues this prompt in place of ``number``; its logits [1, V]."""
        key = self._key(example)
        if self._latest is None or self._latest[0] != key:  # pieces of one prompt come one after the other
            (logits,), one = self._read([example])
            self._latest = key, logits[-1:].clone(), one
        streams.put(number, self._latest[2])
        return self._latest[1]


def prompts_of(sample: dict[str, Any], prefix_tokens: Tensor | None, dictionary: Dictionary) -> list[Tensor]:
    """The prompts, int64 [n] each, begin token first, of what fairseq gives a generator."""
    source = sample["net_input"]["src_tokens"]
    if prefix_tokens is not None:
        begin = source.new_full((len(source), 1), dictionary.eos())
        source = torch.cat([begin, prefix_tokens], dim=1)
    lengths = (source != dictionary.pad()).sum(dim=1)
    if prefix_tokens is None and "prompt_lengths" in sample:
        lengths = sample["prompt_lengths"]
    return [row[:length] for row, length in zip(source, lengths.tolist())]


_FEWER_BARS = " or give fewer bars with --prompt-bars"


def _is_written_into(request: Request) -> bool:
    """Whether bars are given that are not simply continued."""
    return any(bar.role is not Role.WRITTEN for bar in request.given)


def _check_room(
    prompts: Sequence[Tensor], requests: Sequence[Request] | None, rules: PieceRules, families: TokenFamilies
) -> None:
    longest = max(len(prompt) for prompt in prompts)
    if longest - 1 + TOKENS_TO_CLOSE > rules.max_len:
        fewer = "" if requests is not None and any(map(_is_written_into, requests)) else _FEWER_BARS
        raise UserError(
            f"A prompt of {longest - 1} tokens leaves no room in pieces of at most {rules.max_len} tokens: "
            f"raise --max-len-b{fewer}."
        )
    for prompt, request in zip(prompts, requests or ()):
        bars = BarsToWrite(request, families)
        bars.release()  # as it is where there is no room for what repeats
        needed = len(prompt) + bars.tokens_left() + TOKENS_TO_CLOSE
        if needed > rules.max_len:
            raise UserError(
                f"{len(prompt) - 1} given tokens and {len(request.written)} bars to write have no room in "
                f"{rules.max_len} tokens: raise --max-len-b to {needed} or, for music, far more."
            )


def _begin(families: TokenFamilies) -> GrammarState:
    return GrammarState(families.representation)


def _read_grammar(number: int, prompt: Tensor, families: TokenFamilies) -> GrammarState:
    state = _begin(families)
    for place, token in enumerate(prompt.tolist()[1:], start=1):
        try:
            state.advance(families.dictionary[token])
        except TokenError as error:
            raise UserError(
                f"Prompt {number} breaks the grammar at token {place}: {error}. "
                f"Mend the prompt, or pass --no-grammar to write without the grammar."
            ) from None
    return state
