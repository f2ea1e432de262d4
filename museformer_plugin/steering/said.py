"""What is said of the bars that streams are writing: their state, made of ``ConditionEmbedding``."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


class SaidOfStreams:
    """Of the bar under way of each of B streams, and of those behind it.

    ``rows`` [B, 2 D + 1], what is said, at the embedding and before the logits, and how many bars before its own lies
    the bar that is repeated; changed in place as bars end, so that a recorded step reads the new ones.

    Args:
        told: of each stream rows [1 + bars, 2 D + 1] from the bar under way on, behind a row of 0, which stands for all
            bars of which nothing is said.
    """

    def __init__(self, told: Sequence[Tensor]) -> None:
        self._told = list(told)
        self._under_way = [1] * len(told)
        self.rows = torch.stack([self._row(stream) for stream in range(len(told))])

    def _row(self, stream: int) -> Tensor:
        told, place = self._told[stream], self._under_way[stream]
        return told[place if place < len(told) else 0]

    def at_embedding(self) -> Tensor:
        """[B, D]."""
        return self.rows[:, : self.rows.shape[1] // 2]

    def before_logits(self) -> Tensor:
        """[B, D]."""
        return self.rows[:, self.rows.shape[1] // 2 : -1]

    def bars_back(self) -> Tensor:
        """[B]."""
        return self.rows[:, -1]

    def end_bar(self, stream: int) -> None:
        """The next bar of a stream is under way."""
        self._under_way[stream] += 1
        self.rows[stream] = self._row(stream)

    def select(self, indices: Sequence[int]) -> None:
        """Keep these streams, in this order, with repeats; nothing moves for the identity."""
        if list(indices) == list(range(len(self._told))):
            return
        self._told = [self._told[index] for index in indices]
        self._under_way = [self._under_way[index] for index in indices]
        self.rows = self.rows[list(indices)]

    def put(self, index: int, entering: SaidOfStreams) -> None:
        """Let the one stream of ``entering`` take the place of ``index``."""
        self._told[index], self._under_way[index] = entering._told[0], entering._under_way[0]
        self.rows[index] = entering.rows[0]
