"""Dropout inside the kernels: what it draws, and that every gradient draws the same."""

import pytest
import torch

from museformer_plugin.fc_attention import BarLayout
from museformer_plugin.fc_attention.reference import dense_masks

RATE = 0.3


@pytest.fixture(params=["tokens", "summaries"])
def plan_and_mask(request, piece_of):
    """The plan of the token or of the summary step, and its dense mask; few enough keys for one head."""
    layout = BarLayout.build([piece_of([20, 5, 41, 1, 9]), piece_of([2, 9])], (1, 2))
    masks = dense_masks(layout)
    return (layout.token_plan, masks[0]) if request.param == "tokens" else (layout.summary_plan, masks[1])


def drawn_weights(attend, plan, mask, heads, device, rate=RATE):
    """Attention weights [H, Q, K] after dropout, all scores equal: with the rows of the identity as
    values, out is the weights themselves."""
    queries, keys = mask.shape
    q, k = (torch.zeros(rows, heads, keys, device=device) for rows in (queries, keys))
    values = torch.eye(keys, device=device).unsqueeze(1).expand(keys, heads, keys)
    return attend(q, k, values, plan, rate).transpose(0, 1).cpu()


def test_weights_are_dropped_or_scaled(attend, plan_and_mask, device):
    plan, mask = plan_and_mask
    torch.manual_seed(0)
    weights = drawn_weights(attend, plan, mask, 2, device)
    kept = weights != 0
    share = (mask.float() / mask.sum(dim=1, keepdim=True) / (1 - RATE)).expand_as(weights)
    torch.testing.assert_close(weights[kept], share[kept])
    assert not (kept & ~mask).any()
    pairs = 2 * mask.sum().item()
    dropped = 1 - kept.sum().item() / pairs
    assert dropped == pytest.approx(RATE, abs=4 * (RATE * (1 - RATE) / pairs) ** 0.5)


def test_gradients_are_those_of_the_drawn_mask(attend, plan_and_mask, device):
    plan, mask = plan_and_mask
    torch.manual_seed(7)
    kept = drawn_weights(attend, plan, mask, 2, device) != 0
    generator = torch.Generator().manual_seed(0)
    q, k, v = (
        torch.randn(rows, 2, 16, generator=generator, dtype=torch.float64) for rows in (*mask.shape, mask.shape[1])
    )
    cotangent = torch.randn(q.shape, generator=generator, dtype=torch.float64)

    exact = [rows.requires_grad_() for rows in (q, k, v)]
    scores = torch.einsum("qhd,khd->hqk", q, k) / 4
    weights = scores.masked_fill(~mask, float("-inf")).softmax(-1) * kept / (1 - RATE)
    expected = torch.einsum("hqk,khd->qhd", weights, v)
    expected_gradients = torch.autograd.grad(expected, exact, cotangent)

    leaves = [rows.detach().float().to(device).requires_grad_() for rows in (q, k, v)]
    torch.manual_seed(7)
    out = attend(*leaves, plan, RATE)
    gradients = torch.autograd.grad(out, leaves, cotangent.to(out))
    for ours, theirs in zip([out, *gradients], [expected, *expected_gradients]):
        torch.testing.assert_close(ours.double().cpu(), theirs, rtol=1e-4, atol=1e-5)


def test_the_seed_decides(attend, plan_and_mask, device):
    plan, mask = plan_and_mask
    torch.manual_seed(1)
    first, second = (drawn_weights(attend, plan, mask, 1, device) for _ in range(2))
    torch.manual_seed(1)
    assert torch.equal(drawn_weights(attend, plan, mask, 1, device), first)
    assert not torch.equal(first, second)


def test_weights_are_dropped_independently(attend, piece_of, device):
    """Weights mix one word of the query and one of the key, so look for what that could leave behind:
    queries (or keys, or heads) that drop alike, and rectangles of two queries and two keys."""
    layout = BarLayout.build([piece_of([127])], (), coarse=False)
    mask = dense_masks(layout)[0]
    torch.manual_seed(0)
    drawn = torch.cat([drawn_weights(attend, layout.token_plan, mask, 4, device, 0.5) for _ in range(3)])
    signs = torch.where(drawn[:, 64:, :64] != 0, 1.0, -1.0)  # all of these pairs see each other
    num = len(signs)
    assert signs.mean().abs() < 4 / signs.numel() ** 0.5
    assert signs.mean(dim=(1, 2)).abs().max() < 4 / 64
    for one_by_one in (signs, signs.transpose(1, 2)):
        alike = one_by_one @ one_by_one.transpose(1, 2) / 64  # of two queries over all keys
        others = alike[:, ~torch.eye(64, dtype=torch.bool)]
        assert others.abs().max() < 6 / 64**0.5
        assert (others**2).mean() * 64 == pytest.approx(1, abs=0.03)  # sums over rectangles
    heads = signs.flatten(1) @ signs.flatten(1).T / 64**2
    assert heads[~torch.eye(num, dtype=torch.bool)].abs().max() < 5 / 64
