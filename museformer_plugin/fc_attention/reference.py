"""FC-attention by its definition, with dense masks: the specification every fast path is held to.

For checking only: it builds (N + T) x (N + T) tensors.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor

from .layout import BarLayout
from .piece_bars import NO_BAR, PieceBars
from .plan import AttentionPlan


def dense_masks(layout: BarLayout) -> tuple[Tensor, Tensor]:
    """Who may attend to whom, True where allowed.

    Returns ``token_mask`` bool [T, N + T] and ``summary_mask`` bool [N, N + T]; columns are
    [summaries | tokens].
    """
    num_pieces = len(layout.pieces)
    piece = np.repeat(np.arange(num_pieces), [p.num_tokens for p in layout.pieces])
    number, index = layout.bar_ids, np.arange(layout.num_tokens)
    order = np.concatenate([_order_of_bars(p) for p in layout.pieces])  # in which bars are written, 0 of a prefix
    repeated = np.concatenate([np.append(NO_BAR, p.repeated_bars)[_order_of_bars(p)] for p in layout.pieces]) + 1
    complete = [p.num_complete if layout.coarse else 0 for p in layout.pieces]
    summary_piece = np.repeat(np.arange(num_pieces), complete)
    summary_order = np.concatenate([np.arange(1, count + 1) for count in complete])

    same_piece = piece[:, None] == piece[None, :]
    in_a_bar = order > 0
    so_far = index[:, None] >= index[None, :]
    own_bar = order[:, None] == order[None, :]
    structure = np.isin(number[:, None] - number[None, :], layout.structure_bars)
    structure |= repeated[:, None] == order[None, :]
    structure_bar = structure & (order[None, :] < order[:, None]) & in_a_bar[None, :]
    fine = same_piece & ((own_bar & so_far) | structure_bar | (~in_a_bar[None, :] & so_far))

    structure = np.isin(number[:, None] - layout.summary_bar_ids[None, :], layout.structure_bars)
    structure |= repeated[:, None] == summary_order[None, :]
    earlier = summary_order[None, :] < order[:, None]
    coarse = (piece[:, None] == summary_piece[None, :]) & earlier & ~structure

    itself = np.eye(layout.num_summaries, dtype=bool)
    tokens_of_its_bar = (summary_piece[:, None] == piece[None, :]) & (summary_order[:, None] == order[None, :])
    return (
        torch.from_numpy(np.concatenate([coarse, fine], axis=1)),
        torch.from_numpy(np.concatenate([itself, tokens_of_its_bar], axis=1)),
    )


def _order_of_bars(piece: PieceBars) -> np.ndarray:
    is_start = np.zeros(piece.num_tokens, dtype=np.int64)
    is_start[piece.starts] = 1
    return np.cumsum(is_start)


def mask_of(plan: AttentionPlan) -> Tensor:
    """Which keys each query of a plan sees, bool [Q, K]: by what ``Segment`` says, one query after another."""
    mask = np.zeros((plan.num_queries, plan.num_keys), dtype=bool)
    for segment in plan.segments():
        (first, end), (first_own, end_own) = segment.queries, segment.keys[-1]
        for query in range(first, end):
            for start, stop in segment.keys:
                mask[query, start:stop] = True
            if segment.causal:
                own = end_own - (end - query)
                mask[query, own + 1 : end_own] = False
                if segment.window:
                    mask[query, first_own : max(first_own, own - segment.window + 1)] = False
    return torch.from_numpy(mask)


def masked_attention(q: Tensor, k: Tensor, v: Tensor, mask: Tensor, dropout: float = 0.0) -> Tensor:
    """softmax(q k^T / sqrt(Dh)) v per head, over the allowed keys.

    q [Q, H, Dh], k and v [K, H, Dh], mask bool [Q, K]; returns [Q, H, Dh].
    """
    scores = torch.einsum("qhd,khd->hqk", q, k) * q.shape[-1] ** -0.5
    weights = scores.masked_fill(~mask.to(q.device), float("-inf")).softmax(dim=-1)
    return torch.einsum("hqk,khd->qhd", F.dropout(weights, dropout), v)


def fc_attention_reference(
    tokens: tuple[Tensor, Tensor, Tensor],
    summaries: tuple[Tensor, Tensor, Tensor],
    summary_kv_weight: Tensor,
    layout: BarLayout,
    dropout: float = 0.0,
    place_summary_keys: Callable[[Tensor], Tensor] | None = None,
) -> tuple[Tensor, Tensor]:
    """The same call as ``fc_attention``, by the definition, where p is ``place_summary_keys``:

    s' = Attention(q_s, [k_s ; k_x], [v_s ; v_x])
    x' = Attention(q_x, [p(K2 s') ; k_x], [V2 s' ; v_x])
    """
    token_mask, summary_mask = dense_masks(layout)
    (q_x, k_x, v_x), (q_s, k_s, v_s) = tokens, summaries
    s = masked_attention(q_s, torch.cat([k_s, k_x]), torch.cat([v_s, v_x]), summary_mask, dropout)
    k2, v2 = F.linear(s.flatten(1), summary_kv_weight).view(len(s), 2, *s.shape[1:]).unbind(1)
    if place_summary_keys is not None:
        k2 = place_summary_keys(k2)
    x = masked_attention(q_x, torch.cat([k2, k_x]), torch.cat([v2, v_x]), token_mask, dropout)
    return x, s
