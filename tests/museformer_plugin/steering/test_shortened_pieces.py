"""Shorter pieces: what is left out, and what may be."""

import numpy as np

from museformer_plugin.steering.shortened_pieces import kin_of, shortened

KIN = np.array([0, 1, 2, 3, 4, 5, 6, 7, 2, 3, 10, 11])  # bars 8 and 9 are like 2 and 3


def test_kin_are_found_through_others():
    repeats = np.array([-1] * 4 + list(range(4)) + [-1] * 4 + list(range(4, 8)))  # A A B A, of four bars each
    assert kin_of(repeats).tolist() == [0, 1, 2, 3, 0, 1, 2, 3, 8, 9, 10, 11, 0, 1, 2, 3]


def bars_of(count=12, tokens=10):
    return [np.full(tokens, number) for number in range(count)]


def numbers(kept):
    return [int(bar[0]) for bar in kept]


def test_what_goes_on_is_like_what_is_left_out():
    assert shortened(bars_of(), KIN, 1000, np.random.default_rng(1)) is None  # either cut leaves 6 bars
    longer = np.append(KIN, [12, 13])
    found = {tuple(numbers(shortened(bars_of(14), longer, 1000, np.random.default_rng(seed)))) for seed in range(30)}
    assert found == {(0, 1, 8, 9, 10, 11, 12, 13), (0, 1, 2, 9, 10, 11, 12, 13)}


def test_no_more_tokens_than_there_is_room_for():
    longer = np.append(KIN, [12, 13])
    bars = bars_of(14)
    assert shortened(bars, longer, 79, np.random.default_rng(1)) is None
    assert sum(map(len, shortened(bars, longer, 80, np.random.default_rng(1)))) == 80


def test_the_first_bar_stays():
    kin = np.arange(20)
    kin[10] = 0
    assert shortened(bars_of(20), kin, 1000, np.random.default_rng(1)) is None


def test_without_bars_that_are_alike_there_is_none():
    assert shortened(bars_of(20), np.arange(20), 1000, np.random.default_rng(1)) is None
