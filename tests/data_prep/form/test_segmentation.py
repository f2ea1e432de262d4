import itertools

import numpy as np
import pytest

from data_prep.form.segmentation import best_cut, span_probabilities


def cuts(bars, longest):
    """All ways to cut the bars, as lists of the spans' (first bar, length)."""
    for count in range(1, bars + 1):
        for lengths in itertools.product(range(1, longest + 1), repeat=count):
            if sum(lengths) == bars:
                yield list(zip(np.cumsum((0, *lengths[:-1])).tolist(), lengths))


@pytest.mark.parametrize(("bars", "longest"), [(1, 4), (3, 4), (8, 3), (7, 9)])
def test_the_best_of_all_cuts_and_the_share_of_each_span(bars, longest):
    scores = np.random.default_rng(bars).normal(size=(bars, longest))
    ways = list(cuts(bars, longest))
    totals = np.array([sum(scores[first, length - 1] for first, length in spans) for spans in ways])
    best = ways[int(np.argmax(totals))]
    assert best_cut(scores).tolist() == [*(first for first, _ in best), bars]
    expected = np.zeros((bars, longest))
    for spans, share in zip(ways, np.exp(totals) / np.exp(totals).sum()):
        for first, length in spans:
            expected[first, length - 1] += share
    assert np.allclose(span_probabilities(scores), expected)


def test_of_equal_cuts_one_is_chosen():
    assert best_cut(np.zeros((7, 3))).tolist() == best_cut(np.zeros((7, 3))).tolist()
    assert best_cut(np.ones((5, 3))).tolist() == [0, 1, 2, 3, 4, 5]
