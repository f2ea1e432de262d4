"""Pieces written token by token: the device goes on with the next token while the host reads the one before."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence

import numpy as np
import torch
from torch import Tensor

from .entrance import Entrance
from .late_reading import LateReading
from .next_tokens import NextTokens
from .piece_rules import PieceRules
from .pieces_under_way import PieceUnderWay, Progress
from .sampling import NOTHING_ALLOWED, SamplingOptions


class Writing:
    """All pieces of a run, some at a time; as one ends the next enters, and at last the batch shrinks.

    A step on the device reads the latest token of every stream and chooses the next. Its tokens come to the host in
    one copy, which is read when the step after it has been launched: that is in time for what a bar's end needs, as
    the token behind it is read by the step after that. Before a step is launched the host waits for the tokens that
    it reads only where one of them may end a piece, or where notes are given (see ``NextTokens``): behind a bar's end,
    when what the bar's end needs is already launched, at a piece's greatest length, and always without the grammar.

    So the streams, and with them the random numbers, are at every step what they would be if the host read each token
    before it went on.

    Args:
        rules, options: what may be written, and how it is chosen.
        random: of the sampling.
        entrance: the model, and the prompts that it reads.
        pieces: those to write, in their order.
        at_once: how many at a time.
        progress: told of every token.
    """

    def __init__(
        self,
        rules: PieceRules,
        options: SamplingOptions,
        random: torch.Generator,
        entrance: Entrance,
        pieces: Sequence[PieceUnderWay],
        at_once: int,
        progress: Progress,
    ) -> None:
        self._decoder, self._rules, self._options, self._random = entrance.decoder, rules, options, random
        self._entrance, self._progress = entrance, progress
        self._end_of_bar = self._decoder.families.end_of_bar
        self._waiting = deque(pieces)
        self._writing = [self._waiting.popleft() for _ in range(at_once)]
        logits, self._streams = entrance.open([piece.example for piece in self._writing])
        self._next = self._next_tokens(self._writing, logits.device)
        self._chosen = self._next.choose(logits)  # int64 [B, 2], not read yet
        self._reading = LateReading()

    def _next_tokens(self, pieces: Sequence[PieceUnderWay], device: torch.device) -> NextTokens:
        states = [self._entrance.states[piece.example] for piece in pieces]
        found = NextTokens(self._rules, self._options, self._random, self._decoder.families, pieces, states, device)
        found.hold_given(pieces)
        return found

    def pieces(self) -> Iterator[PieceUnderWay]:
        """Write; yields a piece whenever it has ended a bar."""
        while True:
            self._reading.begin(self._chosen)
            before = self._must_be_read()
            if before:
                self._read()
                yield from self._at_bar_ends()
                if not self._go_on():
                    return
            self._step()
            if not before:
                self._read()
                yield from self._at_bar_ends()
            ended = [n for n, piece in enumerate(self._writing) if piece.tokens[-1] == self._end_of_bar]
            self._decoder.end_bars(self._streams, ended)

    def _at_bar_ends(self) -> list[PieceUnderWay]:
        return [piece for piece in self._writing if piece.tokens[-1] == self._end_of_bar]

    def _must_be_read(self) -> bool:
        """Whether the host must know the tokens chosen last before the next step."""
        return (
            not self._rules.grammar
            or self._next.has_given_notes
            or any(self._rules.may_end(piece.tokens) for piece in self._writing)
        )

    def _step(self) -> None:
        """Launch the reading of the tokens chosen last, and the choice of the next."""
        following = self._next

        def step(tokens: Tensor) -> tuple[Tensor, Tensor]:
            logits = self._decoder.advance(tokens.clamp(min=0), self._streams)  # NOTHING_ALLOWED is told by ``_read``
            return logits, following.choose(logits)

        latest = self._chosen[:, 0]
        changed, read = following.changed(), following.read()
        _, self._chosen = self._streams.run(step, latest, changed, read, self._random)

    def _read(self) -> None:
        """Append the tokens chosen last to their pieces."""
        self._append(self._writing, self._reading.numbers())

    def _append(self, pieces: Sequence[PieceUnderWay], chosen: np.ndarray) -> None:
        """``chosen``: int64 [n, 2] as from ``NextTokens``."""
        tokens, bits = chosen.T
        if (tokens == NOTHING_ALLOWED).any():
            raise RuntimeError("a stream has no way to go on: nothing is allowed, or the model's logits are no numbers")
        for piece, token, score in zip(pieces, tokens.tolist(), bits.astype(np.int32).view(np.float32).tolist()):
            piece.append(token, score)
        ended = [self._rules.has_ended(piece.tokens) for piece in pieces]
        self._progress.wrote(pieces, ended, len(self._writing))

    def _go_on(self) -> bool:
        """Let pieces enter in place of those that have ended; whether there is any left. The tokens are known."""
        for n, piece in enumerate(self._writing):
            while self._waiting and self._rules.has_ended(piece.tokens):
                piece = self._writing[n] = self._waiting.popleft()
                self._enter(n, piece)
        going_on = [n for n, piece in enumerate(self._writing) if not self._rules.has_ended(piece.tokens)]
        if going_on and len(going_on) < len(self._writing):
            self._writing = [self._writing[n] for n in going_on]
            self._streams.select(going_on)
            self._next.select(going_on)
            self._chosen = self._chosen[going_on]
        self._next.hold_given(self._writing)
        return bool(going_on)

    def _enter(self, number: int, piece: PieceUnderWay) -> None:
        """Put a piece, and its first token, in place of stream ``number``."""
        logits = self._entrance.enter(piece.example, number, self._streams)
        alone = self._next_tokens([piece], logits.device)
        first = alone.choose(logits)
        self._next.put(number, alone)
        self._chosen[number] = first[0]
        self._append([piece], first.cpu().numpy())
