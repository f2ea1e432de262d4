"""Learned matrices of what is said of bars."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from ..fc_attention import PieceBars
from .guide import BarGuide
from .said import SaidOfStreams

_LATE_SCALE = 4.0  # so that the late matrix is learnt as fast as the rest


class ConditionEmbedding(nn.Module):
    """Rows of width D of what is said of bars by C features.

    ``embedding`` and ``late``, float [C, D], begin at 0, so that a model that is told something for the first time
    computes what it did.
    """

    def __init__(self, features: int, width: int) -> None:
        super().__init__()
        self.embedding = nn.Parameter(torch.zeros(features, width))
        self.late = nn.Parameter(torch.zeros(features, width))

    def at_embedding(self, features: Tensor) -> Tensor:
        """What the embeddings of a bar's tokens and summary get on top, [1 + bars, D] of [bars, C]; row 0 is 0.

        sqrt(D) times the matrix, as tokens are embedded, or what is said would be lost among them.
        """
        return _behind_nothing(math.sqrt(self.embedding.shape[1]) * (features.to(self.embedding) @ self.embedding))

    def before_logits(self, features: Tensor) -> Tensor:
        """What the normalised rows before the logits get on top, as of ``at_embedding``.

        So what is said of a bar moves the logits of its tokens at once, whatever else is in them: told at the bottom
        alone, it is lost among embeddings whose projection has grown in training.
        """
        return _behind_nothing(_LATE_SCALE * (features.to(self.late) @ self.late))

    def of_streams(self, bars: Sequence[PieceBars], guides: Sequence[BarGuide] | None) -> SaidOfStreams:
        """Of each stream what is said of the bar under way behind its ``bars``, and of those after it."""
        if guides is None:
            nothing = np.zeros((0, len(self.embedding)), dtype=np.float32)
            return SaidOfStreams([self._told(nothing, nothing[:, 0])] * len(bars))
        told = [(guide.features, guide.bars_back(), piece.num_complete) for guide, piece in zip(guides, bars)]
        return SaidOfStreams([self._told(features[n:], back[n:]) for features, back, n in told])

    def _told(self, features: np.ndarray, bars_back: np.ndarray) -> Tensor:
        """Rows of ``SaidOfStreams``, at least float32 [1 + bars, 2 D + 1]; row 0 is 0."""
        rows = torch.from_numpy(features).to(self.embedding.device)
        said = torch.cat([self.at_embedding(rows), self.before_logits(rows)], dim=1)
        said = said.to(torch.promote_types(said.dtype, torch.float32))
        return torch.cat([said, _behind_nothing(torch.from_numpy(bars_back).to(said)[:, None])], dim=1)

    def upgrade_state_dict_named(self, state_dict: dict[str, Tensor], name: str) -> dict[str, Tensor]:
        """As fairseq asks of weights that it loads.

        Those from before commit f886ed0 have the matrices as ``conditions`` and ``late_conditions`` of the decoder,
        those from before 55dd0bc only the first, those of a model that could not be told anything neither: what is
        missing is 0, with which the model computes what it did.
        """
        if f"{name}.embedding" in state_dict:
            return state_dict
        earlier = {"embedding": name, "late": f"{name.removesuffix('conditions')}late_conditions"}
        for key, rows in self.named_parameters():
            of_earlier = state_dict.pop(earlier[key], None)
            state_dict[f"{name}.{key}"] = torch.zeros_like(rows) if of_earlier is None else of_earlier
        return state_dict


def _behind_nothing(rows: Tensor) -> Tensor:
    """Rows [n, D] behind one of 0."""
    return F.pad(rows, (0, 0, 1, 0))
