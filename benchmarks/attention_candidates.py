"""The attention operator over the bars of a piece, and the same pairs by other means."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from benchmarks.candidates import Call, Candidate, heads_first
from benchmarks.flex import flex_attention_for
from museformer_plugin.fc_attention import BarLayout, PieceBars, attention, fc_attention
from museformer_plugin.fc_attention.reference import dense_masks

STRUCTURE_BARS = (1, 2, 4, 8, 12, 16, 24, 32)
MEAN_BAR_TOKENS, BAR_VARIATION = 158, 0.5
MOST_MASK_CELLS = 1 << 30  # of a dense mask
LONGEST_PLAIN = 1024  # tokens; on a GPU plain PyTorch launches a hundred kernels a segment and head
FLEX_BLOCKS = (128, 64)

TOKEN_STEP, WHOLE = "token step", "whole operator"


def draw_layout(num_tokens: int, seed: int) -> BarLayout:
    """One piece of ``num_tokens`` with the prefix; its last bar is cut and incomplete."""
    shape = BAR_VARIATION**-2
    generator = np.random.default_rng(seed)
    lengths = generator.gamma(shape, MEAN_BAR_TOKENS / shape, num_tokens // 10 + 10).astype(int).clip(1)
    starts = 1 + np.concatenate([[0], np.cumsum(lengths)])
    starts = starts[starts < num_tokens]
    return BarLayout.build([PieceBars(num_tokens, starts, len(starts) - 1)], STRUCTURE_BARS)


class Inputs:
    """Random rows for one layout, shared by the candidates: q, k, v of tokens, of summaries and of the token step."""

    def __init__(
        self, layout: BarLayout, heads: int, head_width: int, device: torch.device, dtype: torch.dtype
    ) -> None:
        generator = torch.Generator(device).manual_seed(0)

        def leaf(*shape: int, scale: float = 1.0) -> Tensor:
            return torch.randn(*shape, generator=generator, device=device, dtype=dtype).mul_(scale).requires_grad_()

        width = heads * head_width
        self.tokens = tuple(leaf(layout.num_tokens, heads, head_width) for _ in "qkv")
        self.summaries = tuple(leaf(layout.num_summaries, heads, head_width) for _ in "qkv")
        self.weight = leaf(2 * width, width, scale=width**-0.5)
        self.step = (self.tokens[0], *(leaf(layout.token_plan.num_keys, heads, head_width) for _ in "kv"))


def ours(layout: BarLayout, inputs: Inputs, backend: str) -> Iterator[Candidate]:
    """The operator and its token step, by one backend."""
    tokens, summaries, weight = inputs.tokens, inputs.summaries, inputs.weight

    def whole() -> Call:
        run = partial(fc_attention, tokens, summaries, weight, layout, backend=backend)
        return Call(lambda: run()[0], (*tokens, *summaries, weight))

    def token_step() -> Call:
        return Call(partial(attention, *inputs.step, layout.token_plan, backend=backend), inputs.step)

    yield Candidate(f"ours, {backend}", WHOLE, whole)
    yield Candidate(f"ours, {backend}", TOKEN_STEP, token_step)


def same_mask(layout: BarLayout, inputs: Inputs) -> Iterator[Candidate]:
    """The token step by other means: FlexAttention in blocks of two sizes, and a dense mask where it fits."""

    def flex(block: int) -> Call:
        leaves = heads_first(inputs.step)
        return Call(flex_attention_for(layout, block, *leaves), leaves)

    def dense() -> Call:
        leaves = heads_first(inputs.step)
        mask = dense_masks(layout)[0].to(leaves[0].device)
        return Call(partial(F.scaled_dot_product_attention, *leaves, attn_mask=mask), leaves)

    for block in FLEX_BLOCKS:
        yield Candidate(f"FlexAttention {block}", TOKEN_STEP, partial(flex, block))
    if layout.num_tokens * layout.token_plan.num_keys <= MOST_MASK_CELLS:
        yield Candidate("SDPA dense mask", TOKEN_STEP, dense)
