"""Training pieces in other keys: each epoch reads a piece in another of those that keep its pitches in range."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from data_prep.tokens.vocabulary import DRUM_PITCH_OFFSET

from .token_families import TokenFamilies

# semitones: the twelve keys, each by the nearest way
_LOWEST_SHIFT, _HIGHEST_SHIFT = -6, 5


class Transposition:
    """Which key a piece is read in, and the piece in it; a function of the seed, the epoch and the piece's index.

    A piece goes through all its keys, its own too, in an order of its own, before one comes again. All pitches but
    those of drums, which are sounds and have ids of their own, move by the same shift, so that the order of notes and
    with it the grammar stay.

    Args:
        families: of the dictionary.
        seed: of the order of keys.
        turns: how many data folders take turns, so that a piece is read once in so many epochs.
    """

    def __init__(self, families: TokenFamilies, seed: int, turns: int = 1) -> None:
        self._seed = seed
        self._turns = turns
        dictionary = families.dictionary
        self._tokens = np.array([dictionary.index(f"p-{pitch}") for pitch in range(DRUM_PITCH_OFFSET)])  # by pitch
        self._pitches = np.full(len(dictionary), -1)  # by token; of those that have none, -1
        self._pitches[self._tokens] = np.arange(DRUM_PITCH_OFFSET)

    def shifts_of(self, tokens: Tensor) -> range:
        """Semitones by which a piece, int [n], may move without leaving the range of pitches; 0 is one of them."""
        pitches = self._pitches[tokens.numpy()]
        pitches = pitches[pitches >= 0]
        if not len(pitches):
            return range(1)
        highest = DRUM_PITCH_OFFSET - 1 - int(pitches.max())
        return range(max(_LOWEST_SHIFT, -int(pitches.min())), min(_HIGHEST_SHIFT, highest) + 1)

    def shift(self, index: int, tokens: Tensor, epoch: int) -> int:
        """By how many semitones the piece of this index is moved in an epoch, counted from 1."""
        shifts = np.random.default_rng([self._seed, index]).permutation(self.shifts_of(tokens))
        return int(shifts[(epoch - 1) // self._turns % len(shifts)])

    def __call__(self, index: int, tokens: Tensor, epoch: int) -> Tensor:
        """The piece, int [n], as it is read in an epoch."""
        pitches = self._pitches[tokens.numpy()]
        moved = torch.from_numpy(self._tokens[pitches + self.shift(index, tokens, epoch)]).to(tokens.dtype)
        return torch.where(torch.from_numpy(pitches >= 0), moved, tokens)
