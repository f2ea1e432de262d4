"""Whose n-grams are the training set's: the share of a piece's runs of n tokens that occur in a training piece.

Real pieces have the same share of their own: what is far above it was learnt by heart, what is far below it no
training piece would say.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np

ORDERS = (2, 3, 4, 5, 6, 7, 8)
_PIECES_AT_ONCE = 64


class KnownNgrams(NamedTuple):
    """``known`` of ``total`` n-grams of each piece occur in the training set, int64 [pieces, orders] both."""

    known: np.ndarray
    total: np.ndarray


class _Ngrams:
    """All n-grams of pieces laid end to end, one token longer with every call of ``extend``.

    ``codes`` int64 [n-grams], one for each distinct (n - 1)-gram before and last token; ``starts`` where they begin.
    """

    def __init__(self, pieces: Sequence[np.ndarray]) -> None:
        self.tokens = np.concatenate([*pieces, np.zeros(0, dtype=np.int64)]).astype(np.int64)
        self.owners = np.repeat(np.arange(len(pieces)), [len(piece) for piece in pieces])
        self.starts = np.arange(len(self.tokens))
        self.codes = np.zeros(len(self.tokens), dtype=np.int64)
        self.order = 0

    def extend(self, num_tokens: int) -> None:
        """By the next token, of which there are ``num_tokens``; n-grams that end with their piece are left out."""
        ends = self.starts + self.order
        inside = ends < len(self.tokens)
        inside[inside] = self.owners[ends[inside]] == self.owners[self.starts[inside]]
        self.keep(inside)
        self.codes = self.codes * num_tokens + self.tokens[ends[inside]]
        self.order += 1

    def keep(self, kept: np.ndarray) -> None:
        """Only these, bool [n-grams]."""
        self.starts, self.codes = self.starts[kept], self.codes[kept]


def known_ngrams(
    training: Iterable[np.ndarray], pieces: Sequence[np.ndarray], num_tokens: int, orders: Sequence[int] = ORDERS
) -> KnownNgrams:
    """Of ``pieces``, int [n] each of numbers below ``num_tokens``, and each of ``orders``.

    An n-gram counts as often as it occurs. ``training`` is read in parts, so that it need not fit into memory.
    """
    ours = _Ngrams(pieces)
    distinct, of_pieces = [], []
    for _ in range(max(orders)):
        ours.extend(num_tokens)
        found, ours.codes = np.unique(ours.codes, return_inverse=True)
        distinct.append(found)
        of_pieces.append((ours.codes, ours.owners[ours.starts]))
    learnt = [np.zeros(len(found), dtype=bool) for found in distinct]
    training = iter(training)
    while part := list(islice(training, _PIECES_AT_ONCE)):
        _mark(_Ngrams(part), distinct, learnt, num_tokens)
    counts = [
        (np.bincount(owners, learnt[order - 1][codes], len(pieces)), np.bincount(owners, minlength=len(pieces)))
        for order in orders
        for codes, owners in [of_pieces[order - 1]]
    ]
    known, total = np.array(counts, dtype=np.int64).reshape(len(orders), 2, len(pieces)).transpose(1, 2, 0)
    return KnownNgrams(known, total)


def _mark(part: _Ngrams, distinct: Sequence[np.ndarray], learnt: Sequence[np.ndarray], num_tokens: int) -> None:
    """Mark as ``learnt``, of 1, 2, 3 ... tokens, those of the ``distinct`` n-grams that occur in a part of the set."""
    for found, marks in zip(distinct, learnt):
        if not len(found):
            return
        part.extend(num_tokens)
        ranks = np.minimum(np.searchsorted(found, part.codes), len(found) - 1)
        shared = found[ranks] == part.codes
        part.codes = ranks
        part.keep(shared)  # what goes on from the others is not among the distinct either
        marks[part.codes] = True
