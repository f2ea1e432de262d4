"""Pieces as long as real ones for benchmarks: random tokens in bars of realistic lengths.

Bars have a mean of 158 tokens and a coefficient of variation of 0.5, as the six-track songs of the paper's corpus.
"""

from __future__ import annotations

import numpy as np
import torch
from fairseq.data import Dictionary
from torch import Tensor

from data_prep.tokens.vocabulary import SIX_TRACK

MEAN_BAR = 158
BAR_VARIATION = 0.5


def six_track_dictionary() -> Dictionary:
    """fairseq's dictionary of the six-track representation."""
    dictionary = Dictionary()
    for symbol in SIX_TRACK.symbols():
        dictionary.add_symbol(symbol)
    return dictionary


def bar_lengths(num_tokens: int, seed: int) -> list[int]:
    """Bar lengths, gamma-distributed, that add up to ``num_tokens``."""
    rng = np.random.default_rng(seed)
    shape = BAR_VARIATION**-2
    lengths: list[int] = []
    while sum(lengths) < num_tokens:
        lengths.append(max(2, round(rng.gamma(shape, MEAN_BAR / shape))))
    lengths[-1] -= sum(lengths) - num_tokens
    if lengths[-1] < 2 and len(lengths) > 1:
        last = lengths.pop()
        lengths[-1] += last
    return lengths


def random_piece(num_tokens: int, dictionary: Dictionary, seed: int) -> Tensor:
    """int64 [num_tokens]: the begin token, then random tokens in bars."""
    rng = np.random.default_rng(seed)
    tokens = rng.integers(dictionary.index("o-0"), dictionary.index("v-31"), num_tokens)
    tokens[np.cumsum(bar_lengths(num_tokens - 1, seed))] = dictionary.index("b-1")
    tokens[0] = dictionary.eos()
    return torch.from_numpy(tokens)
