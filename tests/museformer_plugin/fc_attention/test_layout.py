import json

import numpy as np
import pytest

from museformer_plugin.fc_attention import BarLayout, PieceBars
from museformer_plugin.fc_attention.reference import dense_masks

MASKS = [
    f"mask_seed{seed}_{scheme}"
    for seed in range(3)
    for scheme in ("default", "last_eight_bars", "all_bars_fine", "all_bars_coarse")
]


def masks_of_plans(layout):
    """The masks that the two plans stand for, and how often each pair is visited."""
    rows = layout.num_summaries + layout.num_tokens
    counts = []
    for plan, queries in ((layout.token_plan, layout.num_tokens), (layout.summary_plan, layout.num_summaries)):
        count = np.zeros((queries, rows), dtype=int)
        for segment, (start, end) in enumerate(plan.query_ranges):
            ranges = plan.key_ranges[plan.first_key_range[segment] : plan.first_key_range[segment + 1]]
            keys = np.concatenate([np.arange(a, b) for a, b in ranges])
            for query in range(start, end):
                hidden = end - 1 - query if plan.causal[segment] else 0
                np.add.at(count[query], keys[: len(keys) - hidden], 1)
        counts.append(count)
    return counts


def golden_layout(golden, name):
    case = next(c for c in json.loads((golden / "masks" / "index.json").read_text()) if c["file"] == f"{name}.npz")
    lengths = case["bar_lengths"]
    starts = 1 + np.concatenate([[0], np.cumsum(lengths)[:-1]])
    piece = PieceBars(1 + sum(lengths), starts, len(lengths) - (not case["last_bar_complete"]))
    if case["structure_bars"] == "all":
        return BarLayout.build([piece], range(1, len(lengths)), coarse=True)
    return BarLayout.build([piece], case["structure_bars"], coarse=True)


def golden_masks(golden, name):
    arrays = np.load(golden / "masks" / f"{name}.npz")
    return [
        np.unpackbits(arrays[part], axis=1)[:, : arrays[f"{part}_shape"][1]].astype(bool)
        for part in ("token_rows", "summary_rows")
    ]


@pytest.mark.parametrize("name", MASKS)
def test_dense_masks_are_those_of_the_original(golden, name):
    for ours, theirs in zip(dense_masks(golden_layout(golden, name)), golden_masks(golden, name)):
        np.testing.assert_array_equal(ours.numpy(), theirs)


@pytest.mark.parametrize("name", MASKS)
def test_plans_visit_the_pairs_of_the_original_once(golden, name):
    for ours, theirs in zip(masks_of_plans(golden_layout(golden, name)), golden_masks(golden, name)):
        np.testing.assert_array_equal(ours, theirs)


def test_plans_visit_the_pairs_of_the_dense_masks_once(layout):
    for plan, dense in zip(masks_of_plans(layout), dense_masks(layout)):
        np.testing.assert_array_equal(plan, dense.numpy())


def test_query_ranges_cover_every_row_once(layout):
    for plan, rows in ((layout.token_plan, layout.num_tokens), (layout.summary_plan, layout.num_summaries)):
        covered = [row for start, end in plan.query_ranges for row in range(start, end)]
        assert sorted(covered) == list(range(rows))


def test_no_piece_sees_another(unequal_layout):
    token_mask, summary_mask = (mask.numpy() for mask in dense_masks(unequal_layout))
    pieces = unequal_layout.pieces
    piece = np.repeat(range(len(pieces)), [p.num_tokens for p in pieces])
    summary_piece = np.repeat(range(len(pieces)), [p.num_complete for p in pieces])
    columns = np.concatenate([summary_piece, piece])
    assert not token_mask[piece[:, None] != columns].any()
    assert not summary_mask[summary_piece[:, None] != columns].any()


def test_bars_are_numbered_from_one_and_the_prefix_is_in_none(piece_of):
    layout = BarLayout.build([piece_of([2, 1]), piece_of([1, 3], last_is_complete=False)], (1,))
    assert layout.bar_ids.tolist() == [0, 1, 1, 2] + [0, 1, 2, 2, 2]
    assert layout.summary_bar_ids.tolist() == [1, 2] + [1]


def test_bars_of_a_window_keep_their_numbers(piece_of):
    window, piece = piece_of([2, 1, 3], last_is_complete=False, first_bar=9), piece_of([1, 2])
    layout = BarLayout.build([window, piece], (1,))
    assert layout.bar_ids.tolist() == [0, 9, 9, 10, 11, 11, 11] + [0, 1, 2, 2]
    assert layout.summary_bar_ids.tolist() == [9, 10] + [1, 2]


def test_the_numbers_of_bars_change_nobodys_sight(piece_of):
    """Who sees whom depends on the distance of bars alone."""
    numbered = [BarLayout.build([piece_of([2, 1, 3, 2, 2], first_bar=number)], (1, 3)) for number in (1, 30)]
    for plan in ("token_plan", "summary_plan"):
        first, second = (getattr(layout, plan) for layout in numbered)
        np.testing.assert_array_equal(first.query_ranges, second.query_ranges)
        np.testing.assert_array_equal(first.key_ranges, second.key_ranges)
    for first, second in zip(*map(dense_masks, numbered)):
        assert first.equal(second)


def test_without_coarse_attention_there_are_no_summaries(piece_of):
    layout = BarLayout.build([piece_of([2, 1, 3])], (1,), coarse=False)
    assert layout.num_summaries == 0
    assert len(layout.summary_plan.query_ranges) == 0


def test_structure_bars_may_come_in_any_order_and_with_repeats(piece_of):
    layout = BarLayout.build([piece_of([1, 1])], (4, 1, 4))
    assert layout.structure_bars == (1, 4)


def test_adjacent_structure_bars_share_one_range(piece_of):
    layout = BarLayout.build([piece_of([2, 2, 2, 2])], (1, 2, 3), coarse=False)
    last = layout.token_plan.first_key_range[-2:]
    assert layout.token_plan.key_ranges[last[0] : last[1]].tolist() == [[0, 9]]


def test_adjacent_summaries_share_one_range(piece_of):
    """With the paper's structure bars 8 ranges of tokens and 8 of summaries at most, however long the piece."""
    layout = BarLayout.build([piece_of([1] * 100)], (1, 2, 4, 8, 12, 16, 24, 32))
    assert np.diff(layout.token_plan.first_key_range).max() <= 16


def key_rows(plan, segment):
    return [tuple(keys) for keys in plan.segments()[segment].keys]


def test_a_bar_sees_those_written_before_it_by_the_distance_of_their_numbers(piece_of):
    """Bars 1, 2, 5 and 4 of two tokens each, of which 4 is written last; summaries are rows 0 to 3."""
    piece = piece_of([2, 2, 2, 2], numbers=[1, 2, 5, 4])
    prefix, bars = (4, 5), [(5, 7), (7, 9), (9, 11), (11, 13)]
    plan = BarLayout.build([piece], (-1, 2)).token_plan
    assert key_rows(plan, 4) == [(0, 1), prefix, (7, 13)]  # 2 at distance 2, 5 at -1, the summary of 1
    assert key_rows(plan, 3) == [(0, 2), prefix, bars[2]]  # 4 is not there yet
    plan = BarLayout.build([piece], (1, 3)).token_plan
    assert key_rows(plan, 4) == [(1, 3), (4, 7), bars[3]]
    assert key_rows(plan, 3) == [(0, 1), prefix, (7, 11)]  # 5 sees 2 at distance 3


def test_distance_0_is_of_another_bar_with_the_same_number(piece_of):
    layout = BarLayout.build([piece_of([2, 1, 2], numbers=[1, 2, 1])], (0,))
    assert layout.bar_ids.tolist() == [0, 1, 1, 2, 1, 1]
    assert layout.summary_bar_ids.tolist() == [1, 2, 1]
    assert key_rows(layout.token_plan, 3) == [(1, 2), (3, 6), (7, 9)]
    assert key_rows(layout.token_plan, 2) == [(0, 1), (3, 4), (6, 7)]


def test_a_batch_has_a_piece():
    with pytest.raises(ValueError, match="at least one piece"):
        BarLayout.build([], (1,))


@pytest.mark.parametrize(
    ("num_tokens", "starts", "num_complete", "message"),
    [
        (0, [], 0, "num_tokens must be positive"),
        (5, [2], 1, "must rise from 1"),
        (5, [1, 3, 3], 3, "must rise from 1"),
        (5, [1, 5], 2, "the last bar starts at 5 of 5 tokens"),
        (5, [1, 3], 0, "all bars but the last must be complete"),
        (5, [1, 3], 3, "all bars but the last must be complete"),
    ],
    ids=["no_prefix", "gap_after_prefix", "empty_bar", "empty_last_bar", "hole", "too_many_complete"],
)
def test_impossible_bars_are_refused(num_tokens, starts, num_complete, message):
    with pytest.raises(ValueError, match=message):
        PieceBars(num_tokens, np.array(starts, dtype=np.int64), num_complete)


@pytest.mark.parametrize(
    ("numbers", "message"),
    [([0, 1], "bars are numbered from 1 up, not from 0"), ([1], "2 bars cannot have 1 numbers")],
)
def test_impossible_numbers_are_refused(numbers, message):
    with pytest.raises(ValueError, match=message):
        PieceBars(5, np.array([1, 3]), 2, np.array(numbers))


@pytest.mark.parametrize(
    ("repeats", "message"),
    [
        ([-1, 1], "repeats one that was written before"),
        ([0, -1], "repeats one that was written before"),
        ([-1, -2], "repeats one that was written before"),
        ([-1], "2 bars cannot have 1 that they repeat"),
    ],
)
def test_impossible_repeats_are_refused(repeats, message):
    with pytest.raises(ValueError, match=message):
        PieceBars(5, np.array([1, 3]), 2, repeats=np.array(repeats))
