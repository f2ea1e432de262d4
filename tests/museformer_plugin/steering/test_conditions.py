"""Conditions as rows of numbers."""

import numpy as np
import pytest

from museformer_plugin.steering.conditions import UNKNOWN, UNTOLD, BarConditions, ConditionColumns, class_of_density


def test_classes_of_density_begin_at_their_lower_edges():
    assert class_of_density(np.array([UNKNOWN, 0, 1, 3, 4, 90, 91, 128, 500])).tolist() == [
        -1,
        0,
        1,
        1,
        2,
        10,
        11,
        12,
        12,
    ]


def rows_of(columns, count=1, **told):
    nothing = BarConditions.nothing([0] * count, columns.num_instruments)
    return columns.features(nothing.told(**{name: np.array(values) for name, values in told.items()}))


def test_what_is_not_said_is_a_row_of_zeros():
    columns = ConditionColumns(6)
    rows = rows_of(columns, count=2)
    assert rows.shape == (2, columns.width)
    assert not rows.any()


@pytest.mark.parametrize(
    "told",
    [
        {"letters": [3]},
        {"places": [0]},
        {"left_in_section": [0]},
        {"left_in_piece": [0]},
        {"distances": [0]},
        {"distances": [4]},
        {"distances": [-1]},
        {"notes": [0]},
        {"tracks_known": [True]},
    ],
    ids=str,
)
def test_what_is_said_shows_and_can_be_left_out_again(told):
    columns = ConditionColumns(6)
    assert rows_of(columns, **told).any()
    said = BarConditions.nothing([0], 6).told(**{name: np.array(values) for name, values in told.items()})
    silent = said.without(["form", "length", "repeats", "tracks", "density"], np.array([True]))
    assert not columns.features(silent).any()
    assert silent.distances.tolist() == [UNTOLD]


def test_a_bar_behind_is_another_than_one_before():
    columns = ConditionColumns(6)
    before, behind = rows_of(columns, count=2, distances=[4, -4])
    assert not np.allclose(before, behind)
