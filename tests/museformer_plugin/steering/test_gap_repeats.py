"""Bars in a gap repeat what those around it say."""

import numpy as np
import pytest

from museformer_plugin.steering.conditions import NEW, UNTOLD
from museformer_plugin.steering.gap_repeats import kin_of, repeats_across_gaps, told_distances

A_A_B_A = np.array([-1] * 4 + list(range(4)) + [-1] * 4 + list(range(4, 8)))  # of four bars each


def gap_at(*bars):
    return np.isin(np.arange(16), bars)


def test_kin_are_found_through_others():
    assert kin_of(A_A_B_A).tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3]


@pytest.mark.parametrize(
    ("gap", "distance"),
    [
        ((5, 6), 4),  # before it, rather than 8 behind
        ((1, 2), -4),  # behind it: nothing lies before
        ((13, 14, 15), 8),  # with bars on one side alone
        ((9, 10), 0),  # nothing is like B
        ((11, 12), 0),  # in which the sides have no distance in common
        ((1, 2, 5, 6), -12),  # what lies in another gap is no model
    ],
)
def test_a_gap_goes_on_as_its_sides_do(gap, distance):
    found = repeats_across_gaps(kin_of(A_A_B_A), gap_at(*gap))
    inside = found[list(gap)]
    assert not found[~gap_at(*gap)].any()
    assert inside[0] == inside[1] == distance


def test_what_is_told_of_a_piece_with_a_gap():
    found = told_distances(A_A_B_A, gap_at(5, 9))
    expected = np.array([NEW] * 4 + [4] * 4 + [NEW] * 4 + [8] * 4)
    expected[9] = UNTOLD
    assert found.tolist() == expected.tolist()
