"""What the operator is compared with computes what it says."""

import pytest
import torch
import torch.nn.functional as F
from torch.nn.attention.flex_attention import flex_attention

from benchmarks.attention_candidates import Inputs, draw_layout, ours, same_mask
from benchmarks.candidates import Call, Candidate, full_attention, heads_first, measure_candidate, why_not
from benchmarks.flex import flex_block_mask
from museformer_plugin.fc_attention import attention
from museformer_plugin.fc_attention.reference import dense_masks

CPU = torch.device("cpu")


@pytest.fixture(scope="module")
def layout():
    return draw_layout(700, seed=0)


@pytest.fixture(scope="module")
def inputs(layout):
    return Inputs(layout, heads=2, head_width=16, device=CPU, dtype=torch.float32)


@pytest.mark.parametrize("block", [128, 64])
@torch.no_grad()
def test_flex_attention_has_the_mask_of_the_token_step(layout, inputs, block):
    q, k, v = (rows.detach() for rows in heads_first(inputs.step))  # a CPU has no gradients of it
    found = flex_attention(q, k, v, block_mask=flex_block_mask(layout, block, CPU))
    expected = F.scaled_dot_product_attention(q, k, v, attn_mask=dense_masks(layout)[0])
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-5)
    torch.testing.assert_close(found[0].transpose(0, 1), attention(*inputs.step, layout.token_plan), rtol=0, atol=1e-5)


@pytest.mark.parametrize("block", [128, 64])
def test_flex_attention_skips_blocks_without_pairs(layout, block):
    """And masks no block in which all pairs see each other: its time is that of what it must compute."""
    mask = flex_block_mask(layout, block, CPU)
    dense = dense_masks(layout)[0]
    rows, columns = (-(-size // block) for size in dense.shape)
    padded = F.pad(dense, (0, columns * block - dense.shape[1], 0, rows * block - dense.shape[0]))
    pairs = padded.view(rows, block, columns, block).sum((1, 3))
    full = pairs == block * block
    assert torch.equal(mask.full_kv_num_blocks[0, 0].long(), full.sum(1))
    assert torch.equal(mask.kv_num_blocks[0, 0].long(), ((pairs > 0) & ~full).sum(1))


def test_candidates_of_one_computation_agree(layout, inputs):
    """Outputs and gradients; FlexAttention has none on a CPU."""
    dense, mine = (
        next(one for one in candidates if one.computes == "token step" and "Flex" not in one.name).make()
        for candidates in (same_mask(layout, inputs), ours(layout, inputs, "cpu"))
    )
    theirs, found = dense.run()[0].transpose(0, 1), mine.run()
    torch.testing.assert_close(found, theirs, rtol=0, atol=1e-5)
    for a, b in zip(torch.autograd.grad(found.sum(), mine.leaves), torch.autograd.grad(theirs.sum(), dense.leaves)):
        torch.testing.assert_close(a, b[0].transpose(0, 1), rtol=0, atol=1e-4)


def test_times_are_positive_and_a_failure_is_the_callers(inputs):
    (candidate,) = full_attention(inputs.tokens)
    assert min(measure_candidate(candidate, CPU, repeats=1)) > 0

    def fail() -> Call:
        raise RuntimeError("CUDA error: an illegal memory access was encountered\nmore of it")

    with pytest.raises(RuntimeError) as raised:
        measure_candidate(Candidate("one", "nothing", fail), CPU, repeats=1)
    assert why_not(raised.value) == "RuntimeError: CUDA error: an illegal memory access was encountered"
    assert why_not(torch.OutOfMemoryError("CUDA out of memory. Tried")) == "does not fit"
