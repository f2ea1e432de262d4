"""One Museformer layer: FC-attention and feed-forward, shared between tokens and summaries."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .fc_attention import BarCache, BarLayout, fc_attention
from .packed_weights import Packable, PackableLinear
from .rotary import normalise, turn


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


class Turns(NamedTuple):
    """What ``turn`` multiplies the queries and keys of tokens and of summaries by, where the model has positions so."""

    tokens: Tensor | None
    summaries: Tensor | None


NO_TURNS = Turns(None, None)


def linear(in_width: int, out_width: int) -> PackableLinear:
    """A linear layer with Xavier weights and a zero bias."""
    layer = PackableLinear(in_width, out_width)
    nn.init.xavier_uniform_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer


class MuseformerLayer(nn.Module):
    """Pre-norm FC-attention and feed-forward.

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

    def forward(
        self,
        x: Tensor,
        s: Tensor | None,
        layout: BarLayout,
        turns: Turns = NO_TURNS,
        keep: Callable[[Tensor, Tensor | None], None] | None = None,
    ) -> tuple[Tensor, Tensor | None]:
        """Tokens x [T, D] and summaries s [N, D] (None without coarse-grained attention) -> the same.

        ``keep`` receives the rows that incremental decoding needs: keys and values of the tokens
        [T, 2, H, Dh], and those of the summaries, made of s', [N, 2, H, Dh] or None.
        """
        q, k, v = self._qkv(x, self.projections.token_bias, turns.tokens)
        x_attended, s_attended = fc_attention(
            (q, k, v),
            None if s is None else self._qkv(s, self.projections.summary_bias, turns.summaries),
            self.projections.summary_kv_weight,
            layout,
            self.attention_dropout if self.training else 0.0,
            place_summary_keys=partial(self._place, by=turns.summaries) if self._places(turns.summaries) else None,
        )
        if keep is not None:
            keep(torch.stack([k, v], 1), None if s is None else self.summary_rows(s_attended, turns.summaries))
        return self._finish(x, x_attended), None if s is None else self._finish(s, s_attended)

    def step(
        self, x: Tensor, cache: BarCache, layer: int, places: Tensor, visible: Tensor | None, by: Tensor | None = None
    ) -> Tensor:
        """One new token of every stream, x [B, D] -> [B, D].

        ``layer`` is this layer's place in ``cache``; for ``places`` and ``visible`` see there. ``by`` is what queries
        and keys are turned by.
        """
        q, k, v = self._qkv(x, self.projections.token_bias, by)
        return self._finish(x, cache.attend(layer, q, k, v, places, visible))

    def summarise(self, s: Tensor, bar_rows: Tensor, by: Tensor | None = None) -> tuple[Tensor, Tensor]:
        """The summary step of one bar: s [1, D], keys and values of its tokens [2, H, n, Dh].

        Returns the new s [1, D] and its keys and values for tokens [2, H, 1, Dh].
        """
        q, k, v = (rows.transpose(0, 1) for rows in self._qkv(s, self.projections.summary_bias, by))  # each [H, 1, Dh]
        keys, values = torch.cat([k, bar_rows[0]], dim=1), torch.cat([v, bar_rows[1]], dim=1)
        attended = F.scaled_dot_product_attention(q[None], keys[None], values[None])[0].transpose(0, 1)
        return self._finish(s, attended), self.summary_rows(attended, by).permute(1, 2, 0, 3)

    def summary_rows(self, s_attended: Tensor, by: Tensor | None = None) -> Tensor:
        """K2 s', placed, and V2 s' [N, 2, H, Dh] of s' [N, H, Dh]."""
        rows = F.linear(s_attended.flatten(1), self.projections.summary_kv_weight)
        rows = rows.view(len(rows), 2, *s_attended.shape[1:])
        if not self._places(by):
            return rows
        return torch.stack([self._place(rows[:, 0], by), rows[:, 1]], 1)

    def _qkv(self, rows: Tensor, bias: Tensor, by: Tensor | None) -> tuple[Tensor, Tensor, Tensor]:
        qkv = self.projections.product(self.attention_norm(rows), bias)
        q, k, v = qkv.view(len(rows), 3, self.heads, rows.shape[1] // self.heads).unbind(1)
        if not self._places(by):
            return q, k, v
        q = self._place(q, by)
        return q if self.gain is None else q * self.gain, self._place(k, by), v

    def _places(self, by: Tensor | None) -> bool:
        return by is not None or self.gain is not None

    def _place(self, rows: Tensor, by: Tensor | None) -> Tensor:
        """Queries or keys [n, H, Dh] as they are multiplied: of length sqrt(Dh) and turned, where the model does so."""
        if self.gain is not None:
            rows = normalise(rows)
        return rows if by is None else turn(rows, by)

    def _finish(self, residual: Tensor, attended: Tensor) -> Tensor:
        rows = residual + self._drop(self.out_proj(attended.flatten(1)))
        return rows + self._drop(self.ffn_out(F.gelu(self.ffn_in(self.ffn_norm(rows)))))

    def _drop(self, rows: Tensor) -> Tensor:
        return F.dropout(rows, self.dropout, self.training)
