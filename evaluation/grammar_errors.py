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
        self._find_rising_notes(families, values, pitch, wrong)
        return wrong

    @staticmethod
    def _find_rising_notes(families: np.ndarray, values: np.ndarray, pitch: np.ndarray, wrong: np.ndarray) -> None:
        """Mark in ``wrong`` the first part of each note, begun at ``pitch``, that rises over the note before.

        That is the last note spelled in full that no other instrument, onset or bar parts from it.
        """
        padded = np.concatenate([families, [_B, _B]])
        spelled = (padded[pitch + 1] == _D) & (padded[pitch + 2] == _V)
        latest = np.concatenate([[-1], _latest(spelled)[:-1]]) if len(pitch) else pitch
        after, before = pitch[latest >= 0], pitch[latest[latest >= 0]]
        group = np.cumsum(np.isin(families, (_I, _O, _B)))
        together = group[after] == group[before]
        after, before = after[together], before[together]
        for part, family in enumerate((_P, _D, _V)):
            begun = padded[after + part] == family
            after, before = after[begun], before[begun]
            wrong[after[values[after + part] > values[before + part]] + part] = True
            equal = values[after + part] == values[before + part]
            after, before = after[equal], before[equal]


_DEFAULT_LENGTH = bar_length(*DEFAULT_METRE)


def _latest(marked: np.ndarray) -> np.ndarray:
    """int64: for each token the place of the latest marked one up to it, -1 when there is none."""
    return np.maximum.accumulate(np.where(marked, np.arange(len(marked)), -1)) if len(marked) else marked.astype(int)


def _earlier(marked: np.ndarray, barrier: np.ndarray, values: np.ndarray) -> np.ndarray:
    """int64: for each token the value of the latest marked token before it and after the latest barrier, or -1."""
    place = np.concatenate([[-1], _latest(marked)[:-1]]) if len(marked) else marked.astype(int)
    return np.where(place > _latest(barrier), values[place], -1)
