"""Which of the six tracks each track of a song joins, and the merge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from data_prep.six_track.tracks import Track, TrackFeatures
from data_prep.tokens.vocabulary import DRUMS, POSITIONS_PER_QUARTER, SIX_TRACK

MELODY, BASS, GUITAR, PIANO, STRINGS = (
    SIX_TRACK.instrument_of(name) for name in ("melody", "bass", "guitar", "piano", "strings")
)

_TAKEN_BY = SIX_TRACK.taken_by()
_SYNTHESISERS = (*range(80, 88), *range(96, 104))
_BASS_BELOW = 45  # mean pitch of a voice that plays the bass whatever its program: below A2
_BASS_ABOVE = 60  # mean pitch of a "bass" that plays something else: above middle C
_ONE_VOICE = 0.8  # share of onsets with one note
_SHORT_NOTE = POSITIONS_PER_QUARTER  # a synthesiser with shorter notes is plucked, with longer ones bowed


def role_of(track: Track, features: TrackFeatures) -> int | None:
    """The instrument of the six-track form that a track other than the melody joins; None leaves it out.

    By its program's family; a single voice in the bass register is bass, a high bass is guitar, and
    synthesisers count as piano or strings by the length of their notes.
    """
    if track.is_drums:
        return DRUMS
    role = _TAKEN_BY.get(track.instrument)
    is_synthesiser = role is None and track.instrument in _SYNTHESISERS
    if role is None and not is_synthesiser:
        return None
    if role == BASS:
        return GUITAR if features.pitch > _BASS_ABOVE else BASS
    if features.pitch < _BASS_BELOW and features.monophony >= _ONE_VOICE:
        return BASS
    if is_synthesiser:
        lengths = track.notes[:, 1] - track.notes[:, 0]
        return PIANO if np.median(lengths) < _SHORT_NOTE else STRINGS
    return role


def assign_roles(
    tracks: Sequence[Track], features: Sequence[TrackFeatures], melody: Sequence[Track]
) -> dict[int, int | None]:
    """The six-track instrument of each track, by its number; ``melody`` lists the melody's tracks."""
    melodic = {track.number for track in melody}
    return {
        track.number: MELODY if track.number in melodic else role_of(track, found)
        for track, found in zip(tracks, features)
    }


def merge(tracks: Sequence[Track], instruments: Mapping[int, int | None], offset: float) -> np.ndarray:
    """The notes of all tracks that have an instrument, on the grid, ``offset`` positions earlier.

    int64 [N, 5] in the columns of ``data_prep.tokens.song.Song``, sorted by onset. Starts and ends are rounded
    to positions, halves to even, and a note lasts one position at least. Of notes of one instrument that
    begin together on one pitch, as doubled tracks have them, the longest stays, then the loudest.
    """
    parts = [
        np.column_stack([track.notes, np.full(len(track.notes), instrument)])
        for track in tracks
        if (instrument := instruments[track.number]) is not None
    ]
    if not parts:
        return np.zeros((0, 5), dtype=np.int64)
    notes = np.concatenate(parts)
    onsets = np.maximum(0, np.rint(notes[:, 0] - offset))
    durations = np.maximum(1, np.rint(notes[:, 1] - offset) - onsets)
    table = np.column_stack([onsets, durations, notes[:, 2:]]).astype(np.int64)
    onset, duration, pitch, velocity, instrument = table.T
    table = table[np.lexsort((-velocity, -duration, pitch, instrument, onset))]
    kept = np.any(table[1:, [0, 2, 4]] != table[:-1, [0, 2, 4]], axis=1)
    return table[np.concatenate([[True], kept])]
