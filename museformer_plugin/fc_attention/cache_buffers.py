"""The keys and values that a step of a batch of streams attends to: one buffer on a GPU, on a CPU one a stream.

Letters: L layers, B streams, H heads, Dh head width; ``rows`` hold keys and values together, so their second dimension
is 2.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor
from torch.nn.functional import scaled_dot_product_attention as _attend

from .kept_memory import reordered

_PADDED_GROWTH = 256  # rows the padded buffer gains at a time
_GROWTH, _MULTIPLE = 128, 64  # rows a stream's own buffer gains at a time, and what its size is a multiple of


class PaddedBuffer:
    """All streams in one tensor, attended at once, which pays on a GPU.

    Between ``begin_step`` and the end of a step nothing depends on the host but ``address`` and ``shape``: what runs
    there can be recorded, and played again at any step where both are the same.

    ``places`` int64 [B]: the rows where the next token of each stream goes, on the device.
    """

    def __init__(self, expected: int) -> None:
        """``expected``: how many streams will be added, so that there is memory for them at once."""
        self._expected = expected
        self._num_streams = 0
        self._rows = torch.empty([0] * 6)  # [L, 2, B, H, capacity, Dh]; capacity 0 until there is a stream
        self._streams = self.places = torch.empty(0, dtype=torch.int64)
        self._longest = 0  # of the streams, as the step under way began

    def begin(self, index: int, parts: list[Tensor]) -> None:
        """Let stream ``index``, which may be a new one, begin with ``parts``, each [L, 2, H, n, Dh]."""
        rows = torch.cat(parts, dim=3)
        self._num_streams = max(self._num_streams, index + 1)
        self._reserve(rows, rows.shape[3] + 1)
        buffer = self._rows[:, :, index]
        buffer[:, :, :, : rows.shape[3]] = rows
        # hidden rows are multiplied by 0, which a value that is not finite would survive
        buffer[:, :, :, rows.shape[3] :] = 0
        self.places[index] = rows.shape[3]

    def _reserve(self, like: Tensor, length: int) -> None:
        """Let there be memory for every stream and ``length`` rows (``like`` [L, 2, H, n, Dh] gives the rest)."""
        layers, two, heads, _, width = like.shape
        old = self._rows
        streams, capacity = old.shape[2], old.shape[4]
        needed = max(self._num_streams, 0 if capacity else self._expected)
        if streams >= needed and capacity >= length:
            return
        if capacity < length:
            capacity = max(length + _PADDED_GROWTH, capacity + capacity // 4)
            capacity = -(-capacity // _PADDED_GROWTH) * _PADDED_GROWTH  # kernels want masks of whole words
        self._rows = like.new_zeros(layers, two, max(streams, needed), heads, capacity, width)
        if old.shape[4]:
            self._rows[:, :, :streams, :, : old.shape[4]] = old
        if needed > streams:
            self._streams = torch.arange(needed, device=like.device)
            added = torch.zeros(needed - streams, dtype=torch.int64, device=like.device)
            self.places = torch.cat([self.places.to(like.device), added])

    def begin_step(self, lengths: Sequence[int]) -> None:
        """Let there be memory for one more row of every stream, behind as many as ``lengths`` says."""
        self._longest = max(lengths)
        self._reserve(self._rows[:, :, 0], self._longest + 1)

    @property
    def address(self) -> int:
        """Of the buffer: it changes when the buffer grows, or when there are more streams or fewer."""
        return self._rows.data_ptr()

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the step under way: that of the buffer, and how many of its rows are read."""
        return *self._rows.shape, self._num_read

    @property
    def _num_read(self) -> int:
        # in whole steps of growth, so that it seldom changes
        return min(-(-(self._longest + 1) // _PADDED_GROWTH) * _PADDED_GROWTH, self._rows.shape[4])

    def visible(self) -> Tensor:
        """What is added to scores: 0 for rows up to the new ones, -inf behind, [B, 1, 1, rows].

        As numbers at once, which bools would be made in every layer.
        """
        behind = torch.arange(self._num_read, device=self.places.device) > self.places[:, None]
        return self._rows.new_zeros(behind.shape).masked_fill(behind, float("-inf"))[:, None, None]

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None) -> Tensor:
        """Put k and v at ``places`` and attend to all that is ``visible``: q, k, v [B, H, Dh] -> [B, H, Dh]."""
        keys, values = self._rows[layer]
        keys[self._streams, :, self.places] = k
        values[self._streams, :, self.places] = v
        num_read = self._num_read
        queries = q.unsqueeze(2)
        return _attend(queries, keys[:, :, :num_read], values[:, :, :num_read], attn_mask=visible).squeeze(2)

    def advance(self) -> None:
        """Every stream has one more row."""
        self.places += 1

    def rows_of(self, index: int) -> Tensor:
        """Of stream ``index``, [L, 2, H, n, Dh], with memory behind what it has."""
        return self._rows[:, :, index]

    def select(self, indices: Sequence[int]) -> None:
        """Keep these streams, in this order, with repeats."""
        self._num_streams = len(indices)
        self._rows, self.places = reordered(self._rows, indices, 2), reordered(self.places, indices, 0)
        if len(indices) != len(self._streams):
            self._streams = torch.arange(len(indices), device=self.places.device)

    def tensors(self) -> list[Tensor]:
        """What is held in memory."""
        return [self._rows]


class _OwnBuffer:
    """One stream's rows [L, 2, H, capacity, Dh], 0 where there are none yet.

    In bfloat16 all of them are multiplied, ``hidden`` [1, 1, capacity], -inf where there are none yet, being added to
    scores: products of rows that lie apart, or of a shape that is new at every step, take several times longer.
    """

    def __init__(self, rows: Tensor, hidden: Tensor) -> None:
        self.rows = rows
        self._hidden = hidden
        self._layers = [(layer, layer[0], layer[1]) for layer in rows]
        self._length = 0  # as the step under way began

    @classmethod
    def empty(cls, like: Tensor, length: int) -> _OwnBuffer:
        """With memory for ``length`` rows and some more; ``like`` [L, 2, H, n, Dh] gives the rest."""
        capacity = -(-(length + _GROWTH) // _MULTIPLE) * _MULTIPLE
        layers, two, heads, _, width = like.shape
        return cls(like.new_empty(layers, two, heads, capacity, width), like.new_empty(1, 1, capacity))

    def suits(self, length: int) -> bool:
        """Whether there is memory for more than ``length`` rows, and not too much."""
        return length < self.rows.shape[3] <= length + 2 * _GROWTH + _MULTIPLE

    def fill(self, parts: Sequence[Tensor]) -> _OwnBuffer:
        """Begin with ``parts``, each [L, 2, H, n, Dh]; returns itself."""
        end = 0
        for part in parts:
            start, end = end, end + part.shape[3]
            self.rows[:, :, :, start:end] = part
        # rows without a weight are multiplied by 0, which a value that is not finite would survive
        self.rows[:, :, :, end:] = 0
        self._hidden[:, :, :end] = 0
        self._hidden[:, :, end:] = float("-inf")
        return self

    def copy(self) -> _OwnBuffer:
        return _OwnBuffer(self.rows.clone(), self._hidden.clone())

    def begin_step(self, length: int) -> None:
        self._length = length
        self._hidden[:, :, length] = 0

    def attend(self, layer: int, q: Tensor, new: Tensor) -> Tensor:
        """q [H, 1, Dh], in bfloat16 times Dh^(-1/2), and a key and a value ``new`` [2, H, Dh] -> as q."""
        rows, keys, values = self._layers[layer]
        rows.select(2, self._length).copy_(new)
        if q.dtype == torch.bfloat16:
            scores = torch.bmm(q, keys.transpose(1, 2)).add_(self._hidden)
            return torch.bmm(scores.softmax(2), values)
        end = self._length + 1
        return _attend(q[None], keys[None, :, :end], values[None, :, :end])[0]


class StreamBuffers:
    """A buffer for each stream, which pays on a CPU: it waits for memory, and reads no padding of other streams."""

    def __init__(self) -> None:
        self._buffers: list[_OwnBuffer] = []

    def begin(self, index: int, parts: list[Tensor]) -> None:
        """Let stream ``index``, which may be a new one, begin with ``parts``, each [L, 2, H, n, Dh]."""
        length = sum(part.shape[3] for part in parts)
        if index == len(self._buffers):
            self._buffers.append(_OwnBuffer.empty(parts[0], length))
        elif not self._buffers[index].suits(length):  # new memory costs more than the rows that fill it
            self._buffers[index] = _OwnBuffer.empty(parts[0], length)
        self._buffers[index].fill(parts)

    def begin_step(self, lengths: Sequence[int]) -> None:
        """Let there be memory for one more row of every stream, behind as many as ``lengths`` says."""
        for index, length in enumerate(lengths):
            rows = self._buffers[index].rows
            if length == rows.shape[3]:
                self._buffers[index] = _OwnBuffer.empty(rows, length).fill([rows])
            self._buffers[index].begin_step(length)

    def visible(self) -> None:
        """Each stream knows what it sees."""

    def advance(self) -> None:
        """Rows are counted on the host alone."""

    def attend(self, layer: int, q: Tensor, k: Tensor, v: Tensor, visible: Tensor | None) -> Tensor:
        """Put k and v behind the rows of each stream and attend to all: q, k, v [B, H, Dh] -> [B, H, Dh]."""
        if q.dtype == torch.bfloat16:
            q = q * q.shape[2] ** -0.5
        of_streams = zip(self._buffers, q.unsqueeze(2).unbind(0), torch.stack([k, v], 1).unbind(0))
        return torch.stack([buffer.attend(layer, *rows) for buffer, *rows in of_streams]).squeeze(2)

    def rows_of(self, index: int) -> Tensor:
        """Of stream ``index``, [L, 2, H, n, Dh], with memory behind what it has."""
        return self._buffers[index].rows

    def select(self, indices: Sequence[int]) -> None:
        """Keep these streams, in this order, with repeats."""
        kept = [self._buffers[index] for index in indices]
        for new, old in enumerate(indices):
            if old in indices[:new]:
                kept[new] = kept[new].copy()
        self._buffers = kept

    def tensors(self) -> list[Tensor]:
        """What is held in memory."""
        return [buffer.rows for buffer in self._buffers]
