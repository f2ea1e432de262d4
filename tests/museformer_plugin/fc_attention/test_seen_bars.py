"""The plans of a batch against loops over its bars."""

import numpy as np
import pytest

from museformer_plugin.fc_attention import AttentionPlan, BarLayout, Segment
from museformer_plugin.fc_attention.layout import LONGEST_SEGMENT

ARRAYS = ("query_ranges", "key_ranges", "first_key_range", "causal", "windows")


def merged(ranges):
    found = []
    for start, end in ranges:
        if found and found[-1][1] == start:
            found[-1] = (found[-1][0], end)
        else:
            found.append((start, end))
    return found


def by_loops(pieces, structure_bars, coarse):
    """Token plan and summary plan, bar by bar and pair by pair."""
    num_summaries = sum(piece.num_complete for piece in pieces) if coarse else 0
    token_segments, summary_segments = [], []
    row, summary = num_summaries, 0
    for piece in pieces:
        prefix = (row, row + 1)
        edges = [row + int(start) for start in piece.starts] + [row + piece.num_tokens]
        bars, numbers = list(zip(edges, edges[1:])), piece.bar_numbers.tolist()
        token_segments.append(Segment((row - num_summaries, row + 1 - num_summaries), [prefix], causal=True))
        for bar, (start, end) in enumerate(bars):
            fine = [
                numbers[bar] - numbers[other] in structure_bars or other == piece.repeated_bars[bar]
                for other in range(bar)
            ]
            seen = [prefix, *(bars[other] for other in range(bar) if fine[other]), (start, end)]
            summaries = [(summary + other, summary + other + 1) for other in range(bar) if coarse and not fine[other]]
            keys = merged(summaries) + merged(seen)
            for first in range(start, end, LONGEST_SEGMENT):
                last = min(first + LONGEST_SEGMENT, end)
                queries = (first - num_summaries, last - num_summaries)
                token_segments.append(Segment(queries, [*keys[:-1], (keys[-1][0], last)], causal=True))
        for bar in range(piece.num_complete if coarse else 0):
            summary_segments.append(Segment((summary, summary + 1), [(summary, summary + 1), bars[bar]]))
            summary += 1
        row += piece.num_tokens
    return AttentionPlan.of(token_segments, row), AttentionPlan.of(summary_segments, row)


def check(pieces, structure_bars, coarse):
    layout = BarLayout.build(pieces, structure_bars, coarse)
    for ours, theirs in zip((layout.token_plan, layout.summary_plan), by_loops(pieces, structure_bars, coarse)):
        assert ours.num_keys == theirs.num_keys
        for name in ARRAYS:
            found, expected = getattr(ours, name), getattr(theirs, name)
            np.testing.assert_array_equal(found, expected)
            assert found.dtype == expected.dtype


def test_plans_are_those_of_loops(layout):
    check(layout.pieces, layout.structure_bars, layout.coarse)


def test_bars_longer_than_a_segment(piece_of):
    check([piece_of([5, LONGEST_SEGMENT, 1100, 3]), piece_of([600], False)], (1, 2), True)


@pytest.mark.parametrize("seed", range(20))
def test_any_numbers_and_repeats(piece_of, seed):
    """Bars numbered in any order, with repeats and holes, some of which repeat an earlier one."""
    chance = np.random.default_rng(seed)
    pieces = []
    for _ in range(chance.integers(1, 5)):
        count = int(chance.integers(0, 30))
        repeats = [int(chance.integers(-1, bar)) if bar else -1 for bar in range(count)]
        numbers = chance.integers(1, 40, count)
        pieces.append(
            piece_of(chance.integers(1, 6, count).tolist(), bool(chance.integers(2)), 1, numbers, repeats or None)
        )
    distances = chance.integers(-30, 30, chance.integers(0, 12)).tolist()
    check(pieces, distances, bool(seed % 3))
