"""Rotary positions in musical coordinates: queries and keys turned by bar, onset and index in the onset or bar.

Rotary positions (Su et al. 2021, arXiv 2104.09864) turn pairs of numbers of a query or key by angles that grow with its
position, so that their product depends on the distance alone. Here the pairs of a head are divided among three
positions, so that "the same onset four bars ago" is one and the same turn everywhere in a piece.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import torch
from torch import Tensor, nn
from torch.autograd.function import once_differentiable

from .positions import Positions

# angles a step of the fastest and the slowest pair; the steps are a bar, an onset position, a token
_BAR_ANGLES = math.pi / 2, math.pi / 64
_ONSET_ANGLES = math.pi / 3, math.pi / 96
_INDEX_ANGLES = 1.0, 1 / 200

NARROWEST_HEAD = 6  # a pair for each of bar, onset and index


class Turn(NamedTuple):
    """What the queries and the keys of n rows are turned by: complex [n, 1 or H, Dh / 2] each."""

    queries: Tensor
    keys: Tensor


class RotaryPositions(nn.Module):
    """Turns of rows from their coordinates.

    The Dh / 2 pairs of a head are divided evenly, the first third by bar, the second by onset, the last by index, with
    angles a step in a geometric ladder each. Pair k is made of numbers 2 k and 2 k + 1 of the head.

    Args:
        head_width: Dh, even and at least 6. Raises ValueError for others.
        in_onset: whether indices count from the onset, or from the bar.
    """

    def __init__(self, head_width: int, in_onset: bool) -> None:
        super().__init__()
        self._in_onset = in_onset
        # in the weights, so that those which have learnt the other index, or none, are refused and do not go on worse
        self.register_buffer("counts_from_onset" if in_onset else "counts_from_bar", torch.ones(()))
        if head_width % 2 or head_width < NARROWEST_HEAD:
            raise ValueError(f"head_width: expected an even number from {NARROWEST_HEAD} up, not {head_width}")
        pairs = head_width // 2
        of_bars, of_onsets, of_indices = (pairs + 2) // 3, (pairs + 1) // 3, pairs // 3
        ladders: tuple[Tensor, ...] = (
            _ladder(*_BAR_ANGLES, of_bars),
            _ladder(*_ONSET_ANGLES, of_onsets),
            _ladder(*_INDEX_ANGLES, of_indices),
        )
        # no buffers, which become half precision with the model; copied once, so that no pass waits for the device
        self._ladders = {torch.device("cpu"): ladders}

    def forward(self, positions: Positions, like: Tensor) -> Turn:
        """Tensors [n] -> e^(i angle) [n, 1, Dh / 2]; complex128 where ``like`` is float64, else complex64.

        The angles are float32 in any case.
        """
        indices = positions.in_onset if self._in_onset else positions.in_bar
        by = self._by(like, positions.bars, positions.onsets, indices)
        return Turn(by, by)

    def looking_back(self, turn: Turn, bars: Tensor, heads: int, looking: int) -> Turn:
        """Let the queries of the last ``looking`` of the heads stand so many ``bars``, tensor [n], before their own.

        So that what is there, at their onset and index, is as near to them as their own bar to the others.
        """
        here = torch.zeros_like(bars)
        there = turn.queries * self._by(turn.queries.real, -bars, here, here)
        queries = [turn.queries.expand(-1, heads - looking, -1), there.expand(-1, looking, -1)]
        return Turn(torch.cat(queries, dim=1), turn.keys)

    def _by(self, like: Tensor, *steps: Tensor) -> Tensor:
        ladders = self._ladders_on(steps[0].device)
        parts = [ids.to(torch.float32).unsqueeze(1) * ladder for ids, ladder in zip(steps, ladders)]
        angles = torch.cat(parts, dim=1).unsqueeze(1).to(torch.promote_types(like.dtype, torch.float32))
        return torch.polar(torch.ones_like(angles), angles)

    def _ladders_on(self, device: torch.device) -> tuple[Tensor, ...]:
        if device not in self._ladders:
            self._ladders[device] = tuple(ladder.to(device) for ladder in self._ladders[torch.device("cpu")])
        return self._ladders[device]


def _ladder(fastest: float, slowest: float, count: int) -> Tensor:
    return torch.logspace(math.log10(fastest), math.log10(slowest), count, dtype=torch.float64).to(torch.float32)


class _Turned(torch.autograd.Function):
    @staticmethod
    def forward(ctx: Any, rows: Tensor, by: Tensor) -> Tensor:
        ctx.save_for_backward(by)
        return _times(rows, by)

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> tuple[Tensor, None]:
        (by,) = ctx.saved_tensors
        # autograd may hand on a transposed gradient, whose pairs are not neighbours
        return _times(grad.contiguous(), by.conj()), None


def _times(rows: Tensor, by: Tensor) -> Tensor:
    """Half precision is rounded once, at the end."""
    pairs = rows.to(by.real.dtype).unflatten(-1, (-1, 2))
    return torch.view_as_real(torch.view_as_complex(pairs) * by).flatten(-2).to(rows.dtype)


def turn(rows: Tensor, by: Tensor) -> Tensor:
    """Rows [n, ..., Dh], each pair (a, b) as the complex number a + i b, times ``by`` [n, ..., Dh / 2]."""
    return _Turned.apply(rows, by)


class _Normalised(torch.autograd.Function):
    """As autograd would have it, in a third of the passes over the rows."""

    @staticmethod
    def forward(ctx: Any, rows: Tensor) -> Tensor:
        rows = rows.contiguous()
        lengths = torch.linalg.vector_norm(rows, dim=-1, keepdim=True).clamp_(min=1e-6)
        factors = math.sqrt(rows.shape[-1]) / lengths
        normalised = rows * factors
        ctx.save_for_backward(normalised, factors)
        return normalised

    @staticmethod
    @once_differentiable
    def backward(ctx: Any, grad: Tensor) -> Tensor:
        normalised, factors = ctx.saved_tensors
        along = (grad * normalised).mean(-1, keepdim=True)
        return torch.addcmul(grad, along, normalised, value=-1).mul_(factors)


def normalise(rows: Tensor) -> Tensor:
    """Rows [..., Dh] brought to the length sqrt(Dh); rows near 0 stay near 0."""
    return _Normalised.apply(rows)
