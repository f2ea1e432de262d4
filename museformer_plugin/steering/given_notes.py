"""Tracks that are given in a bar: their notes are written as they are, and no others in these tracks."""

from __future__ import annotations

from collections.abc import Collection
from typing import NamedTuple

import numpy as np

from data_prep.tokens.vocabulary import LETTERS

from ..token_families import TokenFamilies

_BAR_END, _ONSET, _TEMPO, _INSTRUMENT, _PITCH = (LETTERS.index(letter) for letter in "botip")
_TOKENS_A_NOTE = 6  # at most: onset, tempo, instrument, pitch, duration, velocity


class _Note(NamedTuple):
    onset: int
    tempo: int  # a token; in representations whose onsets have one
    instrument: int
    tokens: tuple[int, ...]  # of its parts: pitch, duration, velocity


class GivenNotes:
    """Where a stream stands among the notes that its bar must hold.

    Args:
        part: the given tracks of the bar, int64 [n], a bar by the grammar.
        tracks: their instruments, as ranks.
        families: of the dictionary.
        others: whether other instruments may play in this bar.
    """

    def __init__(self, part: np.ndarray, tracks: Collection[int], families: TokenFamilies, others: bool) -> None:
        self._tracks = frozenset(tracks)
        self._others = others
        self._family, self._value = families.family_of_token, families.value_of_token
        self._notes = self._read(part)
        self._onset, self._instrument = -1, -1
        self._in_note = 0  # how many tokens of a given note have been written
        self._latest = _BAR_END  # family of the last token
        self._tempo_follows = "t" in families.representation.successors["o"]
        family, value = families.family_of_token, families.value_of_token
        self._onsets = np.where(family == _ONSET, value, -1)  # by token
        self._instruments = np.where(family == _INSTRUMENT, value, -1)
        self._pitches, self._bar_ends = family == _PITCH, family == _BAR_END

    def _read(self, part: np.ndarray) -> list[_Note]:
        notes, onset, tempo, instrument = [], -1, -1, -1
        for place, token in enumerate(part.tolist()):
            if self._family[token] == _ONSET:
                onset = int(self._value[token])
            elif self._family[token] == _TEMPO:
                tempo = token
            elif self._family[token] == _INSTRUMENT:
                instrument = int(self._value[token])
            elif self._family[token] == _PITCH:
                notes.append(_Note(onset, tempo, instrument, tuple(part[place : place + 3].tolist())))
        return notes[::-1]  # the next is the last

    @property
    def in_given_track(self) -> bool:
        """Whether the latest instrument is given."""
        return self._instrument in self._tracks

    def tokens_left(self) -> int:
        """Upper bound of how many tokens the notes still take."""
        return _TOKENS_A_NOTE * len(self._notes)

    def advance(self, token: int) -> None:
        """The stream has written this token of the bar."""
        family = self._latest = int(self._family[token])
        if family == _ONSET:
            self._onset, self._instrument = int(self._value[token]), -1
        elif family == _INSTRUMENT:
            self._instrument = int(self._value[token])
        elif self.in_given_track:
            self._in_note += 1
            if self._in_note == len(self._notes[-1].tokens):
                self._notes.pop()
                self._in_note = 0

    def refused(self, closing: bool) -> np.ndarray:
        """bool [V]: what may not come next; ``closing``: of other tracks as little as can be."""
        note = self._notes[-1] if self._notes else None
        here = note is not None and note.onset == self._onset
        if note is not None and here and self._latest == _ONSET and self._tempo_follows:
            return np.arange(len(self._family)) != note.tempo
        if self.in_given_track:
            if note is not None and here and note.instrument == self._instrument:
                return np.arange(len(self._family)) != note.tokens[self._in_note]
            refused = self._pitches.copy()  # the track has no more notes at this onset
        else:
            # an instrument has one note at least
            refused = self._pitches & (closing and self._latest != _INSTRUMENT)
        others = self._others and not closing
        refused |= np.isin(self._instruments, list(self._tracks))
        if not others and (here or self._latest not in (_ONSET, _TEMPO)):  # an onset has one instrument at least
            refused |= self._instruments >= 0
        if note is None:
            return refused if others else refused | (self._onsets >= 0)
        refused |= self._bar_ends
        if here:
            refused |= (self._onsets >= 0) | (self._instruments > note.instrument)
            return refused & (self._instruments != note.instrument)
        return refused | (self._onsets > note.onset if others else (self._onsets >= 0) & (self._onsets != note.onset))
