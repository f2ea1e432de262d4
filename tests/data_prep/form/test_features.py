"""The features of bar lines, of spans and of the second hearing, against their definitions."""

import numpy as np
import pytest

from data_prep.form import bar_lines, spans, support
from data_prep.form.bar_lines import bar_line_features, both_ways, running_sums
from data_prep.form.likeness import Piece, likeness_of
from data_prep.form.spans import LONGEST, span_features
from data_prep.form.support import support_features
from data_prep.form.weights import FIRST, SECOND

BARS = 23
MELODY = 80


@pytest.fixture
def pairs():
    """float [bars, bars]: symmetric likenesses, and rows by lag both ways of them."""
    found = np.random.default_rng(5).random((BARS, BARS))
    found = (found + found.T) / 2
    by_lag = np.zeros((BARS - 1, BARS))
    for lag in range(1, BARS):
        by_lag[lag - 1, lag:] = found[np.arange(lag, BARS), np.arange(BARS - lag)]
    return found, both_ways(by_lag)


def span_likeness(found, first, other, length):
    return np.mean([found[first + place, other + place] for place in range(length)])


def test_spans_by_their_definition(pairs):
    found, shifted = pairs
    sung = np.arange(BARS) % 7 < 4
    features = dict(zip(spans.NAMES, span_features(shifted, sung)))
    for first in range(BARS):
        for length in range(1, min(LONGEST, BARS - first) + 1):
            where = first, length - 1
            apart = [other for other in range(BARS - length + 1) if abs(other - first) >= length]
            best = max((span_likeness(found, first, other, length) for other in apart), default=0)
            assert features["best"][where] == pytest.approx(best)
            assert features["good by bar"][where] == pytest.approx(max(best - 0.5, 0) * length)
            if first >= length:
                expected = span_likeness(found, first, first - length, length)
                assert features["repeats before"][where] == pytest.approx(expected)
            after = first + length in apart
            expected = span_likeness(found, first, first + length, length) if after else 0
            assert features["repeated after"][where] == pytest.approx(expected)
            silent = not sung[first : first + length].any()
            assert features["no melody by bar"][where] == silent * length
            assert features["last without melody"][where] == (silent and first + length == BARS)


def test_support_by_its_definition(pairs):
    found, shifted = pairs
    probabilities = np.random.default_rng(6).random((BARS, LONGEST))
    lines, of_spans = support_features(running_sums(shifted), probabilities)
    agrees = dict(zip(support.SPAN_NAMES, of_spans))["agrees"]
    for first, length in ((0, 1), (4, 3), (11, 8), (20, 3)):
        apart = [other for other in range(BARS - length + 1) if abs(other - first) >= length]
        weights = np.array([max(span_likeness(found, first, other, length) - 0.3, 0) ** 2 for other in apart])
        # spans that end after the piece weigh a little too: what is there of them
        for other in range(max(first + length, BARS - length + 1), BARS):
            part = sum(found[first + place, other + place] for place in range(BARS - other)) / length
            weights, apart = np.append(weights, max(part - 0.3, 0) ** 2), [*apart, other]
        total = (weights * probabilities[apart, length - 1]).sum()
        assert agrees[first, length - 1] == pytest.approx(total / (weights.sum() + 0.05))
    begins = probabilities.sum(axis=1)
    line, others = 9, [other for other in range(BARS) if abs(other - 9) > 1]
    near = [sum(found[line + p, other + p] for p in range(4) if other + p < BARS) / 4 for other in others]
    weights = np.array([max(value - 0.3, 0) ** 2 for value in near])
    assert lines[0, line] == pytest.approx((weights * begins[others]).sum() / (weights.sum() + 0.05))
    assert lines[1, line] == pytest.approx(weights.sum() / (weights.sum() + 0.05))


def test_rests_and_entries_at_bar_lines():
    rows = [(bar, MELODY, onset, 60, 12, 20) for bar in (0, 1, 4) for onset in (0, 12, 24, 36)]
    rows.append((3, MELODY, 36, 60, 12, 20))  # an upbeat of a quarter
    rows += [(bar, 0, 36, 50, 12, 20) for bar in range(6)]
    piece = Piece.of(np.array(rows), 6, MELODY)
    likeness = likeness_of(piece)
    found = bar_line_features(piece, likeness, both_ways(likeness.all))
    named = dict(zip(bar_lines.NAMES, found))
    assert found.shape == (len(bar_lines.NAMES), 6)
    assert named["rest -0.25"].tolist() == [0, 0, 0, 0, 1.75, 0]
    assert named["interval -0.25"].tolist() == [0, 0.25, 0.25, 0, 2, 0.25]
    assert named["held"].tolist() == pytest.approx([0, 0.25, 0.25, 1.25, 0.25, 0.25])
    assert named["enters"].tolist() == [0, 0, 0, 1, 0, 0]
    assert named["leaves"].tolist() == [0, 0, 1, 0, 0, 1]
    assert named["sounds"].tolist() == [0, 0, 0, 0.25, 0.75, 0]
    assert named["calmer"].tolist() == [0, 0, 0.5, 0, 0, 0.5]


def test_weights_name_the_features():
    assert tuple(FIRST.lines) == bar_lines.NAMES
    assert tuple(FIRST.spans) == spans.NAMES
    assert tuple(SECOND.lines) == (*bar_lines.NAMES, *support.LINE_NAMES)
    assert tuple(SECOND.spans) == (*spans.NAMES, *support.SPAN_NAMES)
    assert len(FIRST.lengths) == len(SECOND.lengths) == LONGEST
