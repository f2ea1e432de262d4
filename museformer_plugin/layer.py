"""What the layers of all architectures share: all but how rows attend to each other."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .packed_weights import Packable, PackableLinear
from .rotary import Turn, normalise, turn


class HiddenMatrices(NamedTuple):
    """Marks a weight [stacked * rows, cols] as hidden matrices, one below the other, each an optimiser's own.

    It is set as the weight's ``param_group``, because that is what fairseq copies to float32 copies.
    """

    stacked: int = 1


class _Projections(Packable):
    """Query, key and value matrices shared by tokens and summaries, with biases of their own."""

    def __init__(self, width: int, coarse: bool) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.empty(3 * width, width))
        self.token_bias = nn.Parameter(torch.zeros(3 * width))
        self.summary_bias = nn.Parameter(torch.zeros(3 * width)) if coarse else None
        self.summary_kv_weight = nn.Parameter(torch.empty(2 * width, width)) if coarse else None
        for matrix in (*self.weight.chunk(3), *(self.summary_kv_weight.chunk(2) if coarse else ())):
            nn.init.xavier_uniform_(matrix.data, gain=2**-0.5)
        self.weight.param_group = HiddenMatrices(3)
        if coarse:
            self.summary_kv_weight.param_group = HiddenMatrices(2)


def linear(in_width: int, out_width: int) -> PackableLinear:
    """A linear layer with Xavier weights and a zero bias."""
    layer = PackableLinear(in_width, out_width)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class BarAwareLayer(nn.Module):
    """A pre-norm layer of attention and feed-forward; subclasses say who attends to whom.

    Args:
        width: model width D; ``heads`` divides it.
        ffn_width: inner width of the feed-forward.
        dropout: rate on both residual branches; ``attention_dropout``: on the attention weights.
        coarse: whether there are summaries.
        qk_norm: whether queries and keys are brought to length 1, and their products scaled by a learned gain.
    """

    def __init__(
        self,
        width: int,
        heads: int,
        ffn_width: int,
        dropout: float,
        attention_dropout: float,
        coarse: bool,
        qk_norm: bool = False,
    ) -> None:
        super().__init__()
        self.heads = heads
        self.dropout = dropout
        self.attention_dropout = attention_dropout
        self.attention_norm = nn.LayerNorm(width)
        self.projections = _Projections(width, coarse)
        self.gain = nn.Parameter(torch.ones(1)) if qk_norm else None
        self.out_proj = linear(width, width)
        self.ffn_norm = nn.LayerNorm(width)
        self.ffn_in = linear(width, ffn_width)
        self.ffn_out = linear(ffn_width, width)
        for matrix in (self.out_proj, self.ffn_in, self.ffn_out):
            matrix.weight.param_group = HiddenMatrices()

    def step(self, x: Tensor, cache: Any, layer: int, visible: Tensor | None, by: Turn | None = None) -> Tensor:
        """One new token of every stream, x [B, D] -> [B, D].

        ``layer`` is this layer's place in ``cache``, an ``AttentionCache``; for ``visible`` see there. ``by`` is
        what queries and keys are turned by.
        """
        q, k, v = self.qkv(x, self.projections.token_bias, by)
        return self.finish(x, cache.attend(layer, q, k, v, visible))

    def qkv(self, rows: Tensor, bias: Tensor, by: Turn | None) -> tuple[Tensor, Tensor, Tensor]:
        """Rows [n, D] -> queries and keys, placed, and values, [n, H, Dh] each."""
        qkv = self.projections.product(self.attention_norm(rows), bias)
        qkv = qkv.view(len(rows), 3, self.heads, rows.shape[1] // self.heads)
        if not self.places(by):
            return qkv.unbind(1)
        both, v = qkv.split([2, 1], dim=1)
        q, k = self._place_both(both, by)
        return q if self.gain is None else q * self.gain, k, v.squeeze(1)

    def places(self, by: Turn | None) -> bool:
        """Whether ``place`` does anything."""
        return by is not None or self.gain is not None

    def place(self, rows: Tensor, by: Tensor | None) -> Tensor:
        """Queries or keys [n, ..., Dh] as they are multiplied: of length sqrt(Dh) and turned where it does so."""
        if self.gain is not None:
            rows = normalise(rows)
        return rows if by is None else turn(rows, by)

    def _place_both(self, rows: Tensor, by: Turn | None) -> Sequence[Tensor]:
        """``place`` for queries and keys, [n, 2, H, Dh] -> [n, H, Dh] each; together where they are placed alike."""
        if by is None or by.queries is by.keys:
            return self.place(rows, None if by is None else by.keys.unsqueeze(1)).unbind(1)
        return [turn(one, of_one) for one, of_one in zip(self.place(rows, None).unbind(1), by)]

    def finish(self, residual: Tensor, attended: Tensor) -> Tensor:
        """What the rows [n, D] become that attended to values [n, H, Dh]: [n, D]."""
        rows = residual + self._drop(self.out_proj(attended.flatten(1)))
        return rows + self._drop(self.ffn_out(F.gelu(self.ffn_in(self.ffn_norm(rows)))))

    def _drop(self, rows: Tensor) -> Tensor:
        return F.dropout(rows, self.dropout, self.training)
