import numpy as np
import pytest
import torch

from museformer_plugin.fc_attention import AttentionPlan, BarLayout, PieceBars, Segment

PAPER = (1, 2, 4, 8, 12, 16, 24, 32)


def _piece_of(bar_lengths, last_is_complete=True, first_bar=1, numbers=None, repeats=None):
    lengths = np.array(bar_lengths, dtype=np.int64)
    starts = 1 + np.concatenate([[0], np.cumsum(lengths)[:-1]]) if len(lengths) else lengths
    numbers = first_bar + np.arange(len(lengths)) if numbers is None else np.array(numbers)
    incomplete = int(bool(len(lengths)) and not last_is_complete)
    repeats = None if repeats is None else np.array(repeats)
    return PieceBars(1 + int(lengths.sum()), starts, len(lengths) - incomplete, numbers, repeats)


def _many_bars(count, seed):
    return np.random.default_rng(seed).integers(1, 8, count).tolist()


# name -> (pieces as (bar lengths, last is complete[, number of the first bar[, numbers[, repeats]]]), structure bars,
# coarse)
LAYOUTS = {
    "odd_bars": ([([3, 7, 5, 1, 9], True)], (1, 2), True),
    "one_token_bars": ([([1] * 7, True)], (2,), True),
    "one_bar": ([([6], True)], PAPER, True),
    "one_incomplete_bar": ([([6], False)], PAPER, True),
    "prefix_alone": ([([], True)], PAPER, True),
    "incomplete_last_bar": ([([4, 2, 5, 3], False)], (1, 3), True),
    "paper_44_bars": ([(_many_bars(44, 0), False)], PAPER, True),
    "unequal_pieces": (
        [([3, 1, 4], True), ([], True), ([2] * 9, False), ([5], True), (_many_bars(20, 1), True)],
        (1, 2, 4),
        True,
    ),
    "windows": (
        [([3, 1, 4, 2, 5], False, 7), ([2, 6], True), ([], True, 3), ([4], False, 40), (_many_bars(20, 2), True, 2)],
        (1, 2, 4),
        True,
    ),
    "infilled_bars": (
        [
            ([3, 1, 4, 2, 5, 2], False, 0, [1, 2, 5, 6, 3, 4]),
            ([2, 4, 1, 3, 2], True, 0, [3, 3, 1, 9, 3]),
            ([2, 1, 1], True),
        ],
        (-2, -1, 0, 1, 4),
        True,
    ),
    "infilled_bars_no_coarse": ([([3, 1, 4, 2, 5, 2], True, 0, [4, 1, 5, 2, 3, 2])], (-3, 0, 1), False),
    "repeated_bars": (
        [
            ([3, 1, 4, 2, 5, 2], False, 0, [1, 2, 5, 6, 3, 4], [-1, 0, -1, 2, 0, 1]),
            ([2, 4, 1, 3, 2, 6], True, 1, None, [-1, -1, -1, 0, 1, 0]),
            ([2, 1, 1], True),
        ],
        (1, 2),
        True,
    ),
    "repeated_bars_no_coarse": ([([3, 1, 4, 2, 5], True, 1, None, [-1, -1, 0, 1, 0])], (1,), False),
    "no_structure_bars": ([([3, 2, 4, 1], True), ([2, 2], False)], (), True),
    "all_structure_bars": ([([3, 2, 4, 1, 3], True)], tuple(range(1, 9)), True),
    "no_coarse": ([([3, 1, 4, 2], True), ([2, 3, 3], False)], (1, 3), False),
    "own_bar_only": ([([3, 1, 4, 2], True)], (), False),
}


# Bars of pieces, and between them segments whose window is shorter or longer than themselves, or reaches beyond them.
MIXED = AttentionPlan.of(
    [
        Segment((0, 1), [(5, 6)], causal=True),
        Segment((1, 90), [(0, 3), (5, 95)], causal=True, window=7),
        Segment((90, 100), [(1, 2), (4, 5), (60, 105)], causal=True, window=30),
        Segment((100, 130), [(2, 4), (70, 135)], causal=True),
        Segment((130, 140), [(0, 5)]),
        Segment((140, 300), [(0, 1), (135, 305)], causal=True, window=64),
    ],
    310,
)
PLANS = {
    "one_row": AttentionPlan.sliding([9, 3], 1),
    "window_3": AttentionPlan.sliding([9, 1, 40], 3),
    "longer_than_the_pieces": AttentionPlan.sliding([9, 30], 50),
    "windows_of_100": AttentionPlan.sliding([250, 70], 100),
    "prefix": AttentionPlan.sliding([90, 2, 1, 130], 33, prefix=2),
    "mixed": MIXED,
}


@pytest.fixture(params=PLANS.values(), ids=PLANS.keys())
def windowed_plan(request):
    """One of several plans with moving left edges."""
    return request.param


@pytest.fixture
def mixed_plan():
    return AttentionPlan.of(MIXED.segments(), MIXED.num_keys)  # nothing prepared


@pytest.fixture(scope="session")
def piece_of():
    """A function from bar lengths, whether the last is complete, the first's or all numbers, and repeats to bars."""
    return _piece_of


@pytest.fixture(scope="session", params=LAYOUTS.values(), ids=LAYOUTS.keys())
def layout(request):
    """One of many layouts: every awkward shape of bars, pieces and structure bars."""
    pieces, structure_bars, coarse = request.param
    return BarLayout.build([_piece_of(*piece) for piece in pieces], structure_bars, coarse)


@pytest.fixture(scope="session")
def unequal_layout():
    pieces, structure_bars, coarse = LAYOUTS["unequal_pieces"]
    return BarLayout.build([_piece_of(*piece) for piece in pieces], structure_bars, coarse)


def _normalise_and_weigh(rows):
    """Something to do to K2 s' [N, H, Dh] that is not linear, and not the same for all rows."""
    weights = torch.arange(1, len(rows) + 1, dtype=rows.dtype, device=rows.device).sqrt()
    return torch.nn.functional.normalize(rows, dim=-1) * weights[:, None, None]


@pytest.fixture(scope="session")
def place_summary_keys():
    """A function for the argument of that name."""
    return _normalise_and_weigh


def _assert_at_most_twice_the_error(found, eager, truth):
    for index, (ours, theirs, exact) in enumerate(zip(found, eager, truth, strict=True)):
        if ours is None or not ours.numel():
            continue
        assert ours.dtype == theirs.dtype
        error, allowed = ((part.double().cpu() - exact).abs().max() for part in (ours, theirs))
        # where eager code happens to be exact: sums of 16 terms accumulated in float32
        rounding = 16 * torch.finfo(torch.float32).eps * max(1.0, exact.abs().max())
        assert error <= 2 * allowed + rounding, f"result {index}: {error} against {allowed}"


@pytest.fixture(scope="session")
def assert_at_most_twice_the_error():
    """A function from our results and those of eager code to an assertion, the truth being in float64 on the CPU."""
    return _assert_at_most_twice_the_error


@pytest.fixture(scope="session")
def draw_inputs():
    """A function from a layout to random leaves (tokens, summaries, summary_kv_weight) for fc_attention."""

    def draw(layout, heads=2, head_width=4, dtype=torch.float64, seed=0):
        generator = torch.Generator().manual_seed(seed)

        def leaf(*shape, scale=1.0):
            values = torch.randn(*shape, dtype=torch.float64, generator=generator) * scale
            return values.to(dtype).requires_grad_()

        width = heads * head_width
        tokens = tuple(leaf(layout.num_tokens, heads, head_width) for _ in "qkv")
        summaries = tuple(leaf(layout.num_summaries, heads, head_width) for _ in "qkv")
        return tokens, summaries, leaf(2 * width, width, scale=width**-0.5)

    return draw
