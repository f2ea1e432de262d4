"""Incremental state of relative attention: each stream keeps the rows that its next tokens may see.

Letters: L layers, B streams, H heads, Dh head width; ``rows`` hold keys and values together, so their second dimension
is 2.
"""

from __future__ import annotations

from collections.abc import Callable

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention

from .relative import Segments
from .separate_streams import SeparateStreams, StreamRows, grown


class _Stream(StreamRows):
    """Its rows are those of its tokens from ``start`` to below ``length``."""

    def __init__(self, rows: Tensor, start: int) -> None:
        super().__init__(rows, start + rows.shape[3])
        self.start = start
        self.first_seen = start  # by the query of the step under way
        self.distances = torch.empty(0, dtype=torch.int64)  # from it to all that it sees

    def begin_step(self, segments: Segments) -> None:
        """Let there be memory for one more row; where there is none left, what is not seen any more is dropped."""
        self.first_seen = segments.first_seen(self.length)
        if self.length - self.start == self.rows.shape[3]:
            kept = self.rows[:, :, :, self.first_seen - self.start :]
            count = kept.shape[3]
            capacity = min(grown(count), segments.longest)
            self.rows = kept.new_empty(*kept.shape[:3], capacity, kept.shape[4])
            self.rows[:, :, :, :count] = kept
            self.start = self.first_seen
        self.distances = torch.arange(self.length - self.first_seen, -1, -1, device=self.rows.device)

    def attend(self, layer: int, q: Tensor, new: Tensor, by_distance: Tensor) -> Tensor:
        """q [H, Dh], a key and a value ``new`` [2, H, Dh], what is added to logits [H, distances] -> [H, Dh]."""
        end = self.length - self.start + 1
        rows = self.rows[layer, :, :, :end]
        rows[:, :, -1] = new
        keys, values = rows[:, None, :, self.first_seen - self.start :]
        added = by_distance.index_select(1, self.distances.clamp(max=by_distance.shape[1] - 1))
        return scaled_dot_product_attention(q[None, :, None], keys, values, attn_mask=added[None, :, None])[0, :, 0]


class RelativeCache(SeparateStreams[_Stream]):
    """Keys and values of a batch of streams."""

    def __init__(self, segments: Segments, tables: Callable[[int], list[Tensor]]) -> None:
        """``tables``: of each layer r [H, distances, Dh] of that many distances or fewer, as of ``relative_attention``.

        They are asked for anew when a stream sees farther than before.
        """
        super().__init__()
        self._segments = segments
        self._make_tables = tables
        self._tables: list[Tensor] = []
        self._reach = 0  # distances that the tables are made for

    def add_stream(self, rows: Tensor) -> None:
        """Begin a stream with a prompt read at once: keys and values [L, 2, H, n, Dh]."""
        start = self._segments.first_seen(rows.shape[3])
        self._streams.append(_Stream(rows[:, :, :, start:], start))

    def begin_step(self) -> None:
        """Let there be memory for one more token of every stream."""
        for stream in self._streams:
            stream.begin_step(self._segments)
        farthest = max(len(stream.distances) for stream in self._streams)
        if farthest > self._reach:
            self._reach = min(2 * grown(farthest), self._segments.longest)
            self._tables = self._make_tables(self._reach)

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, visible: None) -> Tensor:
        """Add the new token's key and value, and attend: k, v [B, H, Dh] -> [B, H, Dh].

        q [2, B, H, Dh]: what keys are multiplied by, and what r.
        """
        content, relative = q
        by_distance = (relative * q.shape[3] ** -0.5).transpose(0, 1) @ self._tables[layer].mT  # [H, B, distances]
        of_streams = zip(self._streams, content, torch.stack([k, v], 1), by_distance.unbind(1))
        return torch.stack([stream.attend(layer, *rows) for stream, *rows in of_streams])

    def num_bytes(self) -> int:
        """Memory held, in bytes."""
        tensors = [*self._tables, *(stream.rows for stream in self._streams)]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
