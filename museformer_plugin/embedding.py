"""Embeddings of tokens and summaries: learned tokens, sinusoidal bars and beats, projected together."""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .layer import linear


def sinusoidal_positions(ids: Tensor, width: int) -> Tensor:
    """P(n) = [sin(n f_k)] ++ [cos(n f_k)], f_k = 10000^(-k / (half - 1)), P(0) = 0; float32 [..., width].

    fairseq's sinusoidal table, computed for whatever ids come.
    """
    half = width // 2
    step = math.log(10000) / (half - 1)
    frequencies = torch.exp(torch.arange(half, dtype=torch.float32, device=ids.device) * -step)
    angles = ids.to(torch.float32).unsqueeze(-1) * frequencies
    return torch.cat([angles.sin(), angles.cos()], dim=-1) * (ids != 0).unsqueeze(-1)


class BarAwareEmbedding(nn.Module):
    """token = W_tok [sqrt(E) E[token] ; P(bar) ; P(beat)] + b_tok, summary = W_sum [sqrt(E) E_sum ; P(bar)] + b_sum.

    Args:
        num_tokens, padding: size of the dictionary and its padding index.
        token_width: E; ``bar_width`` and ``beat_width`` those of P; ``width`` that of the model.
        coarse: whether there are summaries.
    """

    def __init__(
        self,
        num_tokens: int,
        padding: int,
        token_width: int,
        bar_width: int,
        beat_width: int,
        width: int,
        coarse: bool,
    ) -> None:
        super().__init__()
        self.widths = (token_width, bar_width, beat_width)
        self.token = nn.Embedding(num_tokens, token_width, padding)
        self.token_proj = linear(sum(self.widths), width)
        self.summary = nn.Parameter(torch.randn(token_width)) if coarse else None
        self.summary_proj = linear(token_width + bar_width, width) if coarse else None

    def tables(self, max_bar: int, max_beat: int) -> tuple[Tensor, Tensor, Tensor]:
        """What each token, bar id and beat id adds to a row of the model: [V, D], [bars, D], [beats, D].

        Projecting the few distinct parts and adding them equals projecting every token.
        """
        token_width, bar_width, beat_width = self.widths
        weight = self.token_proj.weight.split(self.widths, dim=1)
        tokens = F.linear(math.sqrt(token_width) * self.token.weight, weight[0], self.token_proj.bias)
        bars = F.linear(self._positions(max_bar, bar_width), weight[1])
        beats = F.linear(self._positions(max_beat, beat_width), weight[2])
        return tokens, bars, beats

    def forward(self, tokens: Tensor, bar_ids: Tensor, beat_ids: Tensor, max_bar: int, max_beat: int) -> Tensor:
        """int64 [T] each, with upper bounds of the two ids -> [T, D]."""
        if len(tokens) < len(self.token.weight):
            return self.project(tokens, bar_ids, beat_ids)
        token_table, bar_table, beat_table = self.tables(max_bar, max_beat)
        return F.embedding(tokens, token_table) + F.embedding(bar_ids, bar_table) + F.embedding(beat_ids, beat_table)

    def project(self, tokens: Tensor, bar_ids: Tensor, beat_ids: Tensor) -> Tensor:
        """``forward`` row by row, int64 [T] each -> [T, D]: for fewer rows than the dictionary has entries."""
        token_width, bar_width, beat_width = self.widths
        learned = math.sqrt(token_width) * self.token(tokens)
        positions = (sinusoidal_positions(bar_ids, bar_width), sinusoidal_positions(beat_ids, beat_width))
        return self.token_proj(torch.cat([learned, *(rows.to(learned.dtype) for rows in positions)], dim=1))

    def summaries(self, bar_ids: Tensor) -> Tensor:
        """int64 [N] -> [N, D]."""
        token_width, bar_width, _ = self.widths
        learned = (math.sqrt(token_width) * self.summary).expand(len(bar_ids), -1)
        positions = sinusoidal_positions(bar_ids, bar_width).to(learned.dtype)
        return self.summary_proj(torch.cat([learned, positions], dim=1))

    def _positions(self, highest: int, width: int) -> Tensor:
        weight = self.token_proj.weight
        return sinusoidal_positions(torch.arange(highest + 1, device=weight.device), width).to(weight.dtype)


class PreviousTokens(nn.Module):
    """x_t + sum over k of w_k * x_(t-k): each row also gets the rows of the tokens before it, number by number.

    A causal depthwise convolution over the embeddings (compare Primer, arXiv 2109.08668, and Canon layers, Allen-Zhu
    2025). A key then says what came before its token, so that one layer can find where the same was played before and
    read what followed. Rows before a piece's first are 0.

    Args:
        count: how many tokens before, K; ``width``: D.
    """

    def __init__(self, count: int, width: int) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.randn(count, width) * 0.3)

    def forward(self, x: Tensor, indices_in_piece: Tensor) -> Tensor:
        """x [T, D] of pieces laid end to end, int64 [T] -> [T, D]."""
        total = x
        for k, weight in enumerate(self.weight[: len(x) - 1], start=1):
            of_same_piece = (indices_in_piece[k:] >= k).unsqueeze(1).to(x.dtype)
            total = total + F.pad(x[:-k] * weight * of_same_piece, (0, 0, k, 0))
        return total

    def step(self, x: Tensor, present: Tensor) -> Tensor:
        """x [K + 1, B, D]: rows of the new token of each stream and those before it, the latest first -> [B, D].

        ``present`` bool [K + 1, B]: which of them there are.
        """
        earlier = x[1:] * present[1:].unsqueeze(2).to(x.dtype)
        return x[0] + (earlier * self.weight.unsqueeze(1)).sum(0)
