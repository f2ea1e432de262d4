"""What Museformer needs of a batch besides its tokens."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from ..fc_attention import AttentionPlan, BarLayout, PieceBars, repeat_distances
from ..fc_attention.backends import prepare_for_kernels
from ..feeding import FedInputs
from ..positions import Positions
from ..token_families import TokenFamilies


@dataclass(frozen=True)
class MuseformerInputs(FedInputs):
    """``layout``: who attends to whom in a batch; ``positions`` NumPy [T].

    ``features`` float32 [bars of all pieces, C]: what is said of each bar, to a model that is steerable.
    """

    layout: BarLayout
    positions: Positions
    features: np.ndarray | None = None

    @property
    def lengths(self) -> list[int]:
        """Tokens of each piece."""
        return [piece.num_tokens for piece in self.layout.pieces]

    def arrays(self) -> dict[str, np.ndarray]:
        """Also the bar ``summary_bars`` [N] of each summary, and, where something is said of bars, ``features`` and
        their rows that stand for tokens and summaries, and ``bars_back``."""
        arrays = {**super().arrays(), "summary_bars": self.layout.summary_bar_ids}
        if self.features is not None:
            said = {"features": self.features, "bars_of_tokens": self.bars_of_tokens(), "bars_back": self.bars_back()}
            arrays |= {**said, "bars_of_summaries": self.bars_of_summaries()}
        return arrays

    def attention_plans(self) -> Sequence[AttentionPlan]:
        """See ``FedInputs``."""
        return self.layout.token_plan, self.layout.summary_plan

    def bars_of_tokens(self) -> np.ndarray:
        """Rows of ``features``, from 1 up, int64 [T]; 0 for a prefix."""
        found, before = [], 0
        for piece in self.layout.pieces:
            bars = np.arange(before + 1, before + 1 + len(piece.starts))
            found += [[0], np.repeat(bars, np.diff(piece.starts, append=piece.num_tokens))]
            before += len(piece.starts)
        return np.concatenate(found)

    def bars_back(self) -> np.ndarray:
        """How many bars before its own is the one that a token's bar repeats, int64 [T], 0 where none is named."""
        back = [repeat_distances(piece.bar_numbers, piece.repeated_bars) for piece in self.layout.pieces]
        return np.concatenate([[0], *back])[self.bars_of_tokens()]

    def bars_of_summaries(self) -> np.ndarray:
        """The same of summaries, int64 [N]."""
        found, before = [], 0
        for piece in self.layout.pieces:
            found.append(np.arange(before + 1, before + 1 + piece.num_complete))
            before += len(piece.starts)
        return np.concatenate(found)


def make_inputs(
    families: TokenFamilies,
    pieces: Sequence[np.ndarray],
    bars: Sequence[PieceBars],
    structure_bars: Sequence[int],
    coarse: bool,
    for_gpu: bool,
    num_features: int = 0,
    features: Sequence[np.ndarray] | None = None,
) -> MuseformerInputs:
    """``MakeInputs`` between what is bound already; ``for_gpu`` makes the index lists of the kernels too.

    ``num_features``: C where the model is steerable.
    """
    layout = BarLayout.build(bars, structure_bars, coarse)
    if for_gpu:
        prepare_for_kernels(layout.token_plan, layout.summary_plan)
    positions = Positions.joined([families.positions(*piece) for piece in zip(pieces, bars)])
    if not num_features:
        return MuseformerInputs(layout, positions)
    if features is None:
        features = [np.zeros((len(piece.starts), num_features), dtype=np.float32) for piece in bars]
    return MuseformerInputs(layout, positions, np.concatenate(list(features)))
