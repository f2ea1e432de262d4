"""What streams are given next: what is allowed, the choice, and where the choice leaves them, all on the device."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from data_prep.tokens.grammar import GrammarState

from .fc_attention.kept_memory import reordered
from .grammar import StreamGrammar
from .piece_rules import TOKENS_TO_CLOSE, PieceRules
from .pieces_under_way import PieceUnderWay
from .sampling import SamplingOptions, choose_tokens
from .steering.bars_to_write import BarsToWrite
from .steering.stream_orders import StreamOrders
from .token_families import TokenFamilies


class NextTokens:
    """Where B pieces stand by the rules, in tensors that are changed in place.

    Between two calls of ``choose`` the host need not know what was chosen, but where notes are given
    (``has_given_notes``): those are followed on the host, which must be told each token and call ``hold_given``.

    Args:
        rules, options: what may be written, and how it is chosen.
        random: of the sampling.
        families: of the dictionary.
        pieces: with their tokens so far.
        states: where these leave the grammar.
        device: of the model.
    """

    def __init__(
        self,
        rules: PieceRules,
        options: SamplingOptions,
        random: torch.Generator,
        families: TokenFamilies,
        pieces: Sequence[PieceUnderWay],
        states: Sequence[GrammarState],
        device: torch.device,
    ) -> None:
        self._rules, self._options, self.random = rules, options, random
        self._grammar = StreamGrammar(families, states, device)
        self._lengths = torch.tensor([len(piece.tokens) for piece in pieces], device=device)
        orders = [piece.order for piece in pieces if piece.order is not None]
        self._orders = StreamOrders(orders, families, device, options.repeat_temperature) if orders else None

    @property
    def has_given_notes(self) -> bool:
        """Whether the host must know a token before the next is chosen."""
        return self._orders is not None and self._orders.has_given_notes

    def choose(self, logits: Tensor) -> Tensor:
        """The next tokens from logits [B, V]: int64 [B, 2], tokens and, as bits of float32, their scores.

        See ``choose_tokens``; what is asked for may change logits before. Nothing is read by the host.
        """
        allowed = self._rules.allowed(self._lengths, self._grammar, logits, self._orders)
        if self._orders is not None:
            logits = self._orders.lean(logits)
        tokens, scores = choose_tokens(logits, allowed, self._options, self.random)
        known = tokens.clamp(min=0)
        if self._rules.grammar:
            self._grammar.advance(known)
        self._lengths += 1
        if self._orders is not None:
            self._orders.advance(known)
        return torch.stack([tokens, scores.view(torch.int32).long()], dim=1)

    def hold_given(self, pieces: Sequence[PieceUnderWay]) -> None:
        """Bring what given notes refuse to the device, all tokens of the pieces being known."""
        orders = [piece.order for piece in pieces if piece.order is not None]
        if self._orders is None or not self._orders.has_given_notes:
            return
        closing = []
        for piece, order in zip(pieces, orders):
            if order.begins_bar and self._is_closing(piece, order):
                order.release()
            closing.append(self._is_closing(piece, order))
        self._orders.hold(orders, closing)

    def _is_closing(self, piece: PieceUnderWay, order: BarsToWrite) -> bool:
        """Whether no more than must be fits. A piece of any length is closed whatever its bars still must hold, so that
        these must be over before."""
        more = TOKENS_TO_CLOSE if order.request.open_ended else 0
        return bool(self._rules.is_closing(len(piece.tokens), order.tokens_left() + more))

    def select(self, indices: Sequence[int]) -> None:
        """Keep these pieces, in this order."""
        self._lengths = reordered(self._lengths, indices, 0)
        self._grammar.select(indices)
        if self._orders is not None:
            self._orders.select(indices)

    def put(self, index: int, entering: NextTokens) -> None:
        """Let the one piece of ``entering`` take the place of ``index``."""
        self._lengths[index] = entering._lengths[0]
        self._grammar.put(index, entering._grammar)
        if self._orders is not None and entering._orders is not None:
            self._orders.put(index, entering._orders)

    def changed(self) -> list[Tensor]:
        """What ``choose`` changes, in place."""
        orders = [] if self._orders is None else self._orders.changed()
        return [self._lengths, *self._grammar.changed(), *orders]

    def read(self) -> list[Tensor]:
        """What it reads besides and what may move as pieces enter and leave."""
        return [] if self._orders is None else self._orders.read()
