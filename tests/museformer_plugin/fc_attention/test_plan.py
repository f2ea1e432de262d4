"""Plans by rows: what they say as dense masks, windows that slide with the query, and tiles cut from them."""

import pickle

import numpy as np
import pytest
import torch

from museformer_plugin.fc_attention import AttentionPlan, Segment, attention
from museformer_plugin.fc_attention.cpu import tiles as tiles_module
from museformer_plugin.fc_attention.cpu.tiles import Tiles
from museformer_plugin.fc_attention.reference import dense_masks, mask_of, masked_attention


def random_rows(plan, dtype=torch.float64, heads=2, width=4):
    generator = torch.Generator().manual_seed(0)
    sizes = (plan.num_queries, plan.num_keys, plan.num_keys)
    rows = [torch.randn(size, heads, width, generator=generator, dtype=torch.float64).to(dtype) for size in sizes]
    return [part.requires_grad_() for part in rows]


def by_us(plan, dropout=0.0):
    return lambda q, k, v: attention(q, k, v, plan, dropout)


def by_mask(plan):
    return lambda q, k, v: masked_attention(q, k, v, mask_of(plan))


def with_gradients(function, rows):
    out = function(*rows)
    weights = torch.linspace(-1, 1, out.numel(), dtype=torch.float64).view_as(out)
    return [out, *torch.autograd.grad((out.double() * weights).sum(), rows)]


@pytest.mark.parametrize("prefix", [0, 1, 4])
@pytest.mark.parametrize("window", [1, 5, 100])
def test_sliding_windows_by_their_definition(window, prefix):
    lengths = [7, 3, 1, 60]
    piece = np.repeat(range(4), lengths)
    index = np.concatenate([np.arange(length) for length in lengths])
    distance = index[:, None] - index
    seen = (distance >= 0) & ((distance < window) | (index < prefix))
    # the prefix itself is causal
    expected = (piece[:, None] == piece) & seen
    np.testing.assert_array_equal(mask_of(AttentionPlan.sliding(lengths, window, prefix)).numpy(), expected)


def test_a_window_has_a_row():
    with pytest.raises(ValueError, match="window: expected 1 or more rows, not 0"):
        AttentionPlan.sliding([5], 0)
    with pytest.raises(ValueError, match="a segment with a window must be causal"):
        AttentionPlan.of([Segment((0, 3), [(0, 3)], window=2)], 3)


def test_masks_of_plans_are_those_of_the_layout(layout):
    for plan, dense in zip((layout.token_plan, layout.summary_plan), dense_masks(layout)):
        assert torch.equal(mask_of(plan), dense)


@pytest.mark.parametrize(("longest", "align"), [(1, 1), (8, 1), (16, 16), (64, 64), (500, 1)])
def test_shorter_segments_see_the_same(windowed_plan, longest, align):
    cut = windowed_plan.with_short_windows(longest, align)
    assert torch.equal(mask_of(cut), mask_of(windowed_plan))
    for segment in cut.segments():
        if segment.window:
            (first, end), (first_key, end_key) = segment.queries, segment.keys[-1]
            assert end - first <= longest
            assert end_key - first_key < end - first + segment.window + align


def test_plans_without_windows_are_not_cut(layout):
    assert layout.token_plan.with_short_windows(1) is layout.token_plan


def test_segments_are_what_a_plan_was_made_of(mixed_plan):
    again = AttentionPlan.of(mixed_plan.segments(), mixed_plan.num_keys)
    assert again.segments() == mixed_plan.segments()
    assert mixed_plan.segments()[1] == Segment((1, 90), [(0, 3), (5, 95)], True, 7)


def test_what_a_backend_prepares_is_made_once_and_travels_unless_it_is_for_a_device(unequal_layout):
    plan = AttentionPlan.of(
        unequal_layout.token_plan.segments(), unequal_layout.token_plan.num_keys
    )  # nothing made yet
    made = []

    def on_device(plan, device):
        made.append(device)
        return object()

    tiles = plan.prepared(Tiles.of)
    assert plan.prepared(Tiles.of) is tiles
    assert plan.prepared(on_device, "a") is plan.prepared(on_device, "a")
    plan.prepared(on_device, "b")
    assert made == ["a", "b"]
    assert pickle.loads(pickle.dumps(plan))._prepared.keys() == {(Tiles.of,)}


def seen_in_tiles(tiles, shape):
    """How often each query sees each key."""
    seen = np.zeros(shape, dtype=int)
    for start, end, causal, first, last, width, left in tiles.segments.tolist():
        columns = 0
        for tile in range(first, last):
            index, first_masked, last_masked = tiles.tiles[tile].tolist()
            rows = np.arange(*tiles.ranges[index].tolist())
            columns += len(rows)
            assert (end - start) * len(rows) <= tiles.scores_of_tile
            kept = np.ones((end - start, len(rows)), dtype=int)
            kept[:, tiles.masked[first_masked:last_masked].numpy()] = 0
            if causal and tile == last - 1:
                kept = np.triu(np.tril(kept, len(rows) - (end - start)), left)
                assert left <= 0
            seen[start:end, rows] += kept
        assert columns == width
        assert (end - start) * width <= tiles.scores_of_segment
    return seen


def test_tiles_see_what_their_plans_see(layout):
    for plan in (layout.token_plan, layout.summary_plan):
        tiles = plan.prepared(Tiles.of)
        assert len(tiles.segments) == len(plan.query_ranges)
        np.testing.assert_array_equal(seen_in_tiles(tiles, (plan.num_queries, plan.num_keys)), mask_of(plan).numpy())


def test_tiles_of_windows_see_what_their_plans_see(windowed_plan):
    tiles = Tiles.of(windowed_plan)
    np.testing.assert_array_equal(
        seen_in_tiles(tiles, (windowed_plan.num_queries, windowed_plan.num_keys)), mask_of(windowed_plan).numpy()
    )


def test_outputs_and_gradients_are_those_of_the_dense_mask(windowed_plan):
    rows = random_rows(windowed_plan)
    theirs = with_gradients(by_mask(windowed_plan), rows)
    for found, expected in zip(with_gradients(by_us(windowed_plan), rows), theirs):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


@pytest.mark.parametrize("queries", [1, 5, 1000])
def test_however_windows_are_cut(mixed_plan, queries, monkeypatch):
    monkeypatch.setattr(tiles_module, "_QUERIES_OF_A_WINDOW", queries)
    plan = AttentionPlan.of(mixed_plan.segments(), mixed_plan.num_keys)
    rows = random_rows(plan)
    theirs = with_gradients(by_mask(plan), rows)
    for found, expected in zip(with_gradients(by_us(plan), rows), theirs):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)


def test_scores_too_large_for_exp(windowed_plan):
    """Hidden scores may be larger than those that a query sees by more than exp can take."""
    rows = random_rows(windowed_plan)
    with torch.no_grad():
        rows[0] *= 900
    theirs = with_gradients(by_mask(windowed_plan), rows)
    for found, expected in zip(with_gradients(by_us(windowed_plan), rows), theirs):
        torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-7)


def test_gradcheck():
    plan = AttentionPlan.sliding([9, 4], 3, prefix=1)
    assert torch.autograd.gradcheck(lambda *rows: attention(*rows, plan), random_rows(plan, width=2))


def test_gradients_with_dropout_are_those_of_the_drawn_mask(windowed_plan):
    """With the rows of the identity as values, out is the weights themselves."""
    q, k, v = random_rows(windowed_plan)
    torch.manual_seed(3)
    shape = (windowed_plan.num_keys, 2, windowed_plan.num_keys)
    zeros = torch.zeros(shape, dtype=torch.float64)
    values = torch.eye(windowed_plan.num_keys, dtype=torch.float64).unsqueeze(1).expand(shape)
    kept = attention(zeros[: windowed_plan.num_queries], zeros, values, windowed_plan, 0.25).transpose(0, 1) != 0
    mask = mask_of(windowed_plan)
    assert not (kept & ~mask).any()

    def theirs(q, k, v):
        scores = torch.einsum("qhd,khd->hqk", q, k) / 2
        weights = scores.masked_fill(~mask, float("-inf")).softmax(-1) * kept / 0.75
        return torch.einsum("hqk,khd->qhd", weights, v)

    expected = with_gradients(theirs, [q, k, v])
    torch.manual_seed(3)
    for found, right in zip(with_gradients(by_us(windowed_plan, 0.25), [q, k, v]), expected):
        torch.testing.assert_close(found, right, rtol=0, atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_error_is_at_most_twice_that_of_eager_code(windowed_plan, dtype, assert_at_most_twice_the_error):
    low = random_rows(windowed_plan, dtype, width=16)
    exact = [rows.detach().double().requires_grad_() for rows in low]
    dense = by_mask(windowed_plan)
    truth, eager = with_gradients(dense, exact), with_gradients(dense, low)
    assert_at_most_twice_the_error(with_gradients(by_us(windowed_plan), low), eager, truth)


def test_arguments_that_do_not_fit():
    plan = AttentionPlan.sliding([5], 2)
    q, k, v = random_rows(plan)
    with pytest.raises(ValueError, match=r"q has shape \(4, 2, 4\), expected \[5, 2, 4\]"):
        attention(q[:4], k, v, plan)
    with pytest.raises(ValueError, match=r"k has shape \(4, 2, 4\), expected \[5, 2, 4\]"):
        attention(q, k[:4], v, plan)
    with pytest.raises(ValueError, match="v is torch.float32 on cpu, expected torch.float64 on cpu"):
        attention(q, k, v.float(), plan)
    with pytest.raises(ValueError, match="dropout: expected a rate from 0 to below 1, not 1"):
        attention(q, k, v, plan, dropout=1)
