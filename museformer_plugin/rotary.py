"""Rotary positions in musical coordinates: queries and keys turned by bar, onset and place in the bar.

Rotary positions (Su et al. 2021, arXiv 2104.09864) turn pairs of numbers of a query or key by angles that grow with its
position, so that their product depends on the distance alone. Here the pairs of a head are divided among three
positions, so that "the same onset four bars ago" is one and the same turn everywhere in a piece.
"""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

# angles a step of the fastest and the slowest pair; the steps are a bar, an onset position, a token
_BAR_ANGLES = math.pi / 2, math.pi / 64
_ONSET_ANGLES = math.pi / 3, math.pi / 96
_INDEX_ANGLES = 1.0, 1 / 200

NARROWEST_HEAD = 6  # a pair for each of bar, onset and index

Turn = tuple[Tensor, Tensor]


class RotaryPositions(nn.Module):
    """Angles of rows from their coordinates.

    The Dh / 2 pairs of a head are divided evenly, the first third by bar, the second by onset, the last by index, with
    angles a step in a geometric ladder each. Pair k is made of numbers k and k + Dh / 2 of the head.

    Args:
        head_width: Dh, even and at least 6. Raises ValueError for others.
    """

    def __init__(self, head_width: int) -> None:
        super().__init__()
        if head_width % 2 or head_width < NARROWEST_HEAD:
            raise ValueError(f"head_width: expected an even number from {NARROWEST_HEAD} up, not {head_width}")
        pairs = head_width // 2
        of_bars, of_onsets, of_indices = (pairs + 2) // 3, (pairs + 1) // 3, pairs // 3
        self._ladders = (
            _ladder(*_BAR_ANGLES, of_bars),
            _ladder(*_ONSET_ANGLES, of_onsets),
            _ladder(*_INDEX_ANGLES, of_indices),
        )

    def forward(self, bars: Tensor, onsets: Tensor, indices: Tensor, like: Tensor) -> Turn:
        """int64 [n] each -> cosines and sines [n, 1, Dh / 2]; float64 where ``like`` is, else float32 as the angles."""
        parts = [
            ids.to(torch.float32).unsqueeze(1) * ladder.to(ids.device)
            for ids, ladder in zip((bars, onsets, indices), self._ladders)
        ]
        angles = torch.cat(parts, dim=1).unsqueeze(1)
        dtype = torch.promote_types(like.dtype, torch.float32)
        return angles.cos().to(dtype), angles.sin().to(dtype)


def _ladder(fastest: float, slowest: float, count: int) -> Tensor:
    return torch.logspace(math.log10(fastest), math.log10(slowest), count, dtype=torch.float64).to(torch.float32)


class _Turned(torch.autograd.Function):
    """What autograd would do with a tensor for each product, in two passes over the rows."""

    @staticmethod
    def forward(ctx, rows: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:  # noqa: ANN001
        ctx.save_for_backward(cosines, sines)
        return _rotate(rows, cosines, sines)

    @staticmethod
    def backward(ctx, grad: Tensor) -> tuple[Tensor, None, None]:  # noqa: ANN001
        cosines, sines = ctx.saved_tensors
        return _rotate(grad, cosines, -sines), None, None


def _rotate(rows: Tensor, cosines: Tensor, sines: Tensor) -> Tensor:
    first, second = rows.chunk(2, dim=-1)
    turned = torch.empty_like(rows)
    pairs = turned.chunk(2, dim=-1)  # half precision is rounded once, when it is written
    pairs[0].copy_((first * cosines).addcmul_(second, sines, value=-1))
    pairs[1].copy_((second * cosines).addcmul_(first, sines))
    return turned


def turn(rows: Tensor, by: Turn) -> Tensor:
    """Rows [n, H, Dh] turned by the angles of each: (a, b) -> (a cos - b sin, b cos + a sin) for every pair."""
    return _Turned.apply(rows, *by)
