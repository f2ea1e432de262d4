"""Chords by the melody alone."""

from itertools import product

import numpy as np
import pytest

from evaluation.orders.chords import SILENT, TEMPLATES
from evaluation.orders.melody_harmony import MelodyHarmony

C, G, A_MINOR = 0, 7, 12 + 9  # places in TEMPLATES


def sounding(*pitch_classes):
    """A melody float64 [n, 12] of half notes; None is a rest."""
    rows = np.zeros((len(pitch_classes), 12))
    for row, pitch_class in zip(rows, pitch_classes):
        if pitch_class is not None:
            row[pitch_class] = 24
    return rows


@pytest.fixture
def harmony():
    """Of a song that goes C, G, A minor, C, SILENT, C."""
    chords = np.array([C, G, A_MINOR, C, SILENT, C])
    return MelodyHarmony.learn([(chords, sounding(0, 11, 9, 4, None, 0))] * 50)


def log_probability(harmony, chords, melody):
    """By the formula."""
    value = harmony.first[chords[0]]
    for half, (before, chord) in enumerate(zip(chords, chords[1:]), start=1):
        value += harmony.follows[half % 2][before, chord]
    return value + sum((row / 12 * harmony.sounds[chord]).sum() for chord, row in zip(chords, melody))


def test_all_are_probabilities(harmony):
    for logs in (harmony.first, *harmony.follows, harmony.sounds):
        np.testing.assert_allclose(np.exp(logs).sum(axis=-1), 1, rtol=1e-12)


def test_a_melody_has_the_chords_that_it_had(harmony):
    assert harmony.likeliest(sounding(0, 11, 9, 4)).tolist() == [C, G, A_MINOR, C]
    assert harmony.likeliest(sounding(0, None, 9)).tolist() == [C, G, A_MINOR]  # what follows in the first bar


def test_a_half_bar_that_is_silent_teaches_nothing(harmony):
    unheard = 5  # a chord that the song has not
    assert harmony.first[SILENT] == harmony.first[unheard]
    assert harmony.follows[0][C, SILENT] == harmony.follows[0][C, unheard]
    assert harmony.follows[1][SILENT, C] == harmony.follows[1][unheard, C]
    assert np.exp(harmony.first[C] - harmony.first[G]) == pytest.approx((3 * 50 + 0.01) / (50 + 0.01))


def test_no_other_chords_are_likelier(harmony):
    melody = sounding(2, 7, 4) / 3
    likeliest = harmony.likeliest(melody)
    best = max(log_probability(harmony, chords, melody) for chords in product(range(len(TEMPLATES)), repeat=2 + 1))
    assert log_probability(harmony, likeliest, melody) == pytest.approx(best, rel=1e-12)
