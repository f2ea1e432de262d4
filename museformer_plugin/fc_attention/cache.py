"""Incremental state of FC-attention: the keys and values a batch of streams may still need.

Within a bar the keys of a stream only grow by the bar's own tokens, so they lie in one buffer,
gathered when the bar begins: [summaries | prefix | structure bars | own bar so far]. Behind it
each stream keeps the rows of the bars that can still become structure bars, and one row per
summary: bounded by the structure distances where bars are numbered in order, but for the summaries.

Letters: L layers, B streams, H heads, Dh head width; ``rows`` hold keys and values together, so
their second dimension is 2.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from .cache_buffers import PaddedBuffer, StreamBuffers
from .piece_bars import PieceBars, UpcomingBar

# Where padded, bars that end together are so long, with the row of their summary before them, or a multiple of it:
# kernels want masks of whole words, and recordings few shapes.
_LENGTH_MULTIPLE = 64


class _Filed(NamedTuple):
    """A bar that is over: how many were written before, its number, and rows of its tokens or its summary."""

    order: int
    number: int
    rows: Tensor


class _Stream:
    """What one stream keeps besides its buffer: rows [L, 2, H, n, Dh] of prefix, bars and summaries."""

    def __init__(self, prefix: Tensor, structure_bars: frozenset[int], upcoming: Sequence[UpcomingBar]) -> None:
        self.prefix = prefix
        self.structure_bars = structure_bars
        self.bars: list[_Filed] = []  # those that may still be seen token by token
        self.summaries: list[_Filed] = []
        self.upcoming = tuple(upcoming)  # from the one under way on; then numbers go on one by one
        self.order = 0  # of the bar under way
        self.own_start = 1  # where the own bar begins in the buffer
        self.length = 1  # rows of the buffer in use

    @property
    def number(self) -> int:
        """That of the bar under way."""
        return self.upcoming[0].number

    def end_bar(self, rows: Tensor, summary: Tensor | None) -> None:
        """File the bar under way, and go on to the next."""
        self.bars.append(_Filed(self.order, self.number, rows))
        if summary is not None:
            self.summaries.append(_Filed(self.order, self.number, summary))
        self.upcoming = self.upcoming[1:] or (UpcomingBar(self.number + 1),)
        self.order += 1
        self._drop_unseen()

    def _drop_unseen(self) -> None:
        """Keep the bars that one under way or to come may see token by token."""
        last = self.upcoming[-1].number
        numbers = {bar.number - distance for bar in self.upcoming for distance in self.structure_bars}
        repeated = {bar.repeats for bar in self.upcoming}
        farthest = max(self.structure_bars, default=0)
        self.bars = [
            bar for bar in self.bars if bar.number in numbers or bar.order in repeated or bar.number + farthest > last
        ]

    def _is_seen(self, bar: _Filed) -> bool:
        """Whether the bar under way sees ``bar`` token by token."""
        return self.number - bar.number in self.structure_bars or self.upcoming[0].repeats == bar.order

    def key_rows(self) -> list[Tensor]:
        """The rows the bar under way sees, before its own, each [L, 2, H, n, Dh]."""
        far = [bar.rows for bar in self.summaries if not self._is_seen(bar)]
        near = [bar.rows for bar in self.bars if self._is_seen(bar)]
        return [*far, self.prefix, *near]

    def copy(self) -> _Stream:
        twin = copy.copy(self)
        twin.bars = list(self.bars)
        twin.summaries = list(self.summaries)
        return twin


class BarCache:
    """Keys and values of a batch of streams, each somewhere in its own bar.

    A step is ``begin_step``, ``visible``, ``attend`` once per layer, ``advance``, then ``end_step``; that the bar of
    a stream is over is told by ``end_bar``.

    Where ``padded``, the buffers are a ``PaddedBuffer``, else ``StreamBuffers``.
    """

    def __init__(self, structure_bars: Sequence[int], coarse: bool, *, padded: bool, expected: int = 1) -> None:
        """``expected``: how many streams will be added, so that there is memory for them at once."""
        self.structure_bars = frozenset(structure_bars)
        self.coarse = coarse
        self.padded = padded
        self._buffers = PaddedBuffer(expected) if padded else StreamBuffers()
        self._streams: list[_Stream] = []

    def __len__(self) -> int:
        return len(self._streams)

    def add_stream(
        self, piece: PieceBars, token_rows: Tensor, summary_rows: Tensor | None, upcoming: Sequence[UpcomingBar] = ()
    ) -> None:
        """Begin a stream with a prompt read at once.

        Args:
            piece: the prompt's bars.
            token_rows: keys and values of its tokens, prefix first, [L, 2, H, T, Dh].
            summary_rows: K2 s' and V2 s' of its complete bars, [L, 2, H, bars, Dh]; None without
                coarse-grained attention.
            upcoming: the bars behind those of the prompt; then numbers go on one by one.
        """
        read = zip(piece.bar_numbers.tolist(), piece.repeated_bars.tolist())
        bars = [*(UpcomingBar(number, repeated) for number, repeated in read), *upcoming]
        if len(bars) == piece.num_complete:
            bars.append(UpcomingBar(bars[-1].number + 1 if bars else 1))
        stream = _Stream(token_rows[:, :, :, :1].clone(), self.structure_bars, bars)
        edges = [int(start) for start in piece.starts] + [piece.num_tokens]
        for bar, (start, end) in enumerate(zip(edges[: piece.num_complete], edges[1:])):
            summary = None if summary_rows is None else summary_rows[:, :, :, bar : bar + 1].clone()
            stream.end_bar(token_rows[:, :, :, start:end].clone(), summary if self.coarse else None)
        self._streams.append(stream)
        own_start = edges[piece.num_complete] if piece.num_tokens > 1 else 1
        self._gather(len(self._streams) - 1, token_rows[:, :, :, own_start:])

    def _gather(self, index: int, own: Tensor | None = None) -> None:
        """Lay out the keys of stream ``index`` for its next bar, ``own`` being what it has of it."""
        stream = self._streams[index]
        parts = stream.key_rows()
        stream.own_start = stream.length = sum(part.shape[3] for part in parts)
        if own is not None:
            parts.append(own)
            stream.length += own.shape[3]
        self._buffers.begin(index, parts)

    @property
    def bar_numbers(self) -> np.ndarray:
        """The numbers of the bars under way, int64 [B]."""
        return np.array([stream.number for stream in self._streams], dtype=np.int64)

    def begin_step(self) -> None:
        """Let there be memory for one more token of every stream."""
        self._buffers.begin_step([stream.length for stream in self._streams])

    @property
    def address(self) -> int:
        """Of the padded buffer: it changes when the buffer grows, or when there are more streams or fewer."""
        assert isinstance(self._buffers, PaddedBuffer)
        return self._buffers.address

    def changed(self) -> list[Tensor]:
        """What ``advance`` changes of the padded buffer, in place."""
        assert isinstance(self._buffers, PaddedBuffer)
        return [self._buffers.places]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the step under way: that of the padded buffer, and how many of its rows are read."""
        assert isinstance(self._buffers, PaddedBuffer)
        return self._buffers.shape

    def visible(self) -> Tensor | None:
        """For ``attend``: [B, 1, 1, rows], 0 or -inf, or None where not padded."""
        return self._buffers.visible()

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None) -> Tensor:
        """Add the new token's key and value, and attend: q, k, v [B, H, Dh] -> [B, H, Dh]."""
        return self._buffers.attend(layer, q, k, v, visible)

    def advance(self) -> None:
        """Every stream has one more token, as far as the device counts them."""
        self._buffers.advance()

    def end_step(self) -> None:
        """Every stream has one more token in its own bar, as the host counts them."""
        for stream in self._streams:
            stream.length += 1

    def _own_bar(self, index: int) -> Tensor:
        """Keys and values [L, 2, H, n, Dh] of stream ``index``'s own bar so far."""
        stream = self._streams[index]
        return self._buffers.rows_of(index)[:, :, :, stream.own_start : stream.length]

    def own_bars(self, indices: Sequence[int]) -> tuple[Tensor, Tensor, Tensor]:
        """The bars under way of these streams, E at least one, beside each other.

        Returns keys and values [L, 2, E, H, n, Dh], 0 behind the tokens of a bar that has fewer than n; the bars'
        numbers and how many tokens they have, int64 [E] each.
        """
        rows = [self._own_bar(index) for index in indices]
        counts = [bar.shape[3] for bar in rows]
        layers, two, heads, _, width = rows[0].shape
        longest = max(counts)
        if self.padded:
            longest = -(-(longest + 1) // _LENGTH_MULTIPLE) * _LENGTH_MULTIPLE - 1
        # hidden rows are multiplied by 0, which a value that is not finite would survive
        together = rows[0].new_zeros(layers, two, len(rows), heads, longest, width)
        for place, bar in enumerate(rows):
            together[:, :, place, :, : counts[place]] = bar
        numbers = torch.tensor([[self._streams[index].number for index in indices], counts], pin_memory=rows[0].is_cuda)
        bars, lengths = numbers.to(together.device, non_blocking=True)
        return together, bars, lengths

    def end_bar(self, index: int, summary_rows: Tensor | None) -> None:
        """Stream ``index`` has completed its bar: file it, with its summary's K2 s' and V2 s'
        [L, 2, H, 1, Dh], and gather the keys of its next bar."""
        stream = self._streams[index]
        stream.end_bar(self._own_bar(index).clone(), summary_rows)
        self._gather(index)

    def select(self, indices: Sequence[int]) -> None:
        """Keep these streams, in this order, with repeats; nothing moves for the identity."""
        if list(indices) == list(range(len(self._streams))):
            return
        self._buffers.select(indices)
        self._streams = [self._streams[index].copy() for index in indices]

    def put(self, index: int, entering: BarCache) -> None:
        """Let the one stream of ``entering``, which stays as it is, take the place of ``index``."""
        stream = entering._streams[0].copy()
        self._streams[index] = stream
        self._buffers.begin(index, [entering._buffers.rows_of(0)[:, :, :, : stream.length]])

    def num_bytes(self) -> int:
        """Memory held, in bytes."""
        tensors = self._buffers.tensors()
        for stream in self._streams:
            tensors += [stream.prefix, *(bar.rows for bar in [*stream.bars, *stream.summaries])]
        return sum(tensor.numel() * tensor.element_size() for tensor in tensors)
