"""Incremental state of attention to few rows that lie apart: all are kept, a step gathers those that it sees.

Letters: L layers, B streams, H heads, Dh head width; ``rows`` hold keys and values together, so their second dimension
is 2.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from .separate_streams import SeparateStreams, StreamRows, grown


class SeenByHeads(NamedTuple):
    """``rows_seen`` gives, int64 [n], the rows that the query of a row sees, its own too, in ``heads``."""

    heads: slice
    rows_seen: Callable[[int], np.ndarray]


class _Stream(StreamRows):
    """Of its rows ``length`` are in use."""

    def __init__(self, rows: Tensor) -> None:
        super().__init__(rows, rows.shape[3])
        self.seen: list[Tensor] = []  # of each group of heads, by the query of the step under way

    def reserve_one(self) -> None:
        if self.length == self.rows.shape[3]:
            layers, two, heads, length, width = self.rows.shape
            more = self.rows.new_empty(layers, two, heads, grown(length) - length, width)
            self.rows = torch.cat([self.rows, more], dim=3)


class GatheringCache(SeparateStreams[_Stream]):
    """Keys and values of a batch of streams."""

    def __init__(self, groups: Sequence[SeenByHeads]) -> None:
        """``groups``: in the order of their heads, of which each is in one."""
        super().__init__()
        self._groups = groups

    def add_stream(self, rows: Tensor) -> None:
        """Begin a stream with a prompt read at once: keys and values [L, 2, H, n, Dh]."""
        self._streams.append(_Stream(rows))

    def begin_step(self) -> None:
        """Let there be memory for one more token of every stream."""
        for stream in self._streams:
            stream.reserve_one()
            device = stream.rows.device
            stream.seen = [torch.from_numpy(group.rows_seen(stream.length)).to(device) for group in self._groups]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, visible: None) -> Tensor:
        """Add the new token's key and value, and attend: q, k, v [B, H, Dh] -> [B, H, Dh]."""
        attended = []
        for stream, query, new in zip(self._streams, q.unsqueeze(2), torch.stack([k, v], 1)):
            rows = stream.rows[layer]  # [2, H, capacity, Dh]
            rows[:, :, stream.length] = new
            parts = []
            for group, seen in zip(self._groups, stream.seen):
                keys, values = rows[:, group.heads].index_select(2, seen)[:, None]
                parts.append(scaled_dot_product_attention(query[None, group.heads], keys, values)[0])
            attended.append(torch.cat(parts))
        return torch.stack(attended).squeeze(2)
