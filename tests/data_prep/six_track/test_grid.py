"""Constant offsets are found whatever their size, and performances off the beat are told from loose ones."""

import numpy as np
import pytest

from data_prep.six_track.grid import fit_grid
from data_prep.six_track.rules import MIN_CONCENTRATION
from data_prep.tokens.song import song_of
from examples.make_songs import compose_song, to_midi


def onsets_of(number):
    return song_of(to_midi(compose_song(number, 1))).notes[:, 0].astype(float)


def fit(onsets, quarter_seconds=0.5):
    return fit_grid(onsets, np.full(len(onsets), quarter_seconds))


@pytest.mark.parametrize("number", [1, 5, 9, 14, 20])
@pytest.mark.parametrize("offset", [0, 0.4, -0.5, 1.5, 2.5, -2.2, 4, 5])
def test_constant_offsets(number, offset):
    found = fit(onsets_of(number) + offset)
    assert found.offset == pytest.approx(offset, abs=0.05)
    assert found.concentration > 0.9


def test_a_small_spread_is_no_offset():
    rng = np.random.default_rng(1)
    onsets = onsets_of(3)
    assert abs(fit(onsets + rng.normal(0.1, 0.2, len(onsets))).offset) < 0.3


def test_swing_stays_where_it_is():
    """Quarters with swung eighths at 7/12, which lie nearer to the half beat than to the triplet."""
    onsets = np.sort(np.concatenate([np.arange(0, 480, 12), np.arange(7, 480, 12)])).astype(float)
    assert fit(onsets).offset == 0


def test_off_beat_music_stays_off_the_beat():
    onsets = np.arange(6, 960, 12).astype(float)  # a reggae guitar and a few downbeats
    assert fit(np.concatenate([onsets, np.arange(0, 960, 24)])).offset == 0


@pytest.mark.parametrize("speed", [0.93, 1.017, 1.3333 * 1.01])
def test_another_tempo_than_the_map_s_is_off_the_grid(speed):
    found = fit(onsets_of(2) * speed)
    assert found.concentration < 0.15 < MIN_CONCENTRATION
    assert found.deviation == pytest.approx(found.chance, rel=0.1)


@pytest.mark.parametrize(("spread", "kept"), [(0.1, True), (0.5, True), (2.5, False)])
def test_human_timing_is_kept_and_chaos_is_not(spread, kept):
    rng = np.random.default_rng(2)
    onsets = onsets_of(4)
    found = fit(onsets + rng.normal(0, spread, len(onsets)))
    assert (found.concentration >= MIN_CONCENTRATION) == kept


@pytest.mark.parametrize("late", [0, 0.4, -1.2])
def test_deviation_in_milliseconds_of_the_tempo_map(late):
    """A constant offset is no deviation."""
    onsets = np.tile([0.0, 0.2, 12.0, 11.8], 10)  # a fifth of a position away from their mean, half of them
    found = fit(onsets + late, 0.6)
    assert found.deviation == pytest.approx(0.1)
    assert found.deviation_ms == pytest.approx(0.1 * 50)
