"""What training windows ask for: bars of the piece, each once, in a form that a request would have."""

import numpy as np
import pytest

from data_prep.tokens.vocabulary import LETTERS
from museformer_plugin.errors import UserError
from museformer_plugin.fc_attention import NO_BAR
from museformer_plugin.steering.conditions import BarConditions, ConditionColumns, Role
from museformer_plugin.steering.sequence_bars import cut_bars, only_tracks
from museformer_plugin.steering.training_tasks import TrainingShares, TrainingTasks
from museformer_plugin.windows import bar_edges, cut_piece

SHARES = "fill=0.2,accompany=0.15,vary=0.15"


@pytest.fixture(params=["six_track", "general"])
def name(request):
    return request.param


@pytest.fixture
def families(families_of, name):
    return families_of(name)


@pytest.fixture
def pieces(read_piece, name, families):
    """Targets of pieces in which bars come back, changed a little."""
    found = []
    for seed in range(6):
        words = read_piece(name, bars=12, seed=seed).numpy()[1:]
        other = read_piece(name, bars=4, seed=seed + 50).numpy()[1:]
        softer = words - (families.family_of_token[words] == LETTERS.index("v")) * (families.value_of_token[words] > 0)
        found.append(np.concatenate([words, softer, other, words[: len(words) // 2], [families.dictionary.eos()]]))
        ends = np.flatnonzero(found[-1] == families.end_of_bar)
        found[-1] = np.concatenate([found[-1][: ends[-1] + 1], [families.dictionary.eos()]])
    return found


def roles_of(guide):
    columns = guide.features[:, : len(Role) - 1]
    return np.where(columns.any(axis=1), columns.argmax(axis=1) + 1, 0)


def drawn(families, pieces, shares=SHARES, conditions=0.5, seed=1, epoch=1):
    """(window, targets, guide) of windows of several lengths."""
    tasks = TrainingTasks(families, TrainingShares.parse(shares, conditions), seed)
    for number, tokens in enumerate(pieces):
        edges = bar_edges(tokens, families.end_of_bar)
        for length in (60, 150, 10_000):
            for window in cut_piece(number, edges, length, length // 3):
                asked = tasks(number, tokens, (window.start, window.end), window.first_bar, epoch)
                yield window, asked.target, asked.guide


def test_sequences_hold_bars_of_the_piece_in_no_more_tokens_than_the_window(families, pieces):
    seen = set()
    for window, target, guide in drawn(families, pieces):
        tokens = pieces[window.piece]
        bars = cut_bars(tokens, families.end_of_bar)
        whole = tokens[window.start : window.end]
        found = cut_bars(target, families.end_of_bar)
        roles = roles_of(guide)
        seen |= set(roles.tolist())
        assert len(target) <= len(whole)
        assert len(guide) == len(found)
        assert families.is_piece(target[target != families.dictionary.eos()])
        if not roles.any():
            np.testing.assert_array_equal(target, whole)
        for bar, number, role in zip(found, guide.numbers, roles):
            if role in (Role.WRITTEN, Role.GIVEN):
                np.testing.assert_array_equal(bar, bars[number - 1])
            elif role == Role.VARIED:
                assert any(np.array_equal(bar, other) for other in bars[: number - 1])
                assert not np.array_equal(bar, bars[number - 1])
            else:
                assert set(bar.tolist()) <= set(bars[number - 1].tolist())
        written = guide.numbers[roles == Role.WRITTEN]
        assert len(written)
        assert (np.diff(written) > 0).all()
        assert not set(written.tolist()) & set(guide.numbers[roles == Role.GIVEN].tolist())
        if set(roles.tolist()) & {Role.VARIED, Role.PART}:
            asked = guide.numbers[(roles == Role.VARIED) | (roles == Role.PART)]
            np.testing.assert_array_equal(asked, written)
        first_written = np.flatnonzero(roles == Role.WRITTEN)[0]
        assert not (roles[first_written:] != Role.WRITTEN).any()  # what is given comes first
    assert seen == set(Role)


def test_a_bar_repeats_a_whole_bar_before_it(families, pieces):
    repeats = 0
    for _, _, guide in drawn(families, pieces, conditions=1.0):
        roles = roles_of(guide)
        for place, repeated in enumerate(guide.repeats):
            if repeated != NO_BAR:
                repeats += 1
                assert repeated < place
                assert roles[repeated] in (Role.WRITTEN, Role.GIVEN)
                assert guide.numbers[repeated] < guide.numbers[place]
    assert repeats


def test_the_same_window_asks_for_the_same_and_each_epoch_for_something_else(families, pieces):
    def all_of(**options):
        return [(target.tolist(), guide.numbers.tolist()) for _, target, guide in drawn(families, pieces, **options)]

    assert all_of() == all_of()
    assert all_of() != all_of(epoch=2)
    assert all_of() != all_of(seed=2)


def test_without_shares_windows_are_plain_and_nothing_is_said(families, pieces):
    for window, target, guide in drawn(families, pieces, shares="", conditions=0.0):
        np.testing.assert_array_equal(target, pieces[window.piece][window.start : window.end])
        np.testing.assert_array_equal(guide.numbers, window.first_bar + np.arange(len(guide)))
        assert not guide.features.any()
        assert (guide.repeats == NO_BAR).all()


def test_shares_are_kept(families, pieces):
    tasks = TrainingTasks(families, TrainingShares.parse("fill=0.3,accompany=0.2", 0.4), 1)
    span = 0, len(pieces[0])
    roles, said = [], 0
    for epoch in range(400):
        guide = tasks(0, pieces[0], span, 1, epoch).guide
        roles.append(frozenset(roles_of(guide).tolist()))
        said += guide.features[:, len(Role) - 1 :].any()
    assert 0.22 < sum(Role.GIVEN in found for found in roles) / 400 < 0.38
    assert 0.13 < sum(Role.PART in found for found in roles) / 400 < 0.27
    assert 0.28 < said / 400 < 0.45  # those of which every kind was dropped say nothing


def test_shortened_pieces_begin_and_end_as_the_piece_and_are_told_their_length(families, pieces):
    tasks = TrainingTasks(families, TrainingShares.parse("shorten=0.5", 0.5), 1)
    columns, lengths = ConditionColumns.of(families), set()
    for epoch in range(40):
        for number, tokens in enumerate(pieces):
            start, end = len(tokens) // 5, len(tokens)
            asked = tasks(number, tokens, (start, end), 5, epoch)
            if asked.first_bar == 5:
                np.testing.assert_array_equal(asked.target, tokens[start:])
                continue
            bars, kept = (cut_bars(found, families.end_of_bar) for found in (tokens, asked.target))
            assert asked.first_bar == 1
            assert len(asked.target) <= end - start
            assert len(kept) < len(bars)
            np.testing.assert_array_equal(kept[0], bars[0])
            np.testing.assert_array_equal(kept[-1], bars[-1])
            assert asked.target[-1] == families.dictionary.eos()
            np.testing.assert_array_equal(asked.guide.numbers, 1 + np.arange(len(kept)))
            nothing = BarConditions.nothing(np.zeros(len(kept)), len(families.representation.instruments))
            told = columns.features(nothing.told(left_in_piece=np.arange(len(kept))[::-1]))
            assert (asked.guide.features[told == 1] == 1).all()
            lengths.add(len(kept))
    assert len(lengths) > 3


def test_tracks_and_density_of_a_part_are_not_those_of_its_bar(families, pieces):
    columns = ConditionColumns.of(families)
    tracks = slice(columns.width - columns.num_instruments - 1, None)
    for _, _, guide in drawn(families, pieces, shares="accompany=0.5", conditions=1.0):
        assert not guide.features[roles_of(guide) == Role.PART][:, tracks].any()


def test_only_tracks_keeps_their_notes_and_the_bars(families, pieces, name):
    for tokens in pieces:
        tokens = tokens[:-1]
        everything = set(range(len(families.representation.instruments)))
        np.testing.assert_array_equal(only_tracks(tokens, everything, families), tokens)
        nothing = only_tracks(tokens, set(), families)
        assert (nothing == families.end_of_bar).sum() == (tokens == families.end_of_bar).sum()
        assert len(nothing) == 2 * (tokens == families.end_of_bar).sum()  # what opens a bar, and its end
        assert families.is_piece(nothing)
        one = only_tracks(tokens, {1}, families)
        assert families.is_piece(one)
        symbols = [families.dictionary[token] for token in one]
        instrument = f"i-{families.representation.instruments[1]}"
        assert {symbol for symbol in symbols if symbol[0] == "i"} <= {instrument}


@pytest.mark.parametrize(
    ("tasks", "conditions", "message"),
    [
        ("dance=0.1", 0.0, "--task-shares takes fill, accompany, vary, shorten, once each"),
        ("fill=0.1,fill=0.1", 0.0, "once each"),
        ("fill=much", 0.0, "the share of fill must be from 0 to 1, not 'much'"),
        ("fill=1.5", 0.0, "the share of fill must be from 0 to 1, not '1.5'"),
        ("fill=0.4,vary=0.2", 0.0, "leaves less than half to plain pieces"),
        ("fill=0.1", 1.1, "--condition-share must be from 0 to 1, not 1.1"),
    ],
)
def test_impossible_shares_are_told(tasks, conditions, message):
    with pytest.raises(UserError, match=message):
        TrainingShares.parse(tasks, conditions)
