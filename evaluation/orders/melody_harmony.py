"""What can be heard of a song's chords in its melody alone: the likeliest ones by a hidden Markov model.

As in MySong (Simon, Morris and Basu, 2008): a chord, of ``chords``, in each half bar, which depends on the one before,
and on whether it begins a bar; what sounds of the melody depends on its chord alone:

    log p(c, m) = log p(c_1) + sum_i log p(c_i | c_i-1, i mod 2) + sum_i sum_p m_i(p) log p(p | c_i)

m_i(p): for how many quarters pitch class p sounds in half bar i. All is counted in songs, from a little on, so that
nothing is impossible.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from data_prep.tokens.vocabulary import POSITIONS_PER_QUARTER

from .chords import SILENT, TEMPLATES

_UNSEEN = 0.01  # of a chord behind another
_UNSOUNDED = 0.5  # quarters of a pitch class under a chord


@dataclass(frozen=True)
class MelodyHarmony:
    """Logarithms of probabilities, float64: ``first`` [K] of chords, counted everywhere, ``follows`` [2, K, K] of the
    second behind the first in the first and second half of a bar, ``sounds`` [K, 12] of pitch classes of the melody."""

    first: np.ndarray
    follows: np.ndarray
    sounds: np.ndarray

    @staticmethod
    def learn(songs: Iterable[tuple[np.ndarray, np.ndarray]]) -> MelodyHarmony:
        """From the chords of songs, int64 [n] as of ``chord_indices``, and their melodies, float64 [n, 12] as of
        ``chroma``; of half bars both."""
        count = len(TEMPLATES)
        first = np.full(count, _UNSEEN)
        follows = np.full((2, count, count), _UNSEEN)
        sounds = np.full((count, 12), _UNSOUNDED)
        for chords, melody in songs:
            heard = chords != SILENT
            np.add.at(first, chords[heard], 1)
            np.add.at(sounds, chords[heard], melody[heard] / POSITIONS_PER_QUARTER)
            later = 1 + np.flatnonzero(heard[1:] & heard[:-1])
            np.add.at(follows, (later % 2, chords[later - 1], chords[later]), 1)
        return MelodyHarmony(
            *(np.log(counts / counts.sum(axis=-1, keepdims=True)) for counts in (first, follows, sounds))
        )

    def likeliest(self, melody: np.ndarray) -> np.ndarray:
        """The chords int64 [n] of the half bars of a melody, float64 [n, 12] (Viterbi)."""
        heard = melody / POSITIONS_PER_QUARTER @ self.sounds.T
        best = self.first + heard[0]
        before = np.zeros(heard.shape, dtype=np.int64)
        for half in range(1, len(heard)):
            behind = best[:, None] + self.follows[half % 2]
            before[half] = behind.argmax(axis=0)
            best = behind.max(axis=0) + heard[half]
        chords = np.empty(len(heard), dtype=np.int64)
        chords[-1] = best.argmax()
        for half in range(len(heard) - 1, 0, -1):
            chords[half - 1] = before[half, chords[half]]
        return chords
