import math

import numpy as np
import pytest

from data_prep.tokens.vocabulary import DRUMS, GENERAL, METRES, SIX_TRACK, bar_length
from evaluation.musical_features import FEATURES, Spread, bar_lengths, features_of_lines, spread


def features(line):
    return dict(zip(FEATURES, features_of_lines([line])[0]))


def bar(*notes, metre=""):
    """Notes are (onset, instrument, pitch id)."""
    words = [f"o-{onset} i-{instrument} p-{pitch} d-6 v-20" for onset, instrument, pitch in notes]
    return " ".join([metre, "t-30", *words, "b-1"])


def test_figures_by_hand():
    # c e g c, then c sharp with a snare, then nothing
    line = " ".join(
        [bar((0, 80, 60), (12, 80, 64), (24, 80, 67), (36, 0, 72)), bar((0, 80, 61), (12, 128, 166)), bar()]
    )
    found = features(line)
    shares = [2 / 5, 1 / 5, 1 / 5, 1 / 5]
    assert found["pitch_class_entropy"] == pytest.approx(-sum(share * math.log2(share) for share in shares))
    assert found["scale_consistency"] == pytest.approx(4 / 5)  # C major among others
    assert found["empty_bar_rate"] == pytest.approx(1 / 3)
    assert found["notes_a_bar"] == pytest.approx(6 / 3)
    # 2 of 48 positions differ between bars 1 and 2, 2 between bars 2 and 3
    assert found["groove_consistency"] == pytest.approx(1 - (2 + 2) / 2 / 48)


def test_every_major_and_minor_scale_is_consistent():
    for tonic in range(12):
        for steps in ((0, 2, 4, 5, 7, 9, 11), (0, 2, 3, 5, 7, 8, 10)):
            line = " ".join(bar((0, 0, 48 + tonic + step)) for step in steps)
            assert features(line)["scale_consistency"] == 1
            assert features(line)["pitch_class_entropy"] == pytest.approx(math.log2(7))
    assert features(" ".join(bar((0, 0, pitch)) for pitch in range(60, 72)))["scale_consistency"] == pytest.approx(
        7 / 12
    )


@pytest.mark.parametrize(
    ("line", "unknown"),
    [
        ("", set(FEATURES)),
        (bar(), {"pitch_class_entropy", "scale_consistency", "groove_consistency"}),
        (bar((0, 128, 164)), {"pitch_class_entropy", "scale_consistency", "groove_consistency"}),
        (bar((0, 128, 164)) + " " + bar(), {"pitch_class_entropy", "scale_consistency"}),
    ],
)
def test_too_little_music_has_no_figure(line, unknown):
    assert {name for name, value in features(line).items() if math.isnan(value)} == unknown


def test_neighbours_of_other_metres_are_compared_over_the_longer():
    three, four = "s-8 o-0 t-30 i-0 p-60 d-6 v-20 b-1", "s-9 o-40 t-30 i-0 p-60 d-6 v-20 b-1"
    assert features(f"{three} {four}")["groove_consistency"] == pytest.approx(1 - 2 / 48)
    assert features(f"{three} {three.replace('o-0', 'o-6')}")["groove_consistency"] == pytest.approx(1 - 2 / 36)
    assert bar_lengths(f"{three} {four} b-1 s-8 o-0", 4) == [36, 48, 48, 36]


def test_spread_by_hand():
    real = np.arange(101.0)  # mean 50, percentiles are the numbers themselves
    deviation = math.sqrt((101**2 - 1) / 12)
    assert spread(np.array([4.0, 6.0, math.nan]), real) == Spread(5, 95, pytest.approx(-45 / deviation), within=True)
    assert spread(np.array([4.0, 5.9]), real).within is False
    assert spread(np.array([95.0]), np.append(real, math.nan)).within is True
    assert spread(np.array([95.1]), real).within is False


def test_spread_of_equal_pieces_and_of_none():
    alike = spread(np.array([1.0, 2.0]), np.array([1.5, 1.5]))
    assert (alike.low, alike.high, alike.within) == (1.5, 1.5, True)
    assert math.isnan(alike.deviations)
    assert spread(np.array([1.0]), np.array([math.nan])) is None
    assert spread(np.array([]), np.array([1.0])) is None


@pytest.mark.parametrize("representation", [SIX_TRACK, GENERAL], ids=lambda representation: representation.name)
def test_many_pieces_at_once_are_each_what_a_plain_loop_finds(representation, write_piece):
    lines = [" ".join(write_piece(representation, 1 + seed % 7, seed)) for seed in range(70)]  # more than a batch
    np.testing.assert_allclose(features_of_lines(lines), [by_loop(line) for line in lines])


def by_loop(line):
    """The definitions once more, token by token."""
    onset, instrument, length = 0, 0, 48
    grooves, lengths, counts = [set()], [], [0]
    classes = [0] * 12
    for token in line.split():
        family, number = token[0], int(token[2:])
        if family == "s":
            length = bar_length(*METRES[number])
        elif family == "o":
            onset = number
        elif family == "i":
            instrument = number
        elif family == "p":
            grooves[-1].add(onset)
            counts[-1] += 1
            if instrument != DRUMS:
                classes[number % 12] += 1
        elif family == "b":
            lengths.append(length)
            grooves.append(set())
            counts.append(0)
    total = sum(classes)
    entropy = -sum(n / total * math.log2(n / total) for n in classes if n) if total else math.nan
    distances = [len(grooves[n] ^ grooves[n + 1]) / max(lengths[n], lengths[n + 1]) for n in range(len(lengths) - 1)]
    groove = 1 - sum(distances) / len(distances) if distances else math.nan
    major = (0, 2, 4, 5, 7, 9, 11)
    scale = (
        max(sum(classes[(tonic + step) % 12] for step in major) for tonic in range(12)) / total if total else math.nan
    )
    bars = len(lengths)
    return [entropy, groove, scale, counts[:bars].count(0) / bars, sum(counts) / bars]
