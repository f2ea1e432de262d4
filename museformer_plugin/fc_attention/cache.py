"""Incremental state of FC-attention: the keys and values a batch of streams may still need.

Within a bar the keys of a stream only grow by the bar's own tokens, so they lie in one buffer,
gathered when the bar begins: [summaries | prefix | structure bars | own bar so far]. Behind it
each stream keeps the rows of the bars that can still become structure bars, and one row per
summary: bounded by the structure distances but for the summaries, one row a bar.

Letters: L layers, B streams, H heads, Dh head width; ``rows`` hold keys and values together, so
their second dimension is 2.
"""

from __future__ import annotations

import copy
from collections import deque
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as _attend

from .layout import PieceBars

_ROOM = 256  # rows a growing buffer gains at a time


class _Stream:
    """What one stream keeps besides its buffer: rows [L, 2, H, n, Dh] of prefix, bars and summaries."""

    def __init__(self, prefix: Tensor, longest_distance: int) -> None:
        self.prefix = prefix
        self.recent_bars: deque[Tensor] = deque(maxlen=longest_distance)
        self.summaries: list[Tensor] = []
        self.num_bars = 0  # complete ones
        self.own_start = 1  # where the own bar begins in the buffer
        self.length = 1  # rows of the buffer in use

    def key_rows(self, structure_bars: frozenset[int], coarse: bool) -> Tensor:
        """The rows the next bar sees, before its own."""
        next_bar = self.num_bars
        far = [bar for bar in range(next_bar) if next_bar - bar not in structure_bars] if coarse else []
        near = [len(self.recent_bars) - c for c in sorted(structure_bars, reverse=True)]
        bars = [self.recent_bars[place] for place in near if place >= 0]
        return torch.cat([*(self.summaries[bar] for bar in far), self.prefix, *bars], dim=3)

    def copy(self) -> _Stream:
        twin = copy.copy(self)
        twin.recent_bars = copy.copy(self.recent_bars)
        twin.summaries = list(self.summaries)
        return twin


class BarCache:
    """Keys and values of a batch of streams, each at its own place in its own bar.

    A step is ``begin_step``, ``visible``, then ``attend`` once per layer, then ``end_step``; a stream whose bar is over
    is told by ``end_bar``.

    Where ``padded``, which pays on a GPU, all streams are attended at once, and between ``begin_step`` and
    ``end_step`` nothing depends on the host but ``address`` and ``shape``: what runs there can be recorded, and played
    again at any step where both are the same. Else, on a CPU, which waits for memory, each stream reads its own rows
    and no padding.
    """

    def __init__(self, structure_bars: Sequence[int], coarse: bool, *, padded: bool, expected: int = 1) -> None:
        """``expected``: how many streams will be added, so that room is made for them at once."""
        self.structure_bars = frozenset(structure_bars)
        self.coarse = coarse
        self.padded = padded
        self._expected = expected
        self._streams: list[_Stream] = []
        self._rows: Tensor | None = None  # [L, 2, B, H, capacity, Dh]
        self._lengths: list[int] = []  # of the buffer in use, as the step under way began

    def __len__(self) -> int:
        return len(self._streams)

    def add_stream(self, piece: PieceBars, token_rows: Tensor, summary_rows: Tensor | None) -> None:
        """Begin a stream with a prompt read at once.

        Args:
            piece: the prompt's bars.
            token_rows: keys and values of its tokens, prefix first, [L, 2, H, T, Dh].
            summary_rows: K2 s' and V2 s' of its complete bars, [L, 2, H, bars, Dh]; None without
                coarse-grained attention.
        """
        stream = _Stream(token_rows[:, :, :, :1].clone(), max(self.structure_bars, default=0))
        edges = [int(start) for start in piece.starts] + [piece.num_tokens]
        for start, end in zip(edges[: piece.num_complete], edges[1:]):
            stream.recent_bars.append(token_rows[:, :, :, start:end].clone())
        stream.num_bars = piece.num_complete
        if summary_rows is not None:
            stream.summaries = [summary_rows[:, :, :, bar : bar + 1].clone() for bar in range(piece.num_complete)]
        self._streams.append(stream)
        own_start = edges[piece.num_complete] if piece.num_tokens > 1 else 1
        self._gather(len(self._streams) - 1, token_rows[:, :, :, own_start:])

    def _gather(self, number: int, own: Tensor | None = None) -> None:
        """Lay out the keys of stream ``number`` for its next bar, ``own`` being what it has of it."""
        stream = self._streams[number]
        rows = stream.key_rows(self.structure_bars, self.coarse)
        stream.own_start = rows.shape[3]
        if own is not None and own.shape[3]:
            rows = torch.cat([rows, own], dim=3)
        stream.length = rows.shape[3]
        self._reserve(rows, stream.length + 1)
        self._place(number, rows)

    def _place(self, number: int, rows: Tensor) -> None:
        """Begin the buffer of stream ``number`` with ``rows`` [L, 2, H, n, Dh]."""
        buffer = self._rows[:, :, number]
        buffer[:, :, :, : rows.shape[3]] = rows
        if self.padded:  # hidden rows are multiplied by 0, which a value that is not finite would survive
            buffer[:, :, :, rows.shape[3] :] = 0

    def _reserve(self, like: Tensor, length: int) -> None:
        """Make room for every stream and ``length`` rows (``like`` [L, 2, H, n, Dh] gives the rest)."""
        layers, two, heads, _, width = like.shape
        old = self._rows
        streams, capacity = (0, 0) if old is None else (old.shape[2], old.shape[4])
        needed = max(len(self._streams), self._expected if old is None else 0)
        if streams >= needed and capacity >= length:
            return
        if capacity < length:
            capacity = max(length + _ROOM, capacity + capacity // 4)
        self._rows = like.new_zeros(layers, two, max(streams, needed), heads, capacity, width)
        if old is not None:
            self._rows[:, :, :streams, :, : old.shape[4]] = old

    def begin_step(self) -> np.ndarray:
        """Make room for one more token of every stream; the rows of the buffer where they go, int64 [B]."""
        self._lengths = [stream.length for stream in self._streams]
        self._reserve(self._rows[:, :, 0], max(self._lengths) + 1)
        return np.array(self._lengths, dtype=np.int64)

    @property
    def address(self) -> int:
        """Of the buffer: it changes when the buffer grows, or when there are more streams or fewer."""
        return self._rows.data_ptr()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the step under way: that of the buffer, and how many of its rows are read where padded."""
        return *self._rows.shape, self._num_read

    @property
    def _num_read(self) -> int:
        # in whole rooms, so that it seldom changes
        return min(-(-(max(self._lengths) + 1) // _ROOM) * _ROOM, self._rows.shape[4])

    def visible(self, places: Tensor) -> Tensor | None:
        """For ``attend``, from what ``begin_step`` returned: bool [B, 1, 1, rows], or None where not padded."""
        if not self.padded:
            return None
        columns = torch.arange(self._num_read, device=places.device)
        return (columns <= places[:, None])[:, None, None]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, places: Tensor, visible: Tensor | None) -> Tensor:
        """Add the new token's key and value, and attend: q, k, v [B, H, Dh] -> [B, H, Dh].

        ``places`` int64 [B] is on the device what ``begin_step`` returned, ``visible`` what the method returned.
        """
        keys, values = self._rows[layer]
        numbers = torch.arange(len(places), device=places.device)
        keys[numbers, :, places] = k
        values[numbers, :, places] = v
        queries = q.unsqueeze(2)
        if visible is None:
            return torch.cat(
                [
                    _attend(queries[n : n + 1], keys[n : n + 1, :, : length + 1], values[n : n + 1, :, : length + 1])
                    for n, length in enumerate(self._lengths)
                ]
            ).squeeze(2)
        num_read = visible.shape[3]
        return _attend(queries, keys[:, :, :num_read], values[:, :, :num_read], attn_mask=visible).squeeze(2)

    def end_step(self) -> None:
        """Every stream has one more token in its own bar."""
        for stream in self._streams:
            stream.length += 1

    def own_bar(self, number: int) -> Tensor:
        """Keys and values [L, 2, H, n, Dh] of stream ``number``'s own bar so far."""
        stream = self._streams[number]
        return self._rows[:, :, number, :, stream.own_start : stream.length]

    def end_bar(self, number: int, summary_rows: Tensor | None) -> None:
        """Stream ``number`` has completed its bar: file it, with its summary's K2 s' and V2 s'
        [L, 2, H, 1, Dh], and gather the keys of its next bar."""
        stream = self._streams[number]
        stream.recent_bars.append(self.own_bar(number).clone())
        stream.num_bars += 1
        if summary_rows is not None:
            stream.summaries.append(summary_rows)
        self._gather(number)

    def select(self, numbers: Sequence[int]) -> None:
        """Keep the streams of these numbers, in this order, with repeats; nothing moves for the identity."""
        if list(numbers) == list(range(len(self._streams))):
            return
        selected = self._rows.index_select(2, torch.tensor(numbers, device=self._rows.device))
        if selected.shape == self._rows.shape:
            self._rows.copy_(selected)  # its address stays
        else:
            self._rows = selected
        self._streams = [self._streams[number].copy() for number in numbers]

    def put(self, number: int, entering: BarCache) -> None:
        """Let the one stream of ``entering``, which stays as it is, take the place of ``number``."""
        stream = entering._streams[0].copy()
        self._streams[number] = stream
        self._reserve(self._rows[:, :, 0], stream.length + 1)
        self._place(number, entering._rows[:, :, 0, :, : stream.length])

    def num_bytes(self) -> int:
        """Memory held, in bytes."""
        tensors = [self._rows] if self._rows is not None else []
        for stream in self._streams:
            tensors += [stream.prefix, *stream.recent_bars, *stream.summaries]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
