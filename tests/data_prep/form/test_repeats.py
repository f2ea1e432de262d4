import numpy as np

from data_prep.form.repeats import repeated_bars
from data_prep.form.sections import parse_form


def by_lag(pairs):
    """Likeness by lag of likenesses {(bar, earlier bar): value}, 0 for the others."""
    bars = 24
    found = np.zeros((bars - 1, bars), dtype=np.float32)
    for (bar, earlier), value in pairs.items():
        found[bar - earlier - 1, bar] = value
    return found


def repeats(pairs, form="X24", silent=()):
    played = ~np.isin(np.arange(24), silent)
    return repeated_bars(by_lag(pairs), parse_form(form), played).tolist()


def test_a_bar_repeats_what_it_is_like():
    assert repeats({}) == [-1] * 24
    found = repeats({(9, 4): 1.0, (9, 2): 0.9, (15, 1): 0.6})
    assert found[9] == 4
    assert found[15] == -1  # too little for a bar alone
    assert sum(bar >= 0 for bar in found) == 1


def test_runs_hold_together():
    run = {(8 + place, place): 0.7 for place in range(6)}
    assert repeats(run)[8:14] == list(range(6))
    assert repeats({**run, (10, 9): 0.8})[8:14] == list(range(6))  # a little more alike, but not in the run
    assert repeats({**run, (10, 2): 0.3})[8:14] == list(range(6))  # a bar that differs
    assert repeats({**run, (10, 2): 0.0, (10, 9): 1.0})[10] == 9


def test_sections_of_a_letter_hold_together():
    local = {(bar, bar - 2): 0.9 for bar in range(2, 24)}
    aligned = {(16 + place, place): 0.9 for place in range(8)}
    assert repeats({**local, **aligned})[16:] == list(range(14, 22))
    assert repeats({**local, **aligned}, "A8B8A8")[16:] == list(range(8))
    assert repeats({**local, **aligned}, "x8B8x8")[16:] == list(range(14, 22))  # passing sections repeat nothing


def test_of_equal_bars_the_nearest_and_never_for_silence():
    everything = {(bar, earlier): 1.0 for bar in range(24) for earlier in range(bar)}
    assert repeats(everything) == list(range(-1, 23))
    found = repeats(everything, silent=[7])
    assert found[7] == -1
