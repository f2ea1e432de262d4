"""Writing pieces: prompts read at once, then one token of every stream a step, under the grammar.

fairseq's own generator copies all tokens and reorders all state at every step, which pieces of
20,000 tokens cannot afford; this one stands in its place with the same call and the same result.
"""

from __future__ import annotations

import logging
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch
from fairseq.models import FairseqModel
from torch import Tensor
from tqdm import tqdm

from data_prep.tokens.grammar import GrammarState
from data_prep.tokens.vocabulary import TokenError

from .errors import UserError
from .grammar import StreamGrammar
from .models.protocol import BarAwareModel, DecodingState
from .piece_rules import TOKENS_TO_CLOSE, PieceRules
from .sampling import SamplingOptions, choose_tokens
from .steering.bars_to_write import BarsToWrite
from .steering.request import Request

logger = logging.getLogger(__name__)


@dataclass
class _Piece:
    """One stream's tokens, without the begin token."""

    example: int
    tokens: list[int]
    order: BarsToWrite | None = None
    scores: list[float] = field(default_factory=list)  # of the tokens written, not of the prompt

    def hypothesis(self, end_of_bar: int) -> dict[str, Any]:
        """In fairseq's form; the prompt's tokens score 0. The bars of a request come in their order in the piece."""
        positional = torch.zeros(len(self.tokens))
        if self.scores:
            positional[-len(self.scores) :] = torch.tensor(self.scores)
        tokens = torch.tensor(self.tokens)
        if self.order is not None:
            own = torch.from_numpy(self.order.request.assembled(self.tokens, end_of_bar))
            places = torch.cat([own, own.new_tensor([len(tokens) - 1])])  # and </s>
            tokens, positional = tokens[places], positional[places]
        return {
            "tokens": tokens,
            "score": positional.sum() / max(1, len(self.scores)),
            "attention": None,
            "alignment": torch.empty(0),
            "positional_scores": positional,
        }


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


class _Progress:
    """A bar that counts the tokens still to be written at most."""

    def __init__(self, pieces: Sequence[_Piece], max_len: int, end_of_bar: int) -> None:
        self._max_len, self._end_of_bar = max_len, end_of_bar
        self._bars = 0
        most = sum(max_len - len(piece.tokens) for piece in pieces)
        self._shown = tqdm(total=most, unit="token", desc="writing", mininterval=1.0, dynamic_ncols=True)

    def wrote(self, piece: _Piece, ended: bool, streams: int) -> None:
        """``piece`` has got a token, as one of ``streams``."""
        self._bars += piece.tokens[-1] == self._end_of_bar
        if ended:
            self._shown.total -= self._max_len - len(piece.tokens)
        self._shown.set_postfix(bars=self._bars, streams=streams, refresh=False)
        self._shown.update()

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._shown.close()


class MuseformerGenerator:
    """Stands where fairseq expects a ``SequenceGenerator``.

    Args:
        decoder: the model's decoder, in evaluation mode.
        options: how tokens are chosen.
        rules: what may be written.
        pieces_per_prompt: independent pieces for every prompt (``--beam``).
        at_once: pieces written at the same time; others enter as they end. 0: all (``--streams``).
        ask: makes the request of each example, of its tokens int64 [n] without begin token and of how many of them are
            the prompt; without it prompts are continued.
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
        self.random = torch.Generator(device).manual_seed(torch.initial_seed())
        logger.info("sampling with seed %d", torch.initial_seed())

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
        prompts = self._prompts(sample, prefix_tokens)
        requests = self._requests(sample, prompts)
        if requests:
            prompts = [torch.cat([p[:1], p.new_tensor(request.prompt())]) for p, request in zip(prompts, requests)]
        self._check_room(prompts, requests)
        states = [self._read_grammar(n, p) for n, p in enumerate(prompts)]
        entrance = _Entrance(self.decoder, prompts, states, requests)
        pieces = [
            _Piece(example, prompt.tolist()[1:], self._order(requests[example]) if requests else None)
            for example, prompt in enumerate(prompts)
            for _ in range(self.pieces_per_prompt)
        ]
        self._write(pieces, entrance)
        hypotheses: list[list[dict[str, Any]]] = [[] for _ in prompts]
        for piece in pieces:
            hypotheses[piece.example].append(piece.hypothesis(self.decoder.families.end_of_bar))
        return [sorted(found, key=lambda h: -h["score"]) for found in hypotheses]

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
            return None
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

    def _write(self, pieces: list[_Piece], entrance: _Entrance) -> None:
        """Write all pieces, some at a time; as one ends the next enters, and at last the batch shrinks."""
        waiting = deque(pieces)
        writing = [waiting.popleft() for _ in range(min(self.at_once or len(pieces), len(pieces)))]
        logits, streams, states = entrance.open([piece.example for piece in writing])
        progress = _Progress(pieces, self.rules.max_len, self.decoder.families.end_of_bar)
        while True:
            tokens = self._choose(writing, states, logits, progress)
            for n, piece in enumerate(writing):
                while waiting and self.rules.has_ended(piece.tokens):
                    piece = writing[n] = waiting.popleft()
                    first_logits, state = entrance.enter(piece.example, n, streams)
                    states.put(n, state)
                    tokens[n] = self._choose([piece], states.only(n), first_logits, progress)[0]
            going_on = [n for n, piece in enumerate(writing) if not self.rules.has_ended(piece.tokens)]
            if not going_on:
                progress.close()
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

    def _choose(self, writing: list[_Piece], states: StreamGrammar, logits: Tensor, progress: _Progress) -> Tensor:
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
