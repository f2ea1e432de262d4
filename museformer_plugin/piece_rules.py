"""What a stream may write next: the token grammar, no pitch twice in a chord, and the bounds of a piece's length."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from data_prep.tokens.grammar import tokens_to_end_bar
from data_prep.tokens.vocabulary import REPRESENTATIONS

from .grammar import StreamGrammar
from .steering.bars_to_write import BarsToWrite
from .token_families import TokenFamilies

# From any place of the grammar a bar can be ended and the piece closed within this many tokens.
TOKENS_TO_CLOSE = max(map(tokens_to_end_bar, REPRESENTATIONS.values())) + 1


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

    def allowed(
        self,
        pieces: Sequence[Sequence[int]],
        grammar: StreamGrammar,
        logits: Tensor,
        orders: Sequence[BarsToWrite | None] = (),
    ) -> Tensor:
        """bool [B, V]: what each piece, of which the tokens so far are given, may go on with.

        ``orders``: of each what is to be written, where something is.
        """
        if not self.grammar:
            return self._of_length(pieces, logits)
        given = [order is not None and order.in_given_track for order in orders]
        by_grammar = grammar.allowed()
        repeats = grammar.repeats_pitch()
        if any(given):  # notes of others come as they are
            repeats &= ~torch.tensor(given, device=repeats.device)[:, None]
        by_grammar &= ~repeats
        allowed = self._closing(pieces, grammar, by_grammar)
        for row, order in enumerate(orders):
            if order is None:
                continue
            if order.request.open_ended and not order.are_written:
                allowed[row] &= order.restrict(by_grammar[row], closing=False)
            else:
                allowed[row] = self._ordered(by_grammar[row], order, len(pieces[row]))
        return allowed

    def _ordered(self, by_grammar: Tensor, order: BarsToWrite, length: int) -> Tensor:
        """What a request leaves of what one piece of this length may go on with, bool [V]: all its bars, no others."""
        if order.are_written:
            return self.only(self.dictionary.eos(), by_grammar[None])[0]
        closing = length + order.tokens_left() + TOKENS_TO_CLOSE >= self.max_len
        allowed = order.restrict(by_grammar, closing)
        return self.only(self.end_of_bar, allowed[None])[0] if closing and allowed[self.end_of_bar] else allowed

    def _of_length(self, pieces: Sequence[Sequence[int]], logits: Tensor) -> Tensor:
        """bool [B, V] without the grammar: the bounds of the length alone."""
        eos = self.dictionary.eos()
        lengths = torch.tensor([len(tokens) for tokens in pieces], device=logits.device)
        allowed = torch.ones_like(logits, dtype=torch.bool)
        allowed[:, [self.dictionary.bos(), self.dictionary.pad(), self.dictionary.unk()]] = False
        allowed[:, eos] = lengths + 1 >= self.min_len
        last = lengths + 1 >= self.max_len
        return torch.where(last[:, None], self.only(eos, allowed), allowed)

    def _closing(self, pieces: Sequence[Sequence[int]], grammar: StreamGrammar, by_grammar: Tensor) -> Tensor:
        """bool [B, V]: of what the grammar allows, what leaves room to close each piece."""
        eos = self.dictionary.eos()
        lengths = torch.tensor([len(tokens) for tokens in pieces], device=by_grammar.device)
        allowed = by_grammar.clone()
        # an empty piece has no bar and does not decode
        allowed[:, eos] &= (lengths > 0) & (lengths + 1 >= self.min_len)
        closing = lengths + TOKENS_TO_CLOSE >= self.max_len
        end_bar = closing & grammar.may_end_bar()
        allowed = torch.where(end_bar[:, None], self.only(self.end_of_bar, allowed), allowed)
        # a piece that would be too short takes an empty bar more, where there is room for one and </s>
        long_enough = (lengths + 1 >= self.min_len) | (lengths + 3 > self.max_len)
        end_piece = closing & grammar.at_bar_end() & (lengths > 0) & long_enough
        return torch.where(end_piece[:, None], self.only(eos, allowed), allowed)

    @staticmethod
    def only(token: int, like: Tensor) -> Tensor:
        """One token alone: bool, of the shape of ``like``."""
        only = torch.zeros_like(like)
        only[:, token] = True
        return only
