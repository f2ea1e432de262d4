"""Attention whose logits have a part that depends on the distance from query to key: one vector r for each distance.

Letters: H heads, Dh head width, n rows of a piece; a query i sees keys j up to its own.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple

import torch
from torch import Tensor
from torch.autograd.function import once_differentiable

_BLOCK = 128  # queries whose logits are in memory at a time

Rows = tuple[Tensor, Tensor]  # keys and values [n, H, Dh]


class Segments(NamedTuple):
    """A piece in segments of ``tokens``: a token sees its own so far, and the last ``memory`` tokens before it."""

    tokens: int
    memory: int

    def first_seen(self, row: int) -> int:
        """The first row of the piece that a row sees."""
        return max(0, row - row % self.tokens - self.memory)

    @property
    def longest(self) -> int:
        """How many rows a row sees at most."""
        return self.tokens + self.memory

    def blocks(self, length: int) -> Iterator[tuple[slice, slice, slice]]:
        """Of a piece: queries of one segment, the memory before it, and the segment up to the last of the queries."""
        for first in range(0, length, self.tokens):
            memory = slice(max(0, first - self.memory), first)
            for start in range(first, min(first + self.tokens, length), _BLOCK):
                end = min(start + _BLOCK, first + self.tokens, length)
                yield slice(start, end), memory, slice(first, end)


def relative_logits(q: Tensor, r: Tensor, num_keys: int) -> Tensor:
    """q_i r_(i - j) of the last n of ``num_keys`` rows; -inf for the keys after a query.

    q [H, n, Dh]; r [H, distances, Dh], of which the last stands for all greater distances. Returns [H, n, num_keys].

    Skewing (Huang et al. 2018, arXiv 1809.04281, section 3.4.1): products with r are made by distance, the farthest
    first, with one column too many; read with rows that are shorter by one, they lie by key.
    """
    heads, n, _ = q.shape
    last = r.shape[1] - 1
    far = max(0, num_keys - n + 1 - last)  # keys whose distance is the last or greater for all queries
    near = num_keys - far
    distances = torch.arange(near - 1, -2, -1, device=q.device).clamp(0, last)
    by_distance = q @ r.index_select(1, distances).mT  # [H, n, near + 1]
    by_key = by_distance.flatten(1)[:, n - 1 : n - 1 + n * near].view(heads, n, near)
    later = torch.ones(n, near, dtype=torch.bool, device=q.device).triu(near - n + 1)
    by_key = by_key.masked_fill(later, -torch.inf)
    return torch.cat([(q @ r[:, -1:].mT).expand(-1, -1, far), by_key], 2) if far else by_key


class _Drop:
    """Dropout that drops the same in the same order again."""

    def __init__(self, rate: float, seed: int, device: torch.device) -> None:
        self._rate = rate
        self._chance = torch.Generator(device).manual_seed(seed)

    def __call__(self, weights: Tensor) -> Tensor:
        if not self._rate:
            return weights
        kept = torch.empty_like(weights).bernoulli_(1 - self._rate, generator=self._chance)
        return weights * kept.div_(1 - self._rate)


def _attend(rows: Sequence[Tensor], r: Tensor, drop: _Drop) -> Tensor:
    """Of one block: ``rows`` are queries [2, n, H, Dh], keys of the memory and of the segment, values so -> [n, H, Dh].

    The queries are those of the segment's last rows.
    """
    q, old_k, k, old_v, v = rows
    content, relative = (q * q.shape[-1] ** -0.5).transpose(1, 2)
    keys, values = torch.cat([old_k, k]).transpose(0, 1), torch.cat([old_v, v]).transpose(0, 1)
    logits = torch.baddbmm(relative_logits(relative, r, keys.shape[1]), content, keys.mT)
    weights = logits.softmax(2, dtype=torch.promote_types(q.dtype, torch.float32)).to(q.dtype)
    return (drop(weights) @ values).transpose(0, 1)


class _RelativeAttention(torch.autograd.Function):
    """``_attend`` block by block, and again in the backward: of its logits nothing is kept."""

    @staticmethod
    def forward(ctx: Any, segments: Segments, dropout: float, *inputs: Tensor) -> Tensor:
        q, r = inputs[0], inputs[-1]
        ctx.segments, ctx.dropout = segments, dropout
        ctx.seed = int(torch.randint(2**62, ())) if dropout else 0
        ctx.save_for_backward(*inputs)
        drop = _Drop(dropout, ctx.seed, q.device)
        attended = q.new_empty(q.shape[1:])
        for block in segments.blocks(len(attended)):
            attended[block[0]] = _attend(_rows_of(inputs, block), r, drop)
        return attended

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Any, ...]:
        inputs = ctx.saved_tensors
        q, r = inputs[0], inputs[-1]
        drop = _Drop(ctx.dropout, ctx.seed, q.device)
        wide = torch.promote_types(q.dtype, torch.float32)  # many blocks add to the same rows
        totals = [torch.zeros(part.shape, dtype=wide, device=q.device) for part in inputs]
        for block in ctx.segments.blocks(len(grad)):
            leaves = [part.detach().requires_grad_() for part in (*_rows_of(inputs, block), r)]
            with torch.enable_grad():
                attended = _attend(leaves[:-1], leaves[-1], drop)
            found = torch.autograd.grad(attended, leaves, grad[block[0]])
            for total, part in zip((*_rows_of(totals, block), totals[-1]), found):
                total += part
        return None, None, *(total.to(q.dtype) for total in totals)


def _rows_of(inputs: Sequence[Tensor], block: tuple[slice, slice, slice]) -> tuple[Tensor, ...]:
    """The ``rows`` that ``_attend`` takes, of q, k, v and keys and values for memories: views."""
    q, k, v, old_k, old_v = inputs[:5]
    queries, memory, own = block
    return q[:, queries], old_k[memory], k[own], old_v[memory], v[own]


def relative_attention(
    q: Tensor, own: Rows, memory: Rows, r: Tensor, segments: Segments, dropout: float = 0.0
) -> Tensor:
    """softmax((a_i k_j + b_i r_(i - j)) / sqrt(Dh)) v of one piece, each query over what ``segments`` lets it see.

    Logits are made for some queries at a time and made again in the backward, so that memory grows with n and not
    with its square.

    Args:
        q: a above b, [2, n, H, Dh].
        own: keys and values of all tokens, as the queries of their segment see them.
        memory: the same, as those of later segments see them.
        r: [H, distances, Dh], from distance 0 on; the last stands for all greater distances.
        dropout: rate of dropout on the attention weights. The seed comes from PyTorch's generator.

    Returns [n, H, Dh].
    """
    inputs: tuple[Tensor, ...] = (q, *own, *memory, r)
    if torch.is_autocast_enabled(q.device.type):  # the backward, which is outside, makes the same products again
        narrow = torch.get_autocast_dtype(q.device.type)
        inputs = tuple(rows.to(narrow) for rows in inputs)
    attended: Tensor = _RelativeAttention.apply(segments, dropout, *inputs)
    return attended
