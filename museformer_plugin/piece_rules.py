"""What a stream may write next: the token grammar, no pitch twice in a chord, and the bounds of a piece's length."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

import torch
from torch import Tensor

from data_prep.tokens.grammar import tokens_to_end_bar
from data_prep.tokens.vocabulary import REPRESENTATIONS

from .grammar import StreamGrammar
from .steering.stream_orders import StreamOrders
from .token_families import TokenFamilies

# From any place of the grammar a bar can be ended and the piece closed within this many tokens.
TOKENS_TO_CLOSE = max(map(tokens_to_end_bar, REPRESENTATIONS.values())) + 1

_Count = TypeVar("_Count", int, Tensor)


class PieceRules:
    """Rules for all pieces of a run.

    Args:
        families: of the dictionary.
        min_len, max_len: bounds of a piece's tokens, the prompt and ``</s>`` included.
        grammar: whether to keep to the token grammar, so that every piece decodes.
    """

    def __init__(self, families: TokenFamilies, min_len: int, max_len: int, grammar: bool = True) -> None:
        self.end_of_bar = families.end_of_bar
        self.dictionary = families.dictionary
        self.min_len, self.max_len = min_len, max_len
        self.grammar = grammar

    def has_ended(self, tokens: Sequence[int]) -> bool:
        """Whether a piece of these tokens, without the begin token, is over."""
        return list(tokens[-1:]) == [self.dictionary.eos()] or len(tokens) >= self.max_len

    def may_end(self, tokens: Sequence[int]) -> bool:
        """Whether one token more may end a piece of these tokens, by the grammar or by its length."""
        return list(tokens[-1:]) == [self.end_of_bar] or len(tokens) + 1 >= self.max_len

    def is_closing(self, length: _Count, tokens_left: _Count) -> Any:
        """Whether pieces of such lengths, which get so many tokens more at least, have no room for others: bool [B]."""
        return length + tokens_left + TOKENS_TO_CLOSE >= self.max_len

    def allowed(
        self, lengths: Tensor, grammar: StreamGrammar, logits: Tensor, orders: StreamOrders | None = None
    ) -> Tensor:
        """bool [B, V]: what pieces, of which there are int64 [B] tokens so far, may go on with.

        ``orders``: what is to be written, where something is. All is done where the tensors are, and nothing read.
        """
        if not self.grammar:
            return self._of_length(lengths, grammar, logits)
        once = grammar.has_note()
        if orders is not None:  # notes of given tracks come as they are
            once &= ~orders.in_given_track
        by_grammar = grammar.allowed(once)
        allowed = self._closing(lengths, grammar, by_grammar)
        return allowed if orders is None else self._ordered(lengths, grammar, by_grammar, allowed, orders)

    def _ordered(
        self, lengths: Tensor, grammar: StreamGrammar, by_grammar: Tensor, allowed: Tensor, orders: StreamOrders
    ) -> Tensor:
        """bool [B, V]: what requests leave of what the grammar allows: all their bars, no others.

        ``allowed``: where a piece may end before all bars are written.
        """
        wanted = orders.allowed()
        ordered = by_grammar & wanted
        closing = self.is_closing(lengths, orders.tokens_left())
        end_bar = closing & ordered[:, self.end_of_bar]
        ordered = torch.where(end_bar[:, None], grammar.end_of_bar_alone, ordered)
        ordered = torch.where(orders.may_end_early[:, None], allowed & wanted, ordered)
        return torch.where(orders.are_written()[:, None], grammar.end_alone, ordered)

    def _of_length(self, lengths: Tensor, grammar: StreamGrammar, logits: Tensor) -> Tensor:
        """bool [B, V] without the grammar: the bounds of the length alone."""
        eos = self.dictionary.eos()
        allowed = torch.ones_like(logits, dtype=torch.bool)
        for never in (self.dictionary.bos(), self.dictionary.pad(), self.dictionary.unk()):
            allowed[:, never].fill_(False)
        allowed[:, eos] = lengths + 1 >= self.min_len
        last = lengths + 1 >= self.max_len
        return torch.where(last[:, None], grammar.end_alone, allowed)

    def _closing(self, lengths: Tensor, grammar: StreamGrammar, by_grammar: Tensor) -> Tensor:
        """bool [B, V]: of what the grammar allows, what leaves room to close each piece."""
        eos = self.dictionary.eos()
        allowed = by_grammar.clone()
        # an empty piece has no bar and does not decode
        allowed[:, eos] &= lengths >= max(1, self.min_len - 1)
        begins_to_close = self.max_len - TOKENS_TO_CLOSE
        end_bar = (lengths >= begins_to_close) & grammar.may_end_bar()
        allowed = torch.where(end_bar[:, None], grammar.end_of_bar_alone, allowed)
        # a piece that would be too short takes an empty bar more, where there is room for one and </s>
        long_enough = max(1, min(self.min_len - 1, self.max_len - 2))
        end_piece = (lengths >= max(begins_to_close, long_enough)) & grammar.at_bar_end()
        return torch.where(end_piece[:, None], grammar.end_alone, allowed)
