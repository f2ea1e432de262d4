"""Attention whose logits have a part that depends on the distance from query to key: one vector r for each distance.

Letters: H heads, Dh head width, n rows of a piece; a query i sees keys j up to its own.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor
from torch.utils.checkpoint import checkpoint

_BLOCK = 256  # queries whose logits are in memory at a time

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


def _attend(
    q: Tensor, keys: Sequence[Tensor], values: Sequence[Tensor], num_keys: int, r: Tensor, dropout: float
) -> Tensor:
    """The last n of ``num_keys`` rows, q [2, n, H, Dh], over the last of the joined ``keys`` -> [n, H, Dh]."""
    content, relative = (q * q.shape[-1] ** -0.5).transpose(1, 2)
    k, v = (torch.cat(list(parts))[-num_keys:].transpose(0, 1) for parts in (keys, values))
    logits = torch.baddbmm(relative_logits(relative, r, num_keys), content, k.mT)
    weights = logits.softmax(2, dtype=torch.promote_types(q.dtype, torch.float32)).to(q.dtype)
    return (F.dropout(weights, dropout) @ v).transpose(0, 1)


def relative_attention(
    q: Tensor, own: Rows, memory: Rows, r: Tensor, segments: Segments, dropout: float = 0.0
) -> Tensor:
    """softmax((a_i k_j + b_i r_(i - j)) / sqrt(Dh)) v of one piece, each query over what ``segments`` lets it see.

    Logits are made for some hundred queries at a time and made again in the backward, dropout alike, so that memory
    grows with n and not with its square.

    Args:
        q: a above b, [2, n, H, Dh].
        own: keys and values of all tokens, as the queries of their segment see them.
        memory: the same, as those of later segments see them.
        r: [H, distances, Dh], from distance 0 on; the last stands for all greater distances.
        dropout: rate of dropout on the attention weights.

    Returns [n, H, Dh].
    """
    size = min(segments.tokens, q.shape[1])
    k, v, old_k, old_v = (rows.split(size) for rows in (*own, *memory))
    attended = []
    for number, queries in enumerate(q.split(size, 1)):
        remembered = min(number * size, segments.memory)
        before = slice(number - math.ceil(remembered / size), number)  # the segments that hold so many
        for start in range(0, queries.shape[1], _BLOCK):
            block = queries[:, start : start + _BLOCK]
            end = start + block.shape[1]
            keys, values = [*old_k[before], k[number][:end]], [*old_v[before], v[number][:end]]
            arguments = block, keys, values, remembered + end, r, dropout
            if torch.is_grad_enabled():
                found = checkpoint(_attend, *arguments, use_reentrant=False, preserve_rng_state=dropout > 0)
            else:
                found = _attend(*arguments)
            attended.append(found)
    return torch.cat(attended)
