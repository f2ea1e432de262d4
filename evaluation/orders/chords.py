"""Chords of half bars, and how much of an accompaniment they explain.

The chord of a half bar is the template that is nearest, by cosine, to how long each pitch class sounds in it (as in
Fujishima, Realtime Chord Recognition of Musical Sound, 1999): on each of twelve roots the major, minor and diminished
triad, the dominant, minor and major seventh. Of equal ones it is the first of that list, and the lowest root. A half
bar in which nothing sounds has no chord.
"""

from __future__ import annotations

import numpy as np

from data_prep.tokens.coded_notes import BAR, DURATION, ONSET, PITCH
from data_prep.tokens.vocabulary import MAX_DURATION_ID, POSITIONS_PER_WHOLE, duration_of

HALF_BAR = POSITIONS_PER_WHOLE // 2  # positions
_QUALITIES = ((0, 4, 7), (0, 3, 7), (0, 3, 6), (0, 4, 7, 10), (0, 3, 7, 10), (0, 4, 7, 11))
_DURATIONS = np.array([duration_of(id_) for id_ in range(MAX_DURATION_ID + 1)])


def _templates() -> np.ndarray:
    """bool [chords, 12]: the pitch classes of each."""
    found = np.zeros((len(_QUALITIES), 12, 12), dtype=bool)
    for quality, tones in enumerate(_QUALITIES):
        for root in range(12):
            found[quality, root, (root + np.array(tones)) % 12] = True
    return found.reshape(-1, 12)


TEMPLATES = _templates()
SILENT = -1  # instead of a chord


def chroma(notes: np.ndarray, bars: int) -> np.ndarray:
    """float64 [2 * bars, 12]: for how many positions notes of each pitch class sound in each half bar.

    ``notes``: int64 [N, 6] in 4/4, without drums, bars counted from 0. What sounds behind the last bar is left out.
    """
    starts = notes[:, BAR] * POSITIONS_PER_WHOLE + notes[:, ONSET]
    ends = np.minimum(starts + _DURATIONS[notes[:, DURATION]], bars * POSITIONS_PER_WHOLE)
    found = np.zeros((2 * bars, 12))
    for half in range(2 * bars):
        sounding = np.minimum(ends, (half + 1) * HALF_BAR) - np.maximum(starts, half * HALF_BAR)
        here = sounding > 0
        found[half] = np.bincount(notes[here, PITCH] % 12, sounding[here], minlength=12)
    return found


def chord_indices(sounding: np.ndarray) -> np.ndarray:
    """int64 [n]: the chord of each half bar, its place in TEMPLATES, or SILENT.

    ``sounding``: float64 [n, 12], as ``chroma`` gives it.
    """
    unit = TEMPLATES / np.sqrt(TEMPLATES.sum(axis=1, keepdims=True))
    return np.where(sounding.any(axis=1), np.round(sounding @ unit.T, 9).argmax(axis=1), SILENT)


def chord_tones(sounding: np.ndarray) -> np.ndarray:
    """bool [n, 12]: the pitch classes of the same chords, none where it is silent."""
    chords = chord_indices(sounding)
    return TEMPLATES[chords] & (chords != SILENT)[:, None]


def agreement(sounding: np.ndarray, tones: np.ndarray) -> tuple[float, float]:
    """How long what sounds, float64 [n, 12], is a chord tone, bool [n, 12], and how long it sounds, in positions.

    Half bars without a chord do not count.
    """
    has_chord = tones.any(axis=1)
    return float((sounding * tones).sum()), float(sounding[has_chord].sum())
