"""The lists that kernels loop over, read back as a mask, against that of the plan."""

import pickle
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from museformer_plugin.fc_attention import AttentionPlan, BarLayout, Segment
from museformer_plugin.fc_attention.backends import prepare_for_kernels
from museformer_plugin.fc_attention.reference import mask_of
from museformer_plugin.fc_attention.triton import index_lists, key_blocks, segments
from museformer_plugin.fc_attention.triton.index_lists import IndexLists, lists_on


def read(plan):
    """The lists of a plan as NumPy arrays."""
    on_cpu = IndexLists.of(plan).to(torch.device("cpu"))._asdict()
    return SimpleNamespace(**{name: part.numpy() if torch.is_tensor(part) else part for name, part in on_cpu.items()})


def seen_by_query_blocks(lists, shape):
    seen = np.zeros(shape, dtype=int)
    for first, end, begin, all_see, last_sees, edge, left in lists.query_blocks:
        assert 0 < end - first <= index_lists.QUERY_BLOCK
        for index, query in enumerate(range(first, end)):
            columns = np.arange(min(all_see + index, last_sees))
            columns = columns[(columns < edge) | (columns >= left + index)]
            np.add.at(seen[query], lists.key_rows[begin + columns], 1)
    return seen


def seen_by_key_blocks(lists, shape):
    seen = np.zeros(shape, dtype=int)
    for key_begin, size, begin, num, partly, masks, _ in lists.key_blocks:
        assert 0 < size <= segments.KEY_BLOCK
        for index in range(num):
            mask = int(lists.masks[masks + index]) if index < partly else -1
            bits = [bool(mask >> bit & 1) for bit in range(size)]
            np.add.at(seen[lists.query_rows[begin + index]], lists.key_order[key_begin : key_begin + size][bits], 1)
    return seen


def check(plan):
    lists, expected = read(plan), mask_of(plan).numpy().astype(int)
    np.testing.assert_array_equal(seen_by_query_blocks(lists, expected.shape), expected)
    if not lists.one_query_each:
        np.testing.assert_array_equal(seen_by_key_blocks(lists, expected.shape), expected)
        assert sorted(lists.key_order) == list(range(plan.num_keys))
    return lists


def test_both_directions_say_what_the_ranges_say(layout):
    assert not check(layout.token_plan).one_query_each
    assert check(layout.summary_plan).one_query_each


def test_moving_left_edges(windowed_plan):
    assert check(windowed_plan).windowed


@pytest.mark.parametrize("window", [1, 5, 63, 64, 65, 200, 512])
@pytest.mark.parametrize("prefix", [0, 1, 20])
def test_sliding_windows(window, prefix):
    check(AttentionPlan.sliding([700, 3, 130], window, prefix))


def test_windows_of_split_blocks(mixed_plan, monkeypatch):
    monkeypatch.setattr(key_blocks, "LONGEST_LOOP", 50)
    monkeypatch.setattr(key_blocks, "MOST_PARTS", 100)
    assert check(mixed_plan).num_partials


def test_work_of_windows_is_close_to_the_live_pairs():
    """In whole tiles of 64 x 64, a tile more a block of queries or keys than full windows have."""
    plan = AttentionPlan.sliding([8192], 512)
    lists, live = read(plan), int(mask_of(plan).sum())
    for keys_or_queries in (lists.query_blocks[:, 4], lists.key_blocks[:, 3]):
        assert (-(-keys_or_queries // 64) * 64 * 64).sum() < 1.3 * live
    assert lists.key_blocks[:, 4].sum() < 0.25 * lists.key_blocks[:, 3].sum()  # queries that need masks


@pytest.mark.parametrize("complete", [True, False])
def test_bars_of_odd_lengths(piece_of, complete):
    layout = BarLayout.build([piece_of([1, 3, 63, 64, 65, 111, 7, 8, 200], complete)], (1, 3))
    check(layout.token_plan)
    check(layout.summary_plan)


def test_bars_longer_than_a_segment(piece_of):
    check(BarLayout.build([piece_of([5, 1100, 3, 515])], (1,)).token_plan)


def test_a_run_of_own_keys_may_be_cut_by_others():
    """Segment 1 sees the middle of segment 0's own rows, so that these fall into three runs."""
    for middle in ((10, 30), (2, 5)):
        segments = [Segment((0, 70), [(0, 70)], True), Segment((70, 75), [middle, (70, 75)], True)]
        check(AttentionPlan.of(segments, 80))


def test_blocks_that_many_queries_see_are_split(piece_of, monkeypatch):
    monkeypatch.setattr(key_blocks, "LONGEST_LOOP", 50)
    monkeypatch.setattr(key_blocks, "MOST_PARTS", 100)
    layout = BarLayout.build([piece_of([9, 70, 3, 80, 20, 2, 30])], (1, 2))
    lists = check(layout.token_plan)
    assert not lists.windowed
    assert lists.num_partials > 2 * len(lists.partial_blocks) > 0
    assert lists.key_blocks[:, 3].max() == 50
    taken = lists.key_blocks[:, 6]
    assert sorted(taken[taken >= 0]) == list(range(lists.num_partials))
    for key_begin, size, first, number in lists.partial_blocks:
        parts = lists.key_blocks[(first <= taken) & (taken < first + number)]
        assert len(parts) == number
        assert (parts[:, :2] == (key_begin, size)).all()


def test_summaries_of_pieces_do_not_share_blocks(piece_of):
    """A shared block is walked by the queries that see any of its keys: those of one piece."""
    layout = BarLayout.build([piece_of([20] * 6), piece_of([20] * 6)], (1,))
    lists = read(layout.token_plan)
    piece_of_key = np.concatenate([np.repeat([0, 1], 6), np.repeat([0, 1], 121)])
    for key_begin, size, *_ in lists.key_blocks:
        assert len(set(piece_of_key[lists.key_order[key_begin : key_begin + size]])) == 1


def test_work_is_close_to_the_live_pairs(piece_of):
    """Whole tiles of 64 x 64 that are walked, against the pairs that see each other, at the mean piece."""
    bars = np.maximum(1, np.random.default_rng(0).gamma(4, 158 / 4, 95)).astype(int).tolist()
    layout = BarLayout.build([piece_of(bars)], (1, 2, 4, 8, 12, 16, 24, 32))
    lists = read(layout.token_plan)
    live = int(mask_of(layout.token_plan).sum())
    for keys_or_queries in (lists.query_blocks[:, 4], lists.key_blocks[:, 3]):
        assert (-(-keys_or_queries // 64) * 64 * 64).sum() < 1.35 * live


def test_lists_go_to_a_device_once(unequal_layout):
    plan, device = unequal_layout.token_plan, torch.device("cpu")
    on_device = lists_on(plan, device)
    assert lists_on(plan, device) is on_device
    for name in ("key_rows", "query_blocks", "key_order", "query_rows", "key_blocks", "partial_blocks", "masks"):
        np.testing.assert_array_equal(getattr(on_device, name).numpy(), getattr(read(plan), name))
        assert getattr(on_device, name).storage_offset() * getattr(on_device, name).element_size() % 16 == 0


def test_lists_travel_between_processes_but_not_their_copies(piece_of):
    layout = BarLayout.build([piece_of([3, 70, 2])], (1,))
    prepare_for_kernels(layout.token_plan, layout.summary_plan)
    lists_on(layout.token_plan, torch.device("cpu"))
    assert len(layout.token_plan._prepared) == 2
    arrived = pickle.loads(pickle.dumps(layout))
    for plan in (arrived.token_plan, arrived.summary_plan):
        assert plan._prepared.keys() == {(IndexLists.of,)}
    check(arrived.token_plan)
