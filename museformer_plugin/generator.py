"""Writing pieces: prompts read at once, then one token of every stream a step, under the grammar.

fairseq's own generator copies all tokens and reorders all state at every step, which pieces of
20,000 tokens cannot afford; this one stands in its place with the same call and the same result.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

import numpy as np
import torch
from fairseq.models import FairseqModel
from torch import Tensor

from data_prep.tokens.grammar import GrammarState
from data_prep.tokens.vocabulary import TokenError

from .errors import UserError
from .grammar import StreamGrammar
from .models.protocol import BarAwareModel, DecodingState
from .piece_rules import TOKENS_TO_CLOSE, PieceRules
from .pieces_under_way import PieceUnderWay, Progress
from .sampling import SamplingOptions, choose_tokens
from .steering.bars_to_write import BarsToWrite
from .steering.request import Request

logger = logging.getLogger(__name__)


class _Entrance:
    """Prompts on their way into the batch; ``states`` are where they leave the grammar, ``requests`` what they ask."""

    def __init__(
        self,
        decoder: BarAwareModel,
        prompts: Sequence[Tensor],
        states: Sequence[GrammarState],
        requests: Sequence[Request] | None,
    ) -> None:
        self._decoder = decoder
        self._prompts, self._states, self._requests = prompts, states, requests
        self._latest: tuple[tuple[int, ...], Tensor, DecodingState] | None = None

    def _read(self, examples: Sequence[int]) -> tuple[list[Tensor], DecodingState]:
        guides = None if self._requests is None else [self._requests[example].guide for example in examples]
        return self._decoder.read_prompts([self._prompts[example] for example in examples], guides)

    def _key(self, example: int) -> tuple[int, ...]:
        """The same of examples that are continued alike, so that one reading will do."""
        return tuple(self._prompts[example].tolist()) if self._requests is None else (example,)

    def open(self, examples: Sequence[int]) -> tuple[Tensor, DecodingState, StreamGrammar]:
        """Logits [B, V], streams and grammar of the first pieces, which continue these prompts."""
        # a prompt that several pieces share is read once
        places: dict[tuple[int, ...], int] = {}
        of_piece = [places.setdefault(self._key(example), len(places)) for example in examples]
        logits, streams = self._read([examples[of_piece.index(place)] for place in range(len(places))])
        streams.select(of_piece)
        latest = torch.stack([logits[place][-1] for place in of_piece])
        states = [self._states[example] for example in examples]
        return latest, streams, StreamGrammar(self._decoder.families, states, latest.device)

    def enter(self, example: int, number: int, streams: DecodingState) -> tuple[Tensor, GrammarState]:
        """Put a stream that continues this prompt in place of ``number``; the logits [1, V] and the grammar of it."""
        key = self._key(example)
        if self._latest is None or self._latest[0] != key:  # pieces of one prompt come one after the other
            (logits,), one = self._read([example])
            self._latest = key, logits[-1:].clone(), one
        streams.put(number, self._latest[2])
        return self._latest[1], self._states[example]


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
    def _bars(self, pieces: list[PieceUnderWay], entrance: _Entrance) -> Iterator[list[int]]:
        begin = len(pieces[0].tokens)
        for piece in self._write(pieces, entrance):
            yield piece.tokens[begin:]
            begin = len(piece.tokens)

    def _begin(self, sample: dict[str, Any], prefix_tokens: Tensor | None) -> tuple[list[PieceUnderWay], _Entrance]:
        prompts = self._prompts(sample, prefix_tokens)
        requests = self._requests(sample, prompts)
        if requests:
            prompts = [torch.cat([p[:1], p.new_tensor(request.prompt())]) for p, request in zip(prompts, requests)]
        self._check_room(prompts, requests)
        states = [self._read_grammar(n, p) for n, p in enumerate(prompts)]
        entrance = _Entrance(self.decoder, prompts, states, requests)
        pieces = [
            PieceUnderWay(example, prompt.tolist()[1:], self._order(requests[example]) if requests else None)
            for example, prompt in enumerate(prompts)
            for _ in range(self.pieces_per_prompt)
        ]
        return pieces, entrance

    def _prompts(self, sample: dict[str, Any], prefix_tokens: Tensor | None) -> list[Tensor]:
        source = sample["net_input"]["src_tokens"]
        if prefix_tokens is not None:
            begin = source.new_full((len(source), 1), self.dictionary.eos())
            source = torch.cat([begin, prefix_tokens], dim=1)
        lengths = (source != self.dictionary.pad()).sum(dim=1)
        if prefix_tokens is None and "prompt_lengths" in sample:
            lengths = sample["prompt_lengths"]
        return [row[:length] for row, length in zip(source, lengths.tolist())]

    def _requests(self, sample: dict[str, Any], prompts: Sequence[Tensor]) -> list[Request] | None:
        if self.ask is None:
            return sample.get("requests")
        rows = sample["net_input"]["src_tokens"].cpu()
        pieces = [row[row != self.dictionary.pad()].numpy()[1:] for row in rows]
        return [self.ask(piece, len(prompt) - 1) for piece, prompt in zip(pieces, prompts)]

    def _check_room(self, prompts: Sequence[Tensor], requests: Sequence[Request] | None) -> None:
        """Raises UserError where a prompt leaves no room, or too little for what is to be written."""
        longest = max(len(prompt) for prompt in prompts)
        if longest - 1 + TOKENS_TO_CLOSE > self.rules.max_len:
            raise UserError(
                f"A prompt of {longest - 1} tokens leaves no room in pieces of at most {self.rules.max_len} tokens: "
                f"raise --max-len-b or give fewer bars with --prompt-bars."
            )
        for prompt, request in zip(prompts, requests or ()):
            needed = len(prompt) + self._order(request).tokens_left() + TOKENS_TO_CLOSE
            if needed > self.rules.max_len:
                raise UserError(
                    f"{len(prompt) - 1} given tokens and {len(request.written)} bars to write have no room in "
                    f"{self.rules.max_len} tokens: raise --max-len-b to {needed} or, for music, far more."
                )

    def _order(self, request: Request) -> BarsToWrite:
        return BarsToWrite(request, self.decoder.families, self.random.device)

    def _read_grammar(self, number: int, prompt: Tensor) -> GrammarState:
        state = GrammarState(self.decoder.families.representation)
        if not self.rules.grammar:
            return state
        for place, token in enumerate(prompt.tolist()[1:], start=1):
            try:
                state.advance(self.dictionary[token])
            except TokenError as error:
                raise UserError(
                    f"Prompt {number + 1} breaks the grammar at token {place}: {error}. "
                    f"Mend the prompt, or pass --no-grammar to write without the grammar."
                ) from None
        return state

    def _write(self, pieces: list[PieceUnderWay], entrance: _Entrance) -> Iterator[PieceUnderWay]:
        """Write all pieces, some at a time; as one ends the next enters, and at last the batch shrinks.

        Yields a piece whenever it has ended a bar.
        """
        progress = Progress(pieces, self.rules.max_len, self.decoder.families.end_of_bar, self._shows_progress)
        try:
            yield from self._write_on(pieces, entrance, progress)
        finally:
            progress.close()

    def _write_on(
        self, pieces: list[PieceUnderWay], entrance: _Entrance, progress: Progress
    ) -> Iterator[PieceUnderWay]:
        waiting = deque(pieces)
        writing = [waiting.popleft() for _ in range(min(self.at_once or len(pieces), len(pieces)))]
        logits, streams, states = entrance.open([piece.example for piece in writing])
        while True:
            tokens = self._choose(writing, states, logits, progress)
            for n, piece in enumerate(writing):
                while waiting and self.rules.has_ended(piece.tokens):
                    piece = writing[n] = waiting.popleft()
                    first_logits, state = entrance.enter(piece.example, n, streams)
                    states.put(n, state)
                    tokens[n] = self._choose([piece], states.only(n), first_logits, progress)[0]
            yield from (piece for piece in writing if piece.tokens[-1] == self.decoder.families.end_of_bar)
            going_on = [n for n, piece in enumerate(writing) if not self.rules.has_ended(piece.tokens)]
            if not going_on:
                return
            if len(going_on) < len(writing):
                writing = [writing[n] for n in going_on]
                kept = torch.tensor(going_on, device=tokens.device)
                streams.select(going_on)
                states.select(kept)
                tokens = tokens[kept]
            if self.rules.grammar:
                states.advance(tokens)
            logits = self.decoder.step(tokens, streams)

    def _choose(
        self, writing: list[PieceUnderWay], states: StreamGrammar, logits: Tensor, progress: Progress
    ) -> Tensor:
        """The next token of every stream, int64 [B], appended to its piece."""
        orders = [piece.order for piece in writing]
        allowed = self.rules.allowed([piece.tokens for piece in writing], states, logits, orders)
        tokens, scores = choose_tokens(logits, allowed, self.options, self.random)
        for piece, token, score in zip(writing, tokens.tolist(), scores.tolist()):
            piece.tokens.append(token)
            piece.scores.append(score)
            if piece.order is not None:
                piece.order.advance(token)
            progress.wrote(piece, self.rules.has_ended(piece.tokens), len(writing))
        return tokens
