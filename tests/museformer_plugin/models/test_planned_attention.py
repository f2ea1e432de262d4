"""Longformer and Sparse Transformer are what their definitions say: dense masks, built as the papers describe them."""

import random

import numpy as np
import pytest
import torch
from fairseq.modules.sparse_multihead_attention import SparseMultiheadAttention

from museformer_plugin.errors import UserError
from museformer_plugin.layer import BarAwareLayer
from museformer_plugin.models import longformer, planned_attention, sparse_transformer

LENGTHS = (5, 1, 47, 23)


def longformer_mask(length, heads, window):
    rows = torch.arange(length)
    near = (rows[:, None] - rows < window) & (rows <= rows[:, None])
    near[:, 0] = True
    return near.expand(heads, -1, -1)


def fixed_mask(length, heads, stride, expressivity):
    attention = SparseMultiheadAttention(2, 1, stride=stride, expressivity=expressivity, is_bidirectional=False)
    mask = torch.zeros(length, length, dtype=torch.bool)
    for row in range(length):
        mask[row, list(attention.compute_fixed_attention_subset(row, length))] = True
    return mask.expand(heads, -1, -1)


def strided_mask(length, heads, stride):
    distances = torch.arange(length)[:, None] - torch.arange(length)
    window, every_lth = (distances >= 0) & (distances < stride), (distances >= 0) & (distances % stride == 0)
    return torch.stack([window] * (heads // 2) + [every_lth] * (heads - heads // 2))


def plans_as_masks(plans, heads, size):
    masks = torch.zeros(heads, size, size, dtype=torch.bool)
    for of_heads, plan, order in plans:
        order = torch.arange(size) if order is None else torch.from_numpy(order)
        for (first, end), keys, causal, window in plan.segments():
            columns = np.concatenate([np.arange(*key) for key in keys])
            for query in range(first, end):
                seen = columns[(columns <= query) | (not causal)]
                seen = seen[(seen > query - window) | (seen < keys[-1][0])] if window else seen
                masks[of_heads, order[query], order[torch.from_numpy(seen)]] = True
    return masks


def test_plans_are_the_masks_and_single_steps_see_the_same():
    chance = random.Random(0)
    for _ in range(20):
        stride, heads = chance.randint(2, 20), chance.randint(2, 5)
        expressivity, size = chance.randint(1, stride - 1), sum(LENGTHS)
        for plans, mask, seen in (
            (
                longformer.make_plans(stride, LENGTHS),
                lambda n, heads=heads, stride=stride: longformer_mask(n, heads, stride),
                lambda row, head, stride=stride: longformer.rows_seen(stride, row),
            ),
            (
                sparse_transformer.fixed_plans(stride, expressivity, LENGTHS),
                lambda n, heads=heads, s=stride, c=expressivity: fixed_mask(n, heads, s, c),
                lambda row, head, s=stride, c=expressivity: sparse_transformer.fixed_rows_seen(s, c, row),
            ),
            (
                sparse_transformer.strided_plans(stride, heads, LENGTHS),
                lambda n, heads=heads, stride=stride: strided_mask(n, heads, stride),
                lambda row, head, heads=heads, stride=stride: (
                    sparse_transformer._window_seen(stride, row)
                    if head < heads // 2
                    else sparse_transformer._strided_seen(stride, row)
                ),
            ),
        ):
            expected = torch.zeros(heads, size, size, dtype=torch.bool)
            start = 0
            for length in LENGTHS:
                expected[:, start : start + length, start : start + length] = mask(length)
                start += length
            assert torch.equal(plans_as_masks(plans, heads, size), expected)
            whole = mask(47)
            for row in range(47):
                for head in range(heads):
                    assert seen(row, head).tolist() == whole[head, row].nonzero().flatten().tolist()


class DenseLayer(BarAwareLayer):
    """Attention with a mask over the whole batch."""

    masks = None  # of a piece: from its length

    def forward(self, x, plans, by=None, keep=None):
        q, k, v = (rows.transpose(0, 1) for rows in self.qkv(x, self.projections.token_bias, by))
        seen = torch.zeros(len(q), len(x), len(x), dtype=torch.bool)
        start = 0
        for length in self.lengths:
            seen[:, start : start + length, start : start + length] = self.masks(length)
            start += length
        scores = (q @ k.mT / q.shape[2] ** 0.5).masked_fill(~seen, -torch.inf)
        return self.finish(x, (scores.softmax(2) @ v).transpose(0, 1))


CASES = {
    "longformer": ({"architecture": "longformer"}, lambda n: longformer_mask(n, 2, 20)),
    "fixed": ({"architecture": "sparse_transformer"}, lambda n: fixed_mask(n, 2, 11, 3)),
    "strided": ({"architecture": "sparse_transformer", "sparse_pattern": "strided"}, lambda n: strided_mask(n, 2, 11)),
}


@pytest.mark.parametrize("positions", ["embedded", "rotary"])
@pytest.mark.parametrize("case", CASES)
def test_logits_and_gradients_are_those_of_the_definition(
    assert_is_defined_by, read_piece, monkeypatch, case, positions
):
    options, mask = CASES[case]
    pieces = (5, 1, 8)
    lengths = [len(read_piece("general", bars, seed=bars)) for bars in pieces]
    monkeypatch.setattr(DenseLayer, "masks", staticmethod(mask))
    monkeypatch.setattr(DenseLayer, "lengths", lengths, raising=False)
    layer = planned_attention, "PlannedLayer"
    assert_is_defined_by(layer, DenseLayer, pieces=pieces, positions=positions, **options)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"architecture": "longformer", "window": 0}, "--window must be 1 or more, not 0"),
        ({"architecture": "sparse_transformer", "sparse_expressivity": 11}, "must be from 1 to below --sparse-stride"),
        ({"architecture": "sparse_transformer", "sparse_pattern": "odd"}, "takes fixed or strided, not 'odd'"),
        (
            {"architecture": "sparse_transformer", "sparse_pattern": "strided", "decoder_attention_heads": 1},
            "strided needs two heads",
        ),
    ],
    ids=["window", "expressivity", "pattern", "heads"],
)
def test_options_that_do_not_fit(build_decoder, options, sentence):
    with pytest.raises(UserError, match=sentence):
        build_decoder(**options)
