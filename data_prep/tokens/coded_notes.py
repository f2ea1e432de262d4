"""The notes of one piece whose tokens are coded as the dictionary codes them: for the data workers of training."""

from __future__ import annotations

import numpy as np

from data_prep.tokens.grammar import BAR_END
from data_prep.tokens.note_table import latest
from data_prep.tokens.vocabulary import LETTERS, MAX_DURATION_ID, Representation

BAR, INSTRUMENT, ONSET, PITCH, DURATION, VELOCITY = range(6)  # columns of a note
_ONSETS, _INSTRUMENTS, _PITCHES, _DURATIONS, _VELOCITIES = (LETTERS.index(letter) for letter in "oipdv")


def coded_notes(families: np.ndarray, values: np.ndarray, representation: Representation) -> np.ndarray:
    """int64 [N, 6], in order of writing: bar from 0, instrument (0-127, 128 drums), onset in the bar, ids of pitch,
    duration and velocity.

    ``families`` and ``values``, int64 [n], are the tokens of one piece as ``grammar.coded_symbols`` has them. What is
    no whole note, as where the piece is cut, is left out. As in ``note_table`` durations are 1 at least, onset 0
    holds at the start of a bar, and the instrument is carried on from 0.
    """
    ends = families == BAR_END
    pitches = np.flatnonzero(
        (families[:-2] == _PITCHES) & (families[1:-1] == _DURATIONS) & (families[2:] == _VELOCITIES)
    )
    instruments = np.array(representation.instruments, dtype=np.int64)
    last_onset, last_instrument = latest(families == _ONSETS)[pitches], latest(families == _INSTRUMENTS)[pitches]
    return np.column_stack(
        [
            np.cumsum(ends)[pitches],
            np.where(last_instrument < 0, 0, instruments[np.where(last_instrument < 0, 0, values[last_instrument])]),
            np.where(last_onset > latest(ends)[pitches], values[last_onset], 0),
            values[pitches],
            np.clip(values[pitches + 1], 1, MAX_DURATION_ID),
            values[pitches + 2],
        ]
    ).astype(np.int64)
