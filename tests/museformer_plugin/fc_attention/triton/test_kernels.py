"""The kernels against the dense definition and the CPU backend: outputs, every gradient, precision."""

import numpy as np
import pytest
import torch

from museformer_plugin.fc_attention import AttentionPlan, BarLayout, fc_attention
from museformer_plugin.fc_attention.cpu import operator as cpu
from museformer_plugin.fc_attention.reference import fc_attention_reference, mask_of, masked_attention
from museformer_plugin.fc_attention.triton import index_lists, key_blocks

PAPER = (1, 2, 4, 8, 12, 16, 24, 32)
FORTY_BARS = np.random.default_rng(2).integers(1, 8, 42).tolist()

# name -> (pieces as (bar lengths, last is complete), structure bars, coarse), heads, head width
CASES = {
    "odd_bars-H1-D16": ([([1, 3, 63, 64, 65, 111], True)], (1, 2), True, 1, 16),
    "odd_bars-no_coarse-H1-D64": ([([65, 1, 66, 3], False)], (1, 3), False, 1, 64),
    "one_token_bars-H3-D24": ([([1] * 7, True)], (2,), True, 3, 24),
    "one_bar-H2-D128": ([([70], True)], PAPER, True, 2, 128),
    "one_incomplete_bar-H1-D100": ([([9], False)], PAPER, True, 1, 100),
    "prefix_alone-H2-D16": ([([], True)], PAPER, True, 2, 16),
    "paper_42_bars-H1-D32": ([(FORTY_BARS, False)], PAPER, True, 1, 32),
    "unequal_pieces-H2-D64": (
        [([3, 1, 40], True), ([], True), ([9] * 5, False), ([5], True), ([2, 70, 2, 2, 30, 1], True)],
        (1, 2, 4),
        True,
        2,
        64,
    ),
    "no_structure_bars-H2-D24": ([([3, 20, 4, 1], True), ([2, 2], False)], (), True, 2, 24),
    "own_bar_only-H1-D16": ([([3, 66, 4, 2], True)], (), False, 1, 16),
    "longer_than_a_segment-H1-D16": ([([2, 520, 7], True)], (1,), True, 1, 16),
}


@pytest.fixture(params=CASES.values(), ids=CASES.keys())
def case(request, piece_of):
    """A layout, heads and head width."""
    pieces, structure_bars, coarse, heads, width = request.param
    return BarLayout.build([piece_of(*piece) for piece in pieces], structure_bars, coarse), heads, width


def reference(tokens, summaries, weight, layout):
    x, s = fc_attention_reference(tokens, summaries, weight, layout)
    return x, s if layout.coarse else None


def kernels(tokens, summaries, weight, layout):
    if not layout.coarse:
        summaries = weight = None
    return fc_attention(tokens, summaries, weight, layout, backend="triton")


def outputs_and_gradients(function, inputs, layout):
    """x', s' and the gradient of every input, for a loss that weighs the outputs at random."""
    tokens, summaries, weight = inputs
    outputs = [out for out in function(tokens, summaries, weight, layout) if out is not None]
    generator = torch.Generator().manual_seed(1)
    cotangents = [torch.randn(out.shape, dtype=torch.float64, generator=generator).to(out) for out in outputs]
    leaves = [*tokens, *summaries, weight] if layout.coarse else tokens
    return [*outputs, *torch.autograd.grad(outputs, leaves, cotangents)]


def moved(inputs, **options):
    tokens, summaries, weight = inputs
    leaves = [leaf.detach().to(**options).requires_grad_() for leaf in (*tokens, *summaries, weight)]
    return tuple(leaves[:3]), tuple(leaves[3:6]), leaves[6]


@pytest.fixture
def check_kernels(attend, device, assert_at_most_twice_the_error):
    """A function from inputs and a layout to the assertion that kernels are about as exact as eager code."""

    def check(inputs, layout):
        on_device = moved(inputs, device=device)
        truth = outputs_and_gradients(reference, moved(inputs, dtype=torch.float64), layout)
        eager = outputs_and_gradients(reference, on_device, layout)
        assert_at_most_twice_the_error(outputs_and_gradients(kernels, on_device, layout), eager, truth)

    return check


def test_outputs_and_gradients(case, draw_inputs, check_kernels):
    layout, heads, width = case
    check_kernels(draw_inputs(layout, heads, width, torch.float32), layout)


@pytest.mark.parametrize(
    ("dtype", "width"),
    [(torch.bfloat16, 16), (torch.bfloat16, 64), (torch.float16, 24), (torch.float16, 128)],
    ids=lambda value: str(value).removeprefix("torch."),
)
def test_half_precision(piece_of, draw_inputs, check_kernels, dtype, width):
    layout = BarLayout.build([piece_of([3, 66, 1, 20, 2, 2, 9]), piece_of([5, 4], False)], (1, 2))
    check_kernels(draw_inputs(layout, 2, width, dtype), layout)


@pytest.mark.usefixtures("attend")
def test_what_is_done_to_keys_of_summaries_between_the_steps(piece_of, draw_inputs, device, place_summary_keys):
    layout = BarLayout.build([piece_of([3, 20, 1, 9, 2, 2, 9]), piece_of([5, 4], False)], (1, 2))
    inputs = moved(draw_inputs(layout, 2, 16, torch.float32), device=device)

    def run(function, **options):
        return lambda *inputs: function(*inputs, place_summary_keys=place_summary_keys, **options)

    expected = outputs_and_gradients(run(fc_attention_reference), inputs, layout)
    for found, right in zip(outputs_and_gradients(run(fc_attention, backend="triton"), inputs, layout), expected):
        torch.testing.assert_close(found, right, rtol=0, atol=1e-4)


def ragged_inputs(plan, num_queries, device, heads=2, width=16):
    generator = torch.Generator().manual_seed(3)
    rows = (num_queries, plan.num_keys, plan.num_keys)
    return [torch.randn(n, heads, width, generator=generator).to(device).requires_grad_() for n in rows]


def with_gradients(function, leaves, plan, **options):
    out = function(*leaves, plan, **options)
    return [out, *torch.autograd.grad((out * torch.linspace(-1, 1, out.numel()).to(out).view_as(out)).sum(), leaves)]


def test_the_cpu_backend_computes_the_same(attend, unequal_layout, device):
    plans = {unequal_layout.num_tokens: unequal_layout.token_plan}
    plans[unequal_layout.num_summaries] = unequal_layout.summary_plan
    for num_queries, plan in plans.items():
        leaves = ragged_inputs(plan, num_queries, device)
        for ours, theirs in zip(with_gradients(attend, leaves, plan), with_gradients(cpu.attention, leaves, plan)):
            torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_left_edges_that_move(attend, windowed_plan, device):
    """Sliding windows, some shorter than a tile, so that a query may see nothing of the first."""
    leaves = ragged_inputs(windowed_plan, windowed_plan.num_queries, device)
    dense = with_gradients(lambda q, k, v, plan: masked_attention(q, k, v, mask_of(plan)), leaves, windowed_plan)
    for ours, theirs in zip(with_gradients(attend, leaves, windowed_plan), dense):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_left_edges_with_dropout(attend, device):
    """Gradients are those of the mask that was drawn, which the same seed draws again."""
    plan = AttentionPlan.sliding([90, 20], 33, prefix=1)
    leaves = [leaf.detach().requires_grad_() for leaf in ragged_inputs(plan, plan.num_queries, device)]
    zeros = torch.zeros(plan.num_keys, 2, plan.num_keys, device=device)
    torch.manual_seed(2)
    identity = torch.eye(plan.num_keys, device=device).unsqueeze(1).expand(zeros.shape)
    kept = (attend(zeros, zeros, identity, plan, 0.3) != 0).transpose(0, 1)
    mask = mask_of(plan).to(device)
    assert not (kept & ~mask).any()

    def theirs(q, k, v, plan):
        weights = (torch.einsum("qhd,khd->hqk", q, k) / 4).masked_fill(~mask, float("-inf")).softmax(-1)
        return torch.einsum("hqk,khd->qhd", weights * kept / 0.7, v)

    torch.manual_seed(2)
    found = with_gradients(lambda *rows: attend(*rows, 0.3), leaves, plan)
    for ours, right in zip(found, with_gradients(theirs, leaves, plan)):
        torch.testing.assert_close(ours, right, rtol=1e-4, atol=1e-5)


def test_blocks_that_many_queries_see_are_summed_in_parts(attend, piece_of, device, monkeypatch):
    monkeypatch.setattr(key_blocks, "LONGEST_LOOP", 50)
    monkeypatch.setattr(key_blocks, "MOST_PARTS", 100)
    layout = BarLayout.build([piece_of([9, 70, 3, 2, 30])], (1, 2))
    plan = layout.token_plan
    assert plan.prepared(index_lists.IndexLists.of).num_partials > 4
    leaves = ragged_inputs(plan, layout.num_tokens, device)
    for ours, theirs in zip(with_gradients(attend, leaves, plan), with_gradients(cpu.attention, leaves, plan)):
        torch.testing.assert_close(ours, theirs, rtol=1e-5, atol=1e-5)


def test_results_repeat_bit_by_bit(attend, piece_of, device):
    layout = BarLayout.build([piece_of([5, 20, 3, 1, 9])], (1, 2))
    leaves = ragged_inputs(layout.token_plan, layout.num_tokens, device)
    first, second = (with_gradients(attend, leaves, layout.token_plan) for _ in range(2))
    assert all(torch.equal(*pair) for pair in zip(first, second))


def test_rows_may_be_slices_of_a_common_projection(attend, piece_of, device):
    """As layers hand them over: q, k and v [T, H, D] of one [T, 3, H, D]."""
    layout = BarLayout.build([piece_of([4, 9])], (1,), coarse=False)
    together = torch.randn(layout.num_tokens, 3, 2, 16, device=device)
    apart = [rows.clone() for rows in together.unbind(1)]
    torch.testing.assert_close(attend(*together.unbind(1), layout.token_plan), attend(*apart, layout.token_plan))
    heads_apart = [rows.transpose(0, 1).contiguous().transpose(0, 1) for rows in apart]
    torch.testing.assert_close(attend(*heads_apart, layout.token_plan), attend(*apart, layout.token_plan))


@pytest.mark.filterwarnings("ignore:overflow encountered in exp2")  # of pairs that are then masked
def test_large_scores_do_not_overflow(attend, piece_of, device):
    layout = BarLayout.build([piece_of([4, 70, 9])], (1,))
    leaves = ragged_inputs(layout.token_plan, layout.num_tokens, device)
    large = [(leaf * 30).detach().requires_grad_() for leaf in leaves[:2]] + leaves[2:]
    for ours, theirs in zip(
        with_gradients(attend, large, layout.token_plan), with_gradients(cpu.attention, large, layout.token_plan)
    ):
        torch.testing.assert_close(ours, theirs, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize(
    ("shape", "dtype", "message"),
    [
        ((6, 2, 8), torch.float32, r"q has shape \(6, 2, 8\), expected \[6, heads, head width from 16 to 128\]"),
        ((6, 2, 16), torch.float64, "q: dtype torch.float64, expected float32, float16 or bfloat16"),
    ],
    ids=["width", "dtype"],
)
def test_what_the_kernels_do_not_take_is_refused(attend, piece_of, device, shape, dtype, message):
    layout = BarLayout.build([piece_of([3, 2])], (1,), coarse=False)
    rows = torch.zeros(shape, dtype=dtype, device=device)
    with pytest.raises(ValueError, match=message):
        attend(rows, rows, rows, layout.token_plan)


def test_keys_that_do_not_fit_the_plan_are_refused(attend, piece_of, device):
    layout = BarLayout.build([piece_of([3, 2])], (1,), coarse=False)
    rows = torch.zeros(6, 2, 16, device=device)
    with pytest.raises(ValueError, match=r"k: torch.float32 \(5, 2, 16\), expected torch.float32 \[6, 2, 16\]"):
        attend(rows, rows[:5], rows, layout.token_plan)
    with pytest.raises(ValueError, match=r"v: torch.float16 \(6, 2, 16\), expected torch.float32 \[6, 2, 16\]"):
        attend(rows, rows, rows.half(), layout.token_plan)
