import math

import numpy as np
import pytest

from evaluation.bootstrap import Bootstrap, Estimate, with_counts


def test_the_interval_of_a_mean_is_that_of_the_normal_law():
    values = np.random.default_rng(0).normal(5, 2, size=400)
    found = Bootstrap(seed=3, replicates=2000).mean(values)
    error = values.std() / math.sqrt(len(values))
    assert found.value == pytest.approx(values.mean())
    assert found.low == pytest.approx(values.mean() - 1.96 * error, abs=0.15 * error)
    assert found.high == pytest.approx(values.mean() + 1.96 * error, abs=0.15 * error)


def test_equal_values_have_an_interval_of_no_width():
    assert Bootstrap().mean(np.full(5, 0.25)) == Estimate(0.25, 0.25, 0.25)


def test_the_seed_decides_and_unknown_values_are_left_out():
    known = np.random.default_rng(0).normal(size=30)
    values = np.insert(known, 7, math.nan)
    assert Bootstrap(1).mean(values) == Bootstrap(1).mean(values) == Bootstrap(1).mean(known)
    assert Bootstrap(1).mean(values) != Bootstrap(2).mean(values)
    assert Bootstrap().mean(values).value == pytest.approx(known.mean())


@pytest.mark.parametrize(("values", "mean"), [([], None), ([math.nan], None), ([3.0], 3.0)])
def test_one_piece_or_none_has_no_interval(values, mean):
    assert Bootstrap().mean(np.array(values)).as_json() == {"value": mean, "low": None, "high": None}


def test_a_ratio_of_sums_weighs_pieces_by_their_size():
    errors_and_tokens = np.array([[1, 10], [0, 990]])
    found = Bootstrap().estimate(lambda sums: sums[0] / sums[1], errors_and_tokens)
    # Either piece twice, or both.
    assert (found.value, found.low, found.high) == (1 / 1000, 0, 1 / 10)


def test_a_distance_that_resampling_inflates_is_mirrored_and_cut_at_nothing():
    values = with_counts(np.array([-1.0, 1.0, -1.0, 1.0]))

    def distance(sums):
        return abs(sums[0] / sums[1])

    plain, basic = Bootstrap().estimate(distance, values), Bootstrap().estimate(distance, values, basic=True)
    assert plain.low >= basic.low == basic.high == basic.value == 0
    shifted = with_counts(np.array([4.0, 6.0, 4.0, 6.0]))
    plain, basic = Bootstrap().estimate(distance, shifted), Bootstrap().estimate(distance, shifted, basic=True)
    assert basic.low == pytest.approx(10 - plain.high)
    assert basic.high == pytest.approx(10 - plain.low)


def test_a_difference_of_independent_means():
    chance = np.random.default_rng(0)
    values, others = chance.normal(3, 1, size=300), chance.normal(1, 1, size=100)
    found = Bootstrap(replicates=2000).mean_difference(values, others)
    error = math.sqrt(values.var() / 300 + others.var() / 100)
    assert found.value == pytest.approx(values.mean() - others.mean())
    assert found.high - found.low == pytest.approx(2 * 1.96 * error, rel=0.1)


def test_draws_of_a_few_from_many():
    values = np.random.default_rng(0).normal(0, 1, size=500)
    found = Bootstrap(replicates=2000).draws(lambda sums: sums[0] / sums[1], with_counts(values), 25)
    assert found.value == pytest.approx(values.mean(), abs=0.02)
    assert found.high - found.low == pytest.approx(2 * 1.96 / 5, rel=0.1)
