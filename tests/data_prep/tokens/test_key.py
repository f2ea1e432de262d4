import numpy as np
import pytest

from data_prep.tokens.key import SCALE_TEMPLATES, key_shift

C_MAJOR = [60, 62, 64, 65, 67, 69, 71]


@pytest.mark.parametrize("tonic", range(12))
def test_every_major_key_comes_to_c(tonic):
    pitches = np.array([60, 60, *C_MAJOR]) + tonic
    shift = key_shift(pitches)
    assert (shift + tonic) % 12 == 0
    assert -11 <= shift <= 9


@pytest.mark.parametrize("tonic", range(12))
def test_every_minor_key_comes_to_a(tonic):
    pitches = np.array([57, 57, *C_MAJOR]) + tonic  # A occurs three times, C once
    assert (key_shift(pitches) + tonic) % 12 == 0


def test_relative_minor_needs_more_tonics_than_the_major():
    assert key_shift(np.array([*C_MAJOR, 69])) == 0
    in_a_flat = np.array([*C_MAJOR, 69]) - 4
    # A minor's shift is 21 - 21 = 0; four semitones down it is F minor, 21 - 17.
    assert key_shift(in_a_flat) == 4


def test_shift_moves_by_octaves_into_range():
    low = np.array([1, 3, 5, 6, 8, 10, 12]) + 6  # G major
    assert key_shift(low) == -7
    assert key_shift(np.append(low, 2)) == 5  # 2 - 7 would fall below 0


def test_no_octave_fits_all_pitches():
    assert key_shift(np.append(np.arange(128), [61] * 50)) == 0


def test_no_pitches():
    assert key_shift(np.array([], dtype=np.int64)) == 0


def test_templates_are_the_24_scales():
    assert SCALE_TEMPLATES.shape == (24, 12)
    assert SCALE_TEMPLATES.sum() == 24 * (7 - 5)
    assert (SCALE_TEMPLATES[0] == SCALE_TEMPLATES[12 + 9]).all()  # C major and A minor
