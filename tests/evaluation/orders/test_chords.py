"""Chords of made songs."""

import numpy as np
import pytest

from evaluation.orders.chords import HALF_BAR, TEMPLATES, agreement, chord_tones, chroma

NAMES = ["C", "C#", "D", "D#", "E", "F", "F#", "G", "G#", "A", "A#", "B"]
HALF = 16  # the id of a duration of 20 positions, less than half a bar
C, F, G = (60, 64, 67), (65, 69, 72), (67, 71, 74)


def half_bars(*chords):
    """A bar for every two chords, each held for 20 positions by the piano."""
    halves = [[(0, 0, pitch, HALF) for pitch in chord] for chord in chords]
    return [first + [(24, *note[1:]) for note in second] for first, second in zip(halves[::2], halves[1::2])]


def names_of(tones):
    return [" ".join(NAMES[tone] for tone in np.flatnonzero(row)) for row in tones]


def test_the_chords_of_c_f_g(piece_of):
    piece = piece_of(half_bars(C, F, G, (67, 71, 74, 77)))
    tones = chord_tones(chroma(piece.notes, 2))
    assert names_of(tones) == ["C E G", "C F A", "D G B", "D F G B"]


@pytest.mark.parametrize("pitches, name", [((57, 60, 64), "C E A"), ((59, 62, 65), "D F B"), ((60, 64), "C E G")])
def test_minor_diminished_and_two_notes(piece_of, pitches, name):
    # of two notes C major is as near as A minor, and the major triad comes first
    assert names_of(chord_tones(chroma(piece_of(half_bars(pitches, C)).notes, 1)))[0] == name


def test_a_note_counts_where_it_sounds(piece_of):
    # ids 12 and up are two positions wide: 30 has 12 * 3 + 6 * 4 = 60 positions, from onset 12 to 72
    sounding = chroma(piece_of([[(12, 0, 60, 30)], [], []]).notes, 3)
    assert sounding[:, 0].tolist() == [12, 24, 24, 0, 0, 0]
    assert chroma(piece_of([[(12, 0, 60, 30)]]).notes, 1)[:, 0].tolist() == [12, 24]
    assert HALF_BAR == 24


def test_silence_has_no_chord_and_does_not_count(piece_of):
    true = chroma(piece_of([[(0, 0, pitch, 12) for pitch in C], []]).notes, 2)
    tones = chord_tones(true)
    assert tones.sum(axis=1).tolist() == [3, 0, 0, 0]
    other = chroma(piece_of([[(0, 0, 60, 12), (0, 0, 66, 12)], [(0, 0, 60, 12)]]).notes, 2)
    assert agreement(other, tones) == (12, 24)


def test_there_are_six_chords_on_each_root():
    assert TEMPLATES.shape == (72, 12) and len({tuple(row) for row in TEMPLATES.tolist()}) == 72
