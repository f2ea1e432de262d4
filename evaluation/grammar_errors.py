"""Count the tokens that break the grammar, so that models sampled without its constraint can be compared.

A token is an error when it may not follow the token before it, or when it breaks an order inside its bar
(onsets rise and stay inside the bar, instruments rise, notes fall, drums have pitches of their own), given
the tokens as they stand. A symbol that is in no piece is one error and is then overlooked; so is an end of
the piece elsewhere than after ``b-1``. Pieces without errors are those of ``data_prep.grammar``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_prep.grammar import FAMILIES, NO_FAMILY, coded_symbols, successions
from data_prep.vocabulary import (
    DEFAULT_METRE,
    DRUM_PITCH_OFFSET,
    DRUMS,
    METRES,
    Representation,
    bar_length,
)

_B, _S, _O, _T, _I, _P, _D, _V = range(len(FAMILIES))


class GrammarErrors:
    """Finds errors in pieces of one representation."""

    def __init__(self, representation: Representation) -> None:
        symbols = representation.symbols()
        families, values = coded_symbols(symbols, representation)
        self._codes = dict(zip(symbols, zip(families.tolist(), values.tolist())))
        self._follows = successions(representation)
        self._drums = representation.instruments.index(DRUMS)
        self._bar_lengths = np.array([bar_length(*metre) for metre in METRES])

    def places(self, tokens: Sequence[str]) -> np.ndarray:
        """int64, rising: which tokens are errors, from 0; the number of tokens stands for a missing end."""
        coded = np.array([self._codes.get(token, (NO_FAMILY, 0)) for token in tokens], dtype=np.int64).reshape(-1, 2)
        known = np.flatnonzero(coded[:, 0] != NO_FAMILY)
        families, values = coded[known].T
        wrong = ~self._follows[np.concatenate([[_B], families[:-1]]), families] if len(families) else families > 0
        wrong |= self._out_of_order(families, values)
        places = np.concatenate([known[wrong], np.flatnonzero(coded[:, 0] == NO_FAMILY)])
        if not len(families) or families[-1] != _B:
            places = np.append(places, len(tokens))
        return np.sort(places)

    def _out_of_order(self, families: np.ndarray, values: np.ndarray) -> np.ndarray:
        """bool [n]: tokens that break an order inside their bar."""
        onset = families == _O
        wrong = onset & (values <= _earlier(onset, families == _B, values))
        metre = _latest(families == _S)
        lengths = np.where(metre >= 0, self._bar_lengths[np.where(metre >= 0, values[metre], 0)], _DEFAULT_LENGTH)
        wrong |= onset & (values >= lengths)
        instrument = families == _I
        wrong |= instrument & (values <= _earlier(instrument, onset | (families == _B), values))

        pitch = np.flatnonzero(families == _P)
        played = _latest(instrument)[pitch]
        drums = values[played] == self._drums
        wrong[pitch] |= (played >= 0) & ((values[pitch] >= DRUM_PITCH_OFFSET) != drums)
        # Notes spelled in full, and the one before each that no other instrument, onset or bar parts from it.
        whole = pitch[pitch + 2 < len(families)]
        whole = whole[(families[whole + 1] == _D) & (families[whole + 2] == _V)]
        group = np.cumsum(instrument | onset | (families == _B))[whole]
        before, after = whole[:-1][np.diff(group) == 0], whole[1:][np.diff(group) == 0]
        undecided = np.ones(len(after), dtype=bool)  # while pitch, then duration, are those of the note before
        for part in range(3):
            wrong[after[undecided & (values[after + part] > values[before + part])] + part] = True
            undecided &= values[after + part] == values[before + part]
        return wrong


_DEFAULT_LENGTH = bar_length(*DEFAULT_METRE)


def _latest(marked: np.ndarray) -> np.ndarray:
    """int64: for each token the place of the latest marked one up to it, -1 when there is none."""
    return np.maximum.accumulate(np.where(marked, np.arange(len(marked)), -1)) if len(marked) else marked.astype(int)


def _earlier(marked: np.ndarray, barrier: np.ndarray, values: np.ndarray) -> np.ndarray:
    """int64: for each token the value of the latest marked token before it and after the latest barrier, or -1."""
    place = np.concatenate([[-1], _latest(marked)[:-1]]) if len(marked) else marked.astype(int)
    return np.where(place > _latest(barrier), values[place], -1)
