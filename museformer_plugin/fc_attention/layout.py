"""Where pieces and bars lie in a batch, and the plans of who attends to whom that follow.

A batch is its pieces' tokens laid end to end, without padding: T tokens, and N summaries, one for
each complete bar, in the order of the bars. Token 0 of every piece is its prefix, outside every
bar; bars follow without gaps, in the order in which they are written. Each carries a number: 1, 2 and
so on unless told otherwise, as where a window of a piece begins later, or where a bar is written after
bars that sound later. A bar sees bars written before it, by the distance of their numbers, and token by token
also one that it is told to repeat. A last bar that is not complete has no summary.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .piece_bars import PieceBars
from .plan import AttentionPlan
from .seen_bars import summary_plan, token_plan

# Longer bars are cut into segments of this many queries, so that what is computed at a time is bounded.
LONGEST_SEGMENT = 512


@dataclass(frozen=True)
class BarLayout:
    """A batch of pieces laid end to end, and its two attention plans.

    ``pieces``: their bars. ``structure_bars``: distances, from number to number, of the bars written
    before that are attended to token by token; 0 or less are of bars with the same number or a higher
    one. A bar that is repeated is attended to so as well. ``coarse``: whether the others written before are
    seen through their summaries; without it there are none (N = 0). ``bar_ids`` int64 [T]: the number of
    each token's bar, 0 for a prefix. ``summary_bar_ids`` int64 [N]. ``token_plan`` and ``summary_plan``
    address key rows [summaries | tokens], that is N + T rows.
    """

    pieces: tuple[PieceBars, ...]
    structure_bars: tuple[int, ...]
    coarse: bool
    bar_ids: np.ndarray
    summary_bar_ids: np.ndarray
    token_plan: AttentionPlan
    summary_plan: AttentionPlan

    @property
    def num_tokens(self) -> int:
        """T, the tokens of all pieces."""
        return len(self.bar_ids)

    @property
    def num_summaries(self) -> int:
        """N, the complete bars of all pieces, or 0 without coarse-grained attention."""
        return len(self.summary_bar_ids)

    @property
    def summary_bars(self) -> np.ndarray:
        """The tokens of each summary's bar, half-open, int64 [N, 2]."""
        own_row_and_bar = self.summary_plan.key_ranges.reshape(-1, 2, 2)
        return own_row_and_bar[:, 1] - self.num_summaries

    @staticmethod
    def build(pieces: Sequence[PieceBars], structure_bars: Sequence[int], coarse: bool = True) -> BarLayout:
        """Lay ``pieces`` end to end.

        Raises ValueError when there is no piece.
        """
        if not pieces:
            raise ValueError("a batch has at least one piece")
        num_summaries = sum(piece.num_complete for piece in pieces) if coarse else 0
        distances = tuple(sorted(set(structure_bars)))
        return BarLayout(
            pieces=tuple(pieces),
            structure_bars=distances,
            coarse=coarse,
            bar_ids=np.concatenate([piece.bar_ids for piece in pieces]),
            summary_bar_ids=np.concatenate(
                [piece.bar_numbers[: piece.num_complete if coarse else 0] for piece in pieces]
            ),
            token_plan=token_plan(pieces, distances, coarse, num_summaries, LONGEST_SEGMENT),
            summary_plan=summary_plan(pieces, num_summaries),
        )
