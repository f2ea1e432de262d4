import random

import numpy as np
import pytest

from data_prep.tokens.note_table import note_table
from evaluation.copying import CopiedRun, TrainingBars, bar_fingerprints, fingerprints_of_lines


def bar(*pitches, instrument=80, velocity=20):
    notes = " ".join(f"p-{pitch} d-6 v-{velocity}" for pitch in pitches)
    return f"t-30 o-0 i-{instrument} {notes} b-1" if pitches else "t-30 b-1"


def line(*bars):
    return " ".join(bar(*([pitch] if isinstance(pitch, int) else pitch)) if pitch else bar() for pitch in bars)


def longest(piece, *training, instrument=None):
    (bars,) = fingerprints_of_lines(training, [instrument])
    ((found,),) = fingerprints_of_lines([piece], [instrument])
    return TrainingBars(bars).longest_run(found)


def test_a_run_is_found_where_it_lies():
    training = [line(60, 61, 62), line(70, 71, 72, 73, 74)]
    assert longest(line(50, 71, 72, 73, 51), *training) == CopiedRun(3, bar=1, source=1, source_bar=1)
    assert longest(training[1], *training) == CopiedRun(5, 0, 1, 0)
    assert longest(line(50, 70), *training) == CopiedRun(1, bar=1, source=1, source_bar=0)
    assert longest(line(50, 51), *training).length == 0


def test_no_run_crosses_from_one_piece_to_the_next():
    assert longest(line(60, 61, 62, 63), line(60, 61), line(62, 63)).length == 2


def test_rests_lie_inside_runs_but_count_for_nothing():
    training = [line(60, None, None, 61, None)]
    assert longest(line(60, None, None, 61, 50), *training) == CopiedRun(2, 0, 0, 0)
    assert longest(line(None, None, 61), *training) == CopiedRun(1, 2, 0, 3)
    assert longest(line(None, None), *training).length == 0


def test_bars_are_sets_of_notes_without_velocity_and_tempo():
    one = note_table([line((64, 60)) + " t-31 o-0 i-80 p-64 d-6 v-9 p-64 d-6 v-9 p-60 d-6 v-1 b-1"])
    first, second = bar_fingerprints(one)
    assert first == second != 0
    for other in (
        "t-30 o-1 i-80 p-60 d-6 v-20 b-1",
        "t-30 o-0 i-0 p-60 d-6 v-20 b-1",
        "t-30 o-0 i-80 p-60 d-7 v-20 b-1",
    ):
        assert bar_fingerprints(note_table([other]))[0] != bar_fingerprints(note_table([line(60)]))[0]


def test_one_instrument_alone_may_be_copied():
    training = "t-30 o-0 i-80 p-60 d-6 v-20 i-0 p-40 d-6 v-20 b-1"
    other = "t-30 o-0 i-80 p-60 d-6 v-20 i-0 p-41 d-6 v-20 b-1"
    assert longest(other, training).length == 0
    assert longest(other, training, instrument=80).length == 1


def test_no_training_bars_at_all():
    assert TrainingBars([]).longest_run(np.array([5, 6], dtype=np.uint64)).length == 0


@pytest.mark.parametrize("seed", range(40))
def test_against_trying_all_runs(seed):
    chance = random.Random(seed)
    training = [[chance.randrange(3) for _ in range(chance.randrange(12))] for _ in range(4)]
    piece = [chance.randrange(3) for _ in range(15)]
    found = TrainingBars(np.array(bars, dtype=np.uint64) for bars in training).longest_run(
        np.array(piece, dtype=np.uint64)
    )
    runs = [
        np.count_nonzero(piece[start:end])
        for start in range(len(piece))
        for end in range(start + 1, len(piece) + 1)
        if any(bars[n : n + end - start] == piece[start:end] for bars in training for n in range(len(bars)))
    ]
    assert found.length == max(runs, default=0)
    if found.length:
        source = training[found.source][found.source_bar :]
        same = next((n for n, (a, b) in enumerate(zip(piece[found.bar :], source)) if a != b), None)
        assert np.count_nonzero(piece[found.bar :][:same][: len(source)]) >= found.length
