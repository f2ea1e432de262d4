"""The CPU backend against the reference: outputs, gradients, precision, dropout, memory."""

import os
import subprocess
import sys

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from museformer_plugin.fc_attention import BarLayout, fc_attention
from museformer_plugin.fc_attention.cpu.bfloat16 import multiplies_bfloat16
from museformer_plugin.fc_attention.cpu.operator import attention
from museformer_plugin.fc_attention.reference import dense_masks, fc_attention_reference

IN_BFLOAT16 = pytest.param(
    torch.bfloat16,
    marks=pytest.mark.skipif(
        not multiplies_bfloat16(torch.device("cpu")), reason="the CPU has no instructions for bfloat16"
    ),
    id="bfloat16",
)
KINDS = pytest.mark.parametrize("dtype", [pytest.param(torch.float64, id="float64"), IN_BFLOAT16])


def call(inputs, layout, dropout=0.0):
    tokens, summaries, weight = inputs
    if not layout.coarse:
        summaries = weight = None
    return fc_attention(tokens, summaries, weight, layout, dropout)


def leaves(inputs):
    tokens, summaries, weight = inputs
    return [*tokens, *summaries, weight]


def cotangents(layout, inputs, seed=1):
    """What the loss weighs x' and s' with."""
    generator = torch.Generator().manual_seed(seed)
    shape = inputs[0][0].shape[1:]
    return [
        torch.randn(rows, *shape, dtype=torch.float64, generator=generator)
        for rows in (layout.num_tokens, layout.num_summaries)
    ]


def loss(outputs, weights):
    return sum((out.double() * weight).sum() for out, weight in zip(outputs, weights) if out is not None)


def outputs_and_gradients(function, inputs, layout):
    outputs = function(inputs, layout)
    grads = torch.autograd.grad(loss(outputs, cotangents(layout, inputs)), leaves(inputs), allow_unused=True)
    return [*outputs, *grads]


def reference(inputs, layout):
    x, s = fc_attention_reference(*inputs, layout)
    return x, s if layout.coarse else None


def test_outputs_and_gradients_are_those_of_the_reference(layout, draw_inputs):
    inputs = draw_inputs(layout)
    ours = outputs_and_gradients(call, inputs, layout)
    theirs = outputs_and_gradients(reference, inputs, layout)
    for found, expected in zip(ours, theirs):
        if found is None:  # no part in a layout without coarse-grained attention
            assert expected is None or not expected.any()
        else:
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_what_is_done_to_keys_of_summaries_between_the_steps(layout, draw_inputs, place_summary_keys):
    def ours(inputs, layout):
        tokens, summaries, weight = inputs if layout.coarse else (inputs[0], None, None)
        return fc_attention(tokens, summaries, weight, layout, place_summary_keys=place_summary_keys)

    def theirs(inputs, layout):
        x, s = fc_attention_reference(*inputs, layout, place_summary_keys=place_summary_keys)
        return x, s if layout.coarse else None

    inputs = draw_inputs(layout)
    expected = outputs_and_gradients(theirs, inputs, layout)
    for found, right in zip(outputs_and_gradients(ours, inputs, layout), expected):
        if found is None:
            assert right is None or not right.any()
        else:
            torch.testing.assert_close(found, right, rtol=0, atol=1e-9)


@pytest.mark.parametrize("dropout", [0.0, 0.3])
@pytest.mark.parametrize("shift", [-900.0, -60.0, 60.0, 900.0])
def test_scores_that_are_too_large_or_small_for_exp(piece_of, shift, dropout):
    """The same number added to all scores changes nothing."""
    plan = BarLayout.build([piece_of([3, 7, 5, 1, 9, 4, 2, 6])], (1, 2)).token_plan
    found = []
    for added in (0.0, shift):
        torch.manual_seed(1)
        q, k, v = (torch.randn(rows, 2, 4, dtype=torch.float64) for rows in (38, plan.num_keys, plan.num_keys))
        q[..., 0], k[..., 0] = 2.0, added  # times 1 / sqrt(4)
        for rows in (q, k, v):
            rows.requires_grad_()
        out = attention(q, k, v, plan, dropout)
        found.append([out, *torch.autograd.grad(out.square().sum(), [q, k, v])])
    for expected, shifted in zip(*found):
        torch.testing.assert_close(shifted, expected, rtol=0, atol=1e-9)


def test_scores_of_thousands(layout, draw_inputs):
    """Hidden scores may be larger than those that a query sees by more than exp can take."""
    inputs = draw_inputs(layout)
    with torch.no_grad():
        for factors in (*inputs[0][:2], *inputs[1][:2], inputs[2]):
            factors *= 40
    for found, expected in zip(
        outputs_and_gradients(call, inputs, layout), outputs_and_gradients(reference, inputs, layout)
    ):
        if found is not None:
            torch.testing.assert_close(found, expected, rtol=1e-9, atol=1e-7)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16, torch.float16], ids=str)
def test_error_is_at_most_twice_that_of_eager_code(layout, draw_inputs, dtype, assert_at_most_twice_the_error):
    low = draw_inputs(layout, heads=4, head_width=16, dtype=dtype)
    exact = tuple(
        tuple(part.detach().double().requires_grad_() for part in parts)
        if isinstance(parts, tuple)
        else parts.detach().double().requires_grad_()
        for parts in low
    )
    truth = outputs_and_gradients(reference, exact, layout)
    ours = outputs_and_gradients(call, low, layout)
    eager = outputs_and_gradients(reference, low, layout)
    assert_at_most_twice_the_error(ours, eager, truth)


def test_gradcheck(piece_of, draw_inputs):
    layout = BarLayout.build([piece_of([2, 1, 2]), piece_of([1, 2], last_is_complete=False)], (1,))
    inputs = draw_inputs(layout, heads=2, head_width=2)

    def flat(*tensors):
        return call((tensors[:3], tensors[3:6], tensors[6]), layout)

    assert torch.autograd.gradcheck(flat, leaves(inputs))


def test_gradcheck_with_dropout(piece_of, draw_inputs):
    layout = BarLayout.build([piece_of([2, 1, 2])], (1,))
    inputs = draw_inputs(layout, heads=2, head_width=2)

    def flat(*tensors):
        torch.manual_seed(5)
        return call((tensors[:3], tensors[3:6], tensors[6]), layout, dropout=0.4)

    assert torch.autograd.gradcheck(flat, leaves(inputs))


@KINDS
def test_dropout_repeats_with_the_seed(unequal_layout, draw_inputs, dtype):
    inputs = draw_inputs(unequal_layout, dtype=dtype)
    torch.manual_seed(1)
    first, _ = call(inputs, unequal_layout, dropout=0.3)
    second, _ = call(inputs, unequal_layout, dropout=0.3)
    torch.manual_seed(1)
    again, _ = call(inputs, unequal_layout, dropout=0.3)
    assert torch.equal(first, again)
    assert not torch.equal(first, second)


def test_dropout_keeps_the_mean(piece_of, draw_inputs):
    """Over the values alone, in which x' is linear; through s' the softmax is not."""
    layout = BarLayout.build([piece_of([3, 2, 4])], (1, 2), coarse=False)
    inputs = draw_inputs(layout)
    torch.manual_seed(0)
    with torch.no_grad():
        samples = torch.stack([call(inputs, layout, dropout=0.25)[0] for _ in range(2000)])
        expected, _ = call(inputs, layout)
    standard_error = samples.std(dim=0) / len(samples) ** 0.5
    assert ((samples.mean(dim=0) - expected).abs() <= 5 * standard_error + 1e-12).all()


@KINDS
def test_dropout_drops_weights_at_its_rate(piece_of, dtype):
    """With the rows of the identity as values, x' is the weights themselves."""
    layout = BarLayout.build([piece_of([15])], (), coarse=False)
    size = layout.num_tokens
    uniform = torch.zeros(size, 1, size, dtype=dtype)
    values = torch.eye(size, dtype=dtype).unsqueeze(1)
    mask = dense_masks(layout)[0]
    share = mask.double() / mask.sum(dim=1, keepdim=True)
    torch.manual_seed(0)
    dropped = 0
    for _ in range(200):
        weights = fc_attention((uniform, uniform, values), None, None, layout, dropout=0.3)[0].squeeze(1).double()
        kept = weights != 0
        # rates are whole 65536ths
        rounding = 2e-5 if dtype == torch.float64 else 2**-7
        torch.testing.assert_close(weights[kept], (share / 0.7)[kept], rtol=rounding, atol=0)
        assert not (kept & ~mask).any()
        dropped += (mask & ~kept).sum().item()
    assert dropped / (200 * mask.sum().item()) == pytest.approx(0.3, abs=0.01)


@KINDS
def test_heads_and_segments_do_not_share_their_dropout(piece_of, dtype):
    layout = BarLayout.build([piece_of([8, 8])], (), coarse=False)
    size = layout.num_tokens
    uniform = torch.zeros(size, 2, size, dtype=dtype)
    values = torch.eye(size, dtype=dtype).unsqueeze(1).expand(size, 2, size)
    torch.manual_seed(0)
    weights, _ = fc_attention((uniform, uniform, values), None, None, layout, dropout=0.5)
    kept = weights != 0
    assert not torch.equal(kept[:, 0], kept[:, 1])
    assert not torch.equal(kept[1:9, 0, 1:9], kept[9:17, 0, 9:17])


@KINDS
def test_the_backward_drops_what_the_forward_dropped(piece_of, dtype):
    """x' is linear in the values: its gradient by them is the transpose of the weights that were left."""
    layout = BarLayout.build([piece_of([9, 6])], (1,), coarse=False)
    size = layout.num_tokens
    uniform = torch.zeros(size, 2, size, dtype=dtype)
    values = torch.eye(size, dtype=dtype).unsqueeze(1).expand(size, 2, size).clone().requires_grad_()
    torch.manual_seed(0)
    weights, _ = fc_attention((uniform, uniform, values), None, None, layout, dropout=0.5)
    (found,) = torch.autograd.grad(weights, values, torch.eye(size, dtype=dtype).unsqueeze(1).expand_as(weights))
    expected = weights.detach().transpose(0, 2)
    assert (expected == 0).any()
    torch.testing.assert_close(found, expected, rtol=2**-7, atol=0)


@KINDS
def test_dropout_is_the_same_with_any_number_of_threads(unequal_layout, draw_inputs, dtype):
    inputs = draw_inputs(unequal_layout, heads=6, dtype=dtype)
    threads, found = torch.get_num_threads(), []
    try:
        for count in (1, 2):
            torch.set_num_threads(count)
            torch.manual_seed(1)
            found.append(call(inputs, unequal_layout, dropout=0.3)[0] == 0)
    finally:
        torch.set_num_threads(threads)
    assert torch.equal(*found)


class LargestTensor(TorchDispatchMode):
    """Records the number of elements of the largest tensor made."""

    elements = 0

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        made = func(*args, **(kwargs or {}))
        sizes = [
            leaf.untyped_storage().nbytes() // leaf.element_size()
            for leaf in tree_leaves(made)
            if torch.is_tensor(leaf)
        ]
        self.elements = max([self.elements, *sizes])
        return made


def largest_tensor(piece_of, draw_inputs, num_bars):
    lengths = np.random.default_rng(0).integers(20, 40, num_bars).tolist()
    layout = BarLayout.build([piece_of(lengths)], (1, 2, 4, 8))
    inputs = draw_inputs(layout, heads=1, head_width=4, dtype=torch.float32)
    with LargestTensor() as largest:
        outputs_and_gradients(call, inputs, layout)
    return largest.elements, layout.num_tokens


def test_no_tensor_is_quadratic_in_the_tokens(piece_of, draw_inputs):
    elements, num_tokens = largest_tensor(piece_of, draw_inputs, 200)
    assert num_tokens > 5000
    # rows of keys and values with their summaries, or the scores of one bar
    assert elements < 10 * num_tokens


@pytest.mark.parametrize(
    ("part", "shape", "message"),
    [
        (0, (5, 2, 4), r"tokens: q has shape \(5, 2, 4\), expected \[6,"),
        (1, (6, 2, 3), r"tokens: k has shape \(6, 2, 3\), expected \[6,"),
        (2, (6, 8), r"tokens: v has shape \(6, 8\), expected \[6,"),
    ],
    ids=["rows", "width", "dimensions"],
)
def test_shapes_that_do_not_fit_are_refused(piece_of, part, shape, message):
    layout = BarLayout.build([piece_of([3, 2])], (1,), coarse=False)
    tokens = [torch.zeros(6, 2, 4) for _ in "qkv"]
    tokens[part] = torch.zeros(shape)
    with pytest.raises(ValueError, match=message):
        fc_attention(tuple(tokens), None, None, layout)


def test_summaries_that_do_not_fit_are_refused(piece_of):
    layout = BarLayout.build([piece_of([3, 2])], (1,))
    tokens = tuple(torch.zeros(6, 2, 4) for _ in "qkv")
    with pytest.raises(ValueError, match=r"summaries: q has shape \(3, 2, 4\), expected \[2,"):
        fc_attention(tokens, tuple(torch.zeros(3, 2, 4) for _ in "qkv"), torch.zeros(16, 8), layout)


def test_a_coarse_layout_needs_summaries(piece_of):
    layout = BarLayout.build([piece_of([3, 2])], (1,))
    with pytest.raises(ValueError, match="needs summaries"):
        fc_attention(tuple(torch.zeros(6, 2, 4) for _ in "qkv"), None, None, layout)


def test_what_is_not_finite_reaches_no_bar_before_it_and_no_other_piece(piece_of, draw_inputs):
    """A bridge over hidden rows would let it through a product with weight 0."""
    pieces = [piece_of([3, 4, 2, 5, 3, 4]), piece_of([4, 4, 2], last_is_complete=False)]
    layout = BarLayout.build(pieces, (1, 2, 4))
    bars = torch.from_numpy(layout.bar_ids)
    second = torch.arange(layout.num_tokens) >= pieces[0].num_tokens
    for part, poison in ((1, "nan"), (1, "inf"), (2, "nan")):
        (*tokens,), summaries, weight = draw_inputs(layout)
        tokens[part] = tokens[part].detach().clone()
        last = pieces[0].num_tokens - 1
        tokens[part][last] = float(poison)
        x, _ = call((tuple(tokens), summaries, weight), layout)
        assert not x[last].isfinite().all()
        assert x[(bars < 6) & ~second].isfinite().all()
        assert x[second].isfinite().all()


def test_threads_change_nothing(layout, draw_inputs):
    inputs = draw_inputs(layout)
    threads = torch.get_num_threads()
    found = []
    try:
        for number in (1, 3):
            torch.set_num_threads(number)
            found.append(outputs_and_gradients(call, inputs, layout))
    finally:
        torch.set_num_threads(threads)
    for one, two in zip(*found):
        assert (one is None and two is None) or torch.equal(one, two)


def test_plain_python_computes_the_same():
    """Where TorchScript does not run, as on Python 3.14."""
    command = (
        "import torch; from museformer_plugin.fc_attention.self_check import largest_error;"
        "from museformer_plugin.fc_attention.cpu.operator import fc_attention;"
        "from museformer_plugin.fc_attention.cpu import head;"
        "assert not isinstance(head.attend, torch.jit.ScriptFunction);"
        "assert largest_error(fc_attention, torch.device('cpu')) < 1e-5"
    )
    subprocess.run([sys.executable, "-c", command], env={**os.environ, "PYTORCH_JIT": "0"}, check=True)


def test_autocast_does_not_reach_inside(unequal_layout, draw_inputs):
    """fairseq's --amp: what comes in decides the precision."""
    inputs = draw_inputs(unequal_layout)
    plain = outputs_and_gradients(call, inputs, unequal_layout)
    with torch.autocast("cpu", torch.bfloat16):
        found = outputs_and_gradients(call, inputs, unequal_layout)
    for one, two in zip(found, plain):
        torch.testing.assert_close(one, two, rtol=0, atol=1e-12)


def test_any_dropout_below_one_is_finite(unequal_layout, draw_inputs):
    x, s = call(draw_inputs(unequal_layout), unequal_layout, dropout=0.9999999)
    assert x.isfinite().all()
    assert s.isfinite().all()
