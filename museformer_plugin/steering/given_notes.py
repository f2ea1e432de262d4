"""Tracks whose notes are given in a bar, by a song or by the bar that it repeats: they are written as they are, and no
others in these tracks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from data_prep.tokens.vocabulary import LETTERS

from ..token_families import TokenFamilies

_BAR_END, _METRE, _ONSET, _TEMPO, _INSTRUMENT, _PITCH = (LETTERS.index(letter) for letter in "bsotip")
_TOKENS_A_NOTE = 3  # pitch, duration and velocity


class GivenPart(NamedTuple):
    """What a bar must hold: those notes of ``tokens``, int64 [n], a bar by the grammar, that instruments ``tracks``, as
    ranks, play; ``tempo``: whether its onsets have the tempo that they have there."""

    tokens: np.ndarray
    tracks: Collection[int]
    tempo: bool


class _Note(NamedTuple):
    onset: int
    tempo: int  # a token, in representations whose onsets have one, or -1 for any
    instrument: int
    tokens: tuple[int, ...]  # of its parts: pitch, duration, velocity


class GivenNotes:
    """Where a stream stands among the notes that its bar must hold.

    Args:
        parts: of what the notes consist, no instrument in two of them, their metres the same.
        families: of the dictionary.
        others: whether other instruments may play in this bar.
    """

    def __init__(self, parts: Sequence[GivenPart], families: TokenFamilies, others: bool) -> None:
        self._tracks = frozenset[int]().union(*(part.tracks for part in parts))
        self._others = others
        self._family, self._value = families.family_of_token, families.value_of_token
        self._tempo_follows = "t" in families.representation.successors["o"]
        notes = [note for part in parts for note in self._read(part)]
        notes.sort(key=lambda note: (note.onset, note.instrument))
        self._hold(notes)
        metres = [token for part in parts for token in part.tokens.tolist() if self._family[token] == _METRE]
        self._metre = metres[0] if metres else -1
        self._onset, self._instrument = -1, -1
        self._in_note = 0  # how many tokens of a given note have been written
        self._latest = _BAR_END  # family of the last token
        family, value = families.family_of_token, families.value_of_token
        self._onsets = np.where(family == _ONSET, value, -1)  # by token
        self._instruments = np.where(family == _INSTRUMENT, value, -1)
        self._pitches, self._bar_ends, self._metres = family == _PITCH, family == _BAR_END, family == _METRE

    def _read(self, part: GivenPart) -> list[_Note]:
        notes, onset, tempo, instrument = [], -1, -1, -1
        for place, token in enumerate(part.tokens.tolist()):
            if self._family[token] == _ONSET:
                onset = int(self._value[token])
            elif self._family[token] == _TEMPO and part.tempo:
                tempo = token
            elif self._family[token] == _INSTRUMENT:
                instrument = int(self._value[token])
            elif self._family[token] == _PITCH and instrument in part.tracks:
                notes.append(_Note(onset, tempo, instrument, tuple(part.tokens[place : place + 3].tolist())))
        return notes

    def _hold(self, notes: Sequence[_Note]) -> None:
        """These notes are to come, in their order."""
        self._notes = list(notes)[::-1]  # the next is the last
        self._tokens = [0]  # that the last so many notes take, onsets and instruments named
        behind = None
        for note in self._notes:
            shared = behind is not None and behind.onset == note.onset
            of_onset = 0 if shared else 1 + self._tempo_follows
            of_instrument = 0 if shared and behind is not None and behind.instrument == note.instrument else 1
            self._tokens.append(self._tokens[-1] + _TOKENS_A_NOTE + of_onset + of_instrument)
            behind = note

    @property
    def in_given_track(self) -> bool:
        """Whether the latest instrument is given."""
        return self._instrument in self._tracks

    def release(self, tracks: Collection[int]) -> None:
        """Notes of these tracks are given no longer."""
        self._tracks -= frozenset(tracks)
        self._others = self._others or bool(tracks)
        self._hold([note for note in self._notes[::-1] if note.instrument not in tracks])
        self._in_note = self._in_note if self.in_given_track else 0

    def tokens_left(self) -> int:
        """How many tokens the notes still take."""
        left = self._tokens[len(self._notes)]
        if not self._notes or self._notes[-1].onset != self._onset:
            return left
        left -= 1 + (self._tempo_follows and self._latest != _ONSET)
        return left - self._in_note - (self._notes[-1].instrument == self._instrument)

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
        if self._latest == _BAR_END and self._metre >= 0:
            return self._metres & (np.arange(len(self._family)) != self._metre)
        note = self._notes[-1] if self._notes else None
        here = note is not None and note.onset == self._onset
        if note is not None and here and self._latest == _ONSET and self._tempo_follows:
            tempos = {note.tempo for note in self._notes if note.onset == self._onset} - {-1}
            return ~np.isin(np.arange(len(self._family)), list(tempos)) & bool(tempos)
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
