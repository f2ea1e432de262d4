"""Where tokens stand in the music: the positions that embeddings and attention read, as one value."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

_Ids = np.ndarray | Tensor


class Positions(NamedTuple):
    """Of n tokens, int64 [n] each: NumPy arrays as they are made, tensors on the model's device.

    ``bars``: the number of the bar, 0 outside all. ``beats``: the beat id, which the embedding adds. ``onsets``: the
    onset in the bar, in grid positions. ``in_bar``: how many tokens of the bar came before. ``in_onset``: how many
    since the onset token, or the first of the bar.
    """

    bars: _Ids
    beats: _Ids
    onsets: _Ids
    in_bar: _Ids
    in_onset: _Ids

    @staticmethod
    def joined(pieces: Sequence[Positions]) -> Positions:
        """Of pieces laid end to end."""
        return Positions(*np.concatenate([np.stack(piece) for piece in pieces], axis=1))

    @staticmethod
    def of_bars(bars: Tensor) -> Positions:
        """Of the beginnings of bars, tensor [N]."""
        start = torch.zeros_like(bars)
        return Positions(bars, start, start, start, start)
