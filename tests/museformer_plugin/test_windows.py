import math

import numpy as np
import pytest

from museformer_plugin.errors import UserError
from museformer_plugin.windows import (
    BatchLimits,
    Window,
    WindowSchedule,
    bar_edges,
    cut_piece,
    draw_epoch,
    fill_batches,
    step_of,
)

FOR_EVER = math.inf
LIMITS = BatchLimits(300)


@pytest.fixture
def edges():
    """Forty pieces of 1 to 60 bars of 1 to 50 targets, and one of a single ``</s>``."""
    chance = np.random.default_rng(0)
    lengths = [chance.integers(1, 51, chance.integers(1, 61)) for _ in range(40)]
    return [np.array([0, 1]), *(np.concatenate([[0], np.cumsum(of_piece)]) for of_piece in lengths)]


def size(window):
    return window.end - window.start


def windows_of(batches):
    return [window for batch in batches for window in batch]


def draw(edges, seed=0, phases=((120, FOR_EVER),), limits=LIMITS, overlap=0.0):
    return draw_epoch(edges, phases, limits, np.random.default_rng(seed), overlap)


def assert_every_target_once(windows, edges):
    for piece, of_piece in enumerate(edges):
        cuts = sorted((window.start, window.end) for window in windows if window.piece == piece)
        assert [start for start, _ in cuts] == [0, *(end for _, end in cuts[:-1])]
        assert cuts[-1][1] == of_piece[-1]


# where bars start

EOB = 7


@pytest.mark.parametrize(
    ("targets", "edges"),
    [
        ([3, EOB, 4, 5, EOB, 2], [0, 2, 6]),
        ([EOB, EOB, 2], [0, 1, 3]),
        ([3, EOB, 2], [0, 3]),
        ([3, EOB, 4, 2], [0, 2, 4]),
        ([3, 4, 2], [0, 3]),
        ([2], [0, 1]),
    ],
    ids=["two_bars", "one_token_bars", "one_bar", "incomplete_last", "incomplete_alone", "empty"],
)
def test_the_end_of_the_piece_belongs_to_the_last_bar(targets, edges):
    assert bar_edges(np.array(targets), EOB).tolist() == edges


# cutting

TEN_BARS = np.arange(0, 110, 10)


def test_windows_are_as_many_whole_bars_as_fit():
    found = cut_piece(3, TEN_BARS, length=35, offset=19)
    assert found == [Window(3, 0, 10, 1), Window(3, 10, 40, 2), Window(3, 40, 70, 5), Window(3, 70, 100, 8)]


@pytest.mark.parametrize("offset", range(10))
def test_an_offset_in_the_first_bar_leaves_the_beginning_whole(offset):
    assert cut_piece(0, TEN_BARS, length=35, offset=offset)[0] == Window(0, 0, 30, 1)


@pytest.mark.parametrize("offset", [0, 50, 99])
@pytest.mark.parametrize("length", [100, 1000])
def test_a_piece_that_fits_is_one_window(length, offset):
    assert cut_piece(0, TEN_BARS, length, offset) == [Window(0, 0, 100, 1)]


@pytest.mark.parametrize("offset", [0, 6])
@pytest.mark.parametrize("place", [0, 1, 2])
def test_a_bar_longer_than_a_window_stands_alone(place, offset):
    lengths = [3, 3, 3]
    lengths[place] = 50
    edges = np.concatenate([[0], np.cumsum(lengths)])
    found = cut_piece(0, edges, length=7, offset=offset)
    assert Window(0, int(edges[place]), int(edges[place + 1]), place + 1) in found
    assert_every_target_once(found, [edges])


@pytest.mark.parametrize("length", [1, 7, 30, 120, 1000])
def test_windows_hold_every_target_once_and_are_whole_bars(edges, length):
    for seed in range(5):
        windows = windows_of(draw(edges, seed, [(length, FOR_EVER)], BatchLimits(1000)))
        assert_every_target_once(windows, edges)
        for window in windows:
            of_piece = edges[window.piece]
            first, last = np.searchsorted(of_piece, [window.start, window.end])
            assert (of_piece[first], of_piece[last]) == (window.start, window.end)
            assert window.first_bar == first + 1
            assert size(window) <= length or last == first + 1


def test_every_bar_start_is_a_cut_in_some_epoch():
    edges = [np.arange(0, 1010, 10)]
    seen = {window.start for seed in range(200) for window in windows_of(draw(edges, seed, [(100, FOR_EVER)]))}
    assert seen == set(range(0, 1000, 10))


def test_epochs_are_a_function_of_their_seed(edges):
    assert draw(edges, [1, 2]) == draw(edges, [1, 2])
    assert draw(edges, [1, 2]) != draw(edges, [1, 3])
    assert {*windows_of(draw(edges, [1, 2]))} != {*windows_of(draw(edges, [1, 3]))}


# overlapping


def times_read(windows, edges):
    """How often each target of a piece is in a window, int [n]."""
    times = np.zeros(edges[-1], dtype=int)
    for window in windows:
        times[window.start : window.end] += 1
    return times


def test_windows_begin_half_a_window_apart():
    found = cut_piece(3, TEN_BARS, length=40, offset=19, step=20)
    starts_before = [Window(3, 0, 10, 1), Window(3, 0, 30, 1)]
    whole = [Window(3, 10, 50, 2), Window(3, 30, 70, 4), Window(3, 50, 90, 6)]
    assert found == [*starts_before, *whole, Window(3, 70, 100, 8), Window(3, 90, 100, 10)]


@pytest.mark.parametrize("length", [40, 60, 80])
def test_every_target_is_read_twice_where_bars_are_even(length):
    for offset in range(length // 2):
        windows = cut_piece(0, np.arange(0, 510, 10), length, offset, step=length // 2)
        assert times_read(windows, [0, 500]).tolist() == [2] * 500


@pytest.mark.parametrize(("overlap", "times"), [(0.5, 2), (0.75, 4), (0.25, 4 / 3), (0.0, 1)])
def test_beginnings_and_ends_are_read_as_often_as_the_rest(overlap, times):
    """On the average of epochs, where bars are short; a piece that fits into a window, too."""
    edges = np.concatenate([[0], np.cumsum(np.random.default_rng(0).integers(1, 8, 150))])
    length = 100
    step = step_of(length, overlap)
    epochs = [times_read(cut_piece(0, edges, length, offset, step), edges) for offset in range(step)]
    assert min(of_epoch.min() for of_epoch in epochs) >= 1
    mean = np.mean(epochs, axis=0)
    for part in (mean[:20], mean[:100], mean, mean[-100:], mean[-20:]):
        assert part.mean() == pytest.approx(times, rel=0.08)
    short = [cut_piece(0, np.array([0, 40, 90]), length, offset, step) for offset in range(step)]
    assert {window for windows in short for window in windows} == {Window(0, 0, 90, 1)}
    assert np.mean([len(windows) for windows in short]) == pytest.approx(times, rel=0.01)


@pytest.mark.parametrize("length", [1, 7, 30, 120, 1000])
@pytest.mark.parametrize("overlap", [0.25, 0.5, 0.9])
def test_overlapping_windows_leave_nothing_out_and_are_whole_bars(edges, length, overlap):
    """Bars that are longer than a step, or than a window, too."""
    windows = windows_of(draw(edges, 0, [(length, FOR_EVER)], BatchLimits(1000), overlap))
    for number, of_piece in enumerate(edges):
        found = [window for window in windows if window.piece == number]
        assert times_read(found, of_piece).min() >= 1
        for window in found:
            first, last = np.searchsorted(of_piece, [window.start, window.end])
            assert (of_piece[first], of_piece[last]) == (window.start, window.end)
            assert window.first_bar == first + 1
            assert size(window) <= length or last == first + 1


@pytest.mark.parametrize("overlap", [0.3, 0.5])
def test_batches_of_overlapping_windows_are_full_and_change_their_length(edges, overlap):
    phases = [(60, 13), (120, 11), (300, FOR_EVER)]
    batches = draw(edges, 0, phases, LIMITS, overlap)
    sums = [sum(map(size, batch)) for batch in batches]
    longest = [max(map(size, batch)) for batch in batches]
    assert max(longest[:13]) <= 60 < max(longest[13:24]) <= 120 < max(longest[24:]) <= 300
    assert min(sums[:24]) > 0.7 * LIMITS.tokens
    assert max(sums) <= LIMITS.tokens
    assert sum(sums) > sum(of_piece[-1] for of_piece in edges) / (1 - overlap)
    assert draw(edges, 0, phases, LIMITS, overlap) == batches != draw(edges, 1, phases, LIMITS, overlap)


@pytest.mark.parametrize("overlap", [-0.1, 1.0, 3, float("nan")])
def test_an_overlap_that_is_none_is_told(overlap):
    with pytest.raises(UserError, match=f"--window-overlap must be from 0 to below 1, not {overlap}"):
        WindowSchedule.parse("20", "", overlap)


def test_an_overlap_needs_windows():
    with pytest.raises(UserError, match="--window-overlap 0.5 needs --window-tokens"):
        WindowSchedule.parse("", "", 0.5)


# batches


def test_batches_hold_what_they_may(edges):
    for limits in (BatchLimits(300), BatchLimits(windows=4), BatchLimits(300, 2), BatchLimits(120)):
        batches = draw(edges, limits=limits)
        assert_every_target_once(windows_of(batches), edges)
        assert max(map(len, batches)) <= limits.windows
        assert max(sum(map(size, batch)) for batch in batches) <= limits.tokens


def test_batches_are_full(edges):
    """All but those that may still have room when the epoch ends; there, half full on average."""
    sums = [sum(map(size, batch)) for batch in draw(edges * 20)]
    assert np.mean(sums[:-64]) > 0.95 * 300
    assert np.mean(sums) > 0.9 * 300


def test_a_window_joins_the_earliest_batch_with_room():
    a, b, c, d = (Window(0, 0, end, 1) for end in (6, 7, 4, 3))
    assert fill_batches([a, b, c, d], BatchLimits(10)) == [[a, c], [b, d]]
    assert fill_batches([a, b, c, d], BatchLimits(10, 1)) == [[a], [b], [c], [d]]
    assert fill_batches([], BatchLimits(10)) == []


# the schedule


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("limits", [BatchLimits(400), BatchLimits(windows=2)], ids=["tokens", "windows"])
def test_lengths_change_at_their_batch(edges, limits, seed):
    phases = [(60, 13), (120, 11), (400, FOR_EVER)]
    batches = draw(edges, seed, phases, limits)
    assert_every_target_once(windows_of(batches), edges)
    longest = [max(map(size, batch)) for batch in batches]
    assert max(longest[:13]) <= 60 < max(longest[13:24]) <= 120 < max(longest[24:])
    # few windows of the length before are among those after, and no batch before the change is left unfilled
    assert sum(size(window) <= 60 for window in windows_of(batches[24:])) < 20
    if limits.tokens < FOR_EVER:
        assert min(sum(map(size, batch)) for batch in batches[:24]) > 0.7 * limits.tokens
    else:
        assert {len(batch) for batch in batches[:24]} == {2}


def test_an_epoch_may_end_before_its_phase(edges):
    batches = draw(edges, phases=[(60, 10**6), (120, FOR_EVER)])
    assert max(map(size, windows_of(batches))) <= 60
    assert_every_target_once(windows_of(batches), edges)


def test_phases_of_a_schedule():
    schedule = WindowSchedule.parse("20, 40,80", "10,30")
    assert schedule == WindowSchedule((20, 40, 80), (10, 30))
    assert list(schedule.phases(0)) == [(20, 10), (40, 20), (80, FOR_EVER)]
    assert list(schedule.phases(9)) == [(20, 1), (40, 20), (80, FOR_EVER)]
    assert list(schedule.phases(10)) == [(40, 20), (80, FOR_EVER)]
    assert list(schedule.phases(31)) == [(80, FOR_EVER)]
    assert list(WindowSchedule.parse("20", "").phases(5)) == [(20, FOR_EVER)]


@pytest.mark.parametrize(
    ("lengths", "updates", "sentence"),
    [
        ("20,x", "3", "--window-tokens takes whole numbers from 1 up, separated by commas, not '20,x'"),
        ("20,", "3", "--window-tokens takes whole numbers"),
        ("0", "", "--window-tokens takes whole numbers"),
        ("20,40", "-3", "--window-updates takes whole numbers"),
        ("20,40", "1e3", "--window-updates takes whole numbers"),
        ("20,20", "3", "The numbers of --window-tokens must rise, which '20,20' does not"),
        ("20,30,40", "5,4", "The numbers of --window-updates must rise"),
        ("20,40", "", "--window-updates '' must have one number fewer than --window-tokens '20,40'"),
        ("20", "3", "--window-updates '3' must have one number fewer than --window-tokens '20'"),
        ("", "3", "--window-updates '3' must have one number fewer than --window-tokens ''"),
    ],
)
def test_what_is_no_schedule_is_told(lengths, updates, sentence):
    with pytest.raises(UserError, match=sentence):
        WindowSchedule.parse(lengths, updates)


def test_what_does_not_fit_a_batch_is_told(edges):
    schedule = WindowSchedule((26, 80), (3,))
    schedule.check(BatchLimits(80), edges)
    schedule.check(BatchLimits(windows=1), edges)
    with pytest.raises(UserError, match="Windows of 80 tokens do not fit into batches of 79"):
        schedule.check(BatchLimits(79), edges)
    with pytest.raises(UserError, match="Piece 2 has a bar of 90 tokens, which does not fit into batches of 80"):
        schedule.check(BatchLimits(80), [np.array([0, 5]), np.array([0, 3, 93])])
    with pytest.raises(UserError, match="More than half of the bars have more than the 25 tokens of a window"):
        WindowSchedule((25, 80), (3,)).check(BatchLimits(80), edges)


def test_windows_longer_than_the_model_reads_are_told():
    schedule = WindowSchedule.parse("40,120", "3")
    edges = [np.array([0, 30, 90])]
    schedule.check_model(120, edges)
    with pytest.raises(UserError, match="Windows of 120 tokens are longer than the 119 that the model reads"):
        schedule.check_model(119, edges)
    with pytest.raises(UserError, match="Windows of 130 tokens"):
        schedule.check_model(120, [*edges, np.array([0, 130])])
