"""Attention over ranges of rows on CPUs that multiply in bfloat16: all keys of a segment at once, a few heads together.

A product in bfloat16 is two to four times faster than in float32, but costs more to begin with, and more yet when its
shape is new. So the keys that a segment sees are copied side by side, where ``head`` takes them tile by tile;
heads go together; and shapes are rounded up. Scores and weights are bfloat16, as in eager code; softmax computes in
float32 inside; the gradients that segments give to a key are added up in float32. Nothing is kept for the backward.

Letters: G heads, n queries of a segment and W keys that it sees, both rounded up, d head width, R rows of keys.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import NamedTuple

import torch
from torch import Tensor

from .head import without_interpreter_lock
from .threads import in_threads
from .tiles import Tiles

_HEADS_AT_ONCE = 4
_ROUND_QUERIES, _ROUND_KEYS = 16, 64
_BITS = 2**40  # from the seed of the heads' draws, and the summaries' behind them, to that of the bits they multiply


def multiplies_bfloat16(device: torch.device) -> bool:
    """Whether ``device`` is a CPU with instructions for products of bfloat16."""
    # no public part of PyTorch: where they are missing, as if the CPU had no such instructions
    tests = (getattr(torch.cpu, name, None) for name in ("_is_avx512_bf16_supported", "_is_amx_tile_supported"))
    return device.type == "cpu" and any(test() for test in tests if test is not None)


class Buffers(NamedTuple):
    """Memory of one thread for any segment, flat.

    ``rows`` are three of [G, n, d], ``keys`` three of [G, W, d], ``scores`` three of [G, n, W], all bfloat16;
    ``bits`` are the scores as int16. For dropout (else empty): ``random`` int64 for four scores of one head each,
    ``numbers`` int16 for every score, and ``quadruples``, int64 in the memory of ``numbers``. ``above`` and ``below``
    bfloat16 [n, n] are -inf above and below the diagonal.
    """

    rows: list[Tensor]
    keys: list[Tensor]
    scores: list[Tensor]
    bits: list[Tensor]
    random: Tensor
    numbers: Tensor
    quadruples: Tensor
    above: Tensor
    below: Tensor


@without_interpreter_lock
def _views(rows: Tensor, ranges: list[list[int]]) -> list[list[Tensor]]:
    """The ranges of rows [G, R, d], by head."""
    return [[of_head[start_end[0] : start_end[1]] for start_end in ranges] for of_head in rows.unbind(0)]


@without_interpreter_lock
def _gather(views: list[list[Tensor]], tiles: list[list[int]], width: int, buffer: Tensor) -> Tensor:
    """The keys or values of ``tiles`` side by side, [G, W, d]; zeros behind ``width`` rows."""
    d = views[0][0].shape[1]
    rows = buffer.view(len(views), -1, d)
    for head in range(len(views)):
        of_head = views[head]
        torch.cat([of_head[tile[0]] for tile in tiles], out=rows[head, :width])
    rows[:, width:].zero_()
    return rows


@without_interpreter_lock
def _lay_out(rows: Tensor, factor: float, buffer: Tensor) -> Tensor:
    """rows [n', G, d] times ``factor`` as [G, n, d], zeros behind the n' rows."""
    laid = buffer.view(rows.shape[1], -1, rows.shape[2])
    laid[:, : len(rows)].copy_(rows.transpose(0, 1))
    if factor != 1.0:
        laid.mul_(factor)
    laid[:, len(rows) :].zero_()
    return laid


@without_interpreter_lock
def _weights(
    rows: Tensor,
    keys: Tensor,
    count: int,
    width: int,
    causal: bool,
    last_width: int,
    left: int,
    masked: Tensor,
    buffers: Buffers,
) -> Tensor:
    """softmax of rows [G, n, d] times keys [G, W, d]: [G, n, W], 0 where ``masked`` and behind ``width`` keys.

    Where ``causal``, the last of the keys belong to the first ``count`` rows, which do not see those behind themselves;
    of the last ``last_width`` keys row i does not see those before ``left`` + i.
    """
    size = rows.shape[0] * rows.shape[1] * keys.shape[1]
    scores = buffers.scores[0][:size].view(rows.shape[0], rows.shape[1], keys.shape[1])
    torch.bmm(rows, keys.transpose(1, 2), out=scores)
    if causal:
        scores[:, :count, width - count : width].add_(buffers.above[:count, :count])
        if left + count > 1:
            first = width - last_width
            scores[:, :count, first : first + left + count - 1].add_(buffers.below[:count, -left : count - 1])
    if len(masked) > 0:
        scores.index_fill_(2, masked, float("-inf"))
    scores[:, :, width:].fill_(float("-inf"))
    return torch.softmax(scores, 2, out=buffers.scores[1][:size].view(scores.shape))


@without_interpreter_lock
def _draw_kept(like: Tensor, rate: float, draws: list[list[int]], buffers: Buffers) -> Tensor:
    """int16, flat, for every weight as ``like`` [G, n, W]: 1 where it is kept, 0 where it is dropped; none at rate 0.

    A number x of 64 random bits, drawn once a call, becomes a x + b for a head of a segment, with random a (odd) and b
    of its own in ``draws``: what any two of them drop is independent, and a product is cheaper than random numbers.
    """
    if rate == 0:
        return buffers.numbers
    count = like[0].numel()
    for head in range(len(draws)):
        factor, shift = draws[head]
        quadruples = buffers.quadruples[head * count // 4 : (head + 1) * count // 4]
        torch.mul(buffers.random[: count // 4], factor, out=quadruples)
        quadruples.add_(shift)
    # compared in place they stay int16, and bits are kept or cleared by a product: with bool it would be slow
    return buffers.numbers[: like.numel()].ge_(int(rate * (1 << 16)) - (1 << 15))


@without_interpreter_lock
def _masked_of(tiles: list[list[int]], ranges: list[list[int]], masked: Tensor) -> Tensor:
    """The columns that are masked, counted over all ``tiles``."""
    found: list[Tensor] = []
    before = 0
    for index, first_masked, last_masked in tiles:
        if last_masked > first_masked:
            found.append(masked[first_masked:last_masked] + before)
        before += ranges[index][1] - ranges[index][0]
    return torch.cat(found) if len(found) > 0 else masked[:0]


@without_interpreter_lock
def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    plan: Tiles,
    shapes: Tensor,
    rate: float,
    draws: Tensor,
    buffers: Buffers,
    out: Tensor,
) -> None:
    """A few heads, forward: q, out [Q, G, d], k, v [G, R, d]; shapes [S, 2] are n and W of every segment."""
    segments: list[list[int]] = plan.segments.tolist()
    rounded: list[list[int]] = shapes.tolist()
    all_draws: list[list[list[int]]] = draws.tolist()
    all_tiles: list[list[int]] = plan.tiles.tolist()
    ranges: list[list[int]] = plan.ranges.tolist()
    keys_of, values_of = _views(k, ranges), _views(v, ranges)
    heads, d = q.shape[1], q.shape[2]
    for index in range(len(segments)):
        start, end, causal, first, last, width, left = segments[index]
        n, wide = rounded[index]
        tiles = all_tiles[first:last]
        last_range = ranges[tiles[-1][0]]
        rows = _lay_out(q[start:end], d**-0.5, buffers.rows[0][: heads * n * d])
        keys = _gather(keys_of, tiles, width, buffers.keys[0][: heads * wide * d])
        values = _gather(values_of, tiles, width, buffers.keys[1][: heads * wide * d])
        masked = _masked_of(tiles, ranges, plan.masked)
        last_width = last_range[1] - last_range[0]
        weights = _weights(rows, keys, end - start, width, causal == 1, last_width, left, masked, buffers)
        if rate > 0:
            buffers.bits[1][: weights.numel()].mul_(_draw_kept(weights, rate, all_draws[index], buffers))
        total = torch.bmm(weights, values, out=buffers.rows[1][: heads * n * d].view(heads, n, d))
        if rate > 0:
            total.mul_(1 / (1 - rate))
        out[start:end].copy_(total[:, : end - start].transpose(0, 1))


@without_interpreter_lock
def _add(parts: Tensor, tiles: list[list[int]], ranges: list[list[int]], total: Tensor) -> None:
    """Add parts [G, W, d] to the rows of total [G, R, d] that they were gathered from."""
    before = 0
    for tile in tiles:
        start, end = ranges[tile[0]]
        total[:, start:end].add_(parts[:, before : before + end - start])
        before += end - start


@without_interpreter_lock
def differentiate(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    plan: Tiles,
    shapes: Tensor,
    rate: float,
    draws: Tensor,
    buffers: Buffers,
    grad_out: Tensor,
    grad_q: Tensor,
    grad_k: Tensor,
    grad_v: Tensor,
) -> None:
    """A few heads, backward: what ``attend`` had, and the gradients, shaped like what they are of.

    grad_q, bfloat16, is written; to grad_k and grad_v, float32, is added.
    """
    segments: list[list[int]] = plan.segments.tolist()
    rounded: list[list[int]] = shapes.tolist()
    all_draws: list[list[list[int]]] = draws.tolist()
    all_tiles: list[list[int]] = plan.tiles.tolist()
    ranges: list[list[int]] = plan.ranges.tolist()
    keys_of, values_of = _views(k, ranges), _views(v, ranges)
    heads, d = q.shape[1], q.shape[2]
    scale = d**-0.5
    for index in range(len(segments)):
        start, end, causal, first, last, width, left = segments[index]
        n, wide = rounded[index]
        tiles = all_tiles[first:last]
        last_range = ranges[tiles[-1][0]]
        of_rows, of_keys = heads * n * d, heads * wide * d
        rows = _lay_out(q[start:end], scale, buffers.rows[0][:of_rows])
        grads = _lay_out(grad_out[start:end], 1 / (1 - rate), buffers.rows[1][:of_rows])
        keys = _gather(keys_of, tiles, width, buffers.keys[0][:of_keys])
        values = _gather(values_of, tiles, width, buffers.keys[1][:of_keys])
        masked = _masked_of(tiles, ranges, plan.masked)
        last_width = last_range[1] - last_range[0]
        weights = _weights(rows, keys, end - start, width, causal == 1, last_width, left, masked, buffers)
        shape, size = weights.shape, weights.numel()
        grad_weights = torch.bmm(grads, values.transpose(1, 2), out=buffers.scores[0][:size].view(shape))
        kept = _draw_kept(weights, rate, all_draws[index], buffers)
        if rate > 0:
            buffers.bits[0][:size].mul_(kept)
        grad_scores = buffers.scores[2][:size].view(shape)
        torch._softmax_backward_data(grad_weights, weights, 2, torch.bfloat16, grad_input=grad_scores)
        if rate > 0:
            buffers.bits[1][:size].mul_(kept)
        grad_values = torch.bmm(weights.transpose(1, 2), grads, out=buffers.keys[2][:of_keys].view(keys.shape))
        _add(grad_values, tiles, ranges, grad_v)
        grad_keys = torch.bmm(grad_scores.transpose(1, 2), rows, out=buffers.keys[2][:of_keys].view(keys.shape))
        _add(grad_keys, tiles, ranges, grad_k)
        grad_rows = torch.bmm(grad_scores, keys, out=buffers.rows[2][:of_rows].view(rows.shape)).mul_(scale)
        grad_q[start:end].copy_(grad_rows[:, : end - start].transpose(0, 1))


@dataclass(frozen=True)
class Bfloat16Step:
    """One attention: queries [Q, H, d] over keys and values that lie end to end in parts, each [R, H, d]."""

    plan: Tiles
    dropout: float
    seed: int
    queries: Tensor
    keys: list[Tensor]
    values: list[Tensor]

    def attend(self) -> tuple[Tensor, Tensor]:
        """The output, as the queries, and nothing to keep: [0]."""
        out = torch.empty_like(self.queries)

        def begin() -> Callable[[int], None]:
            worker = _Worker(self)
            return lambda group: attend(*worker.arguments(group), out[:, worker.heads(group)])

        self._in_threads(begin)
        return out, out.new_empty(0)

    def differentiate(
        self,
        out: Tensor,
        kept: Tensor,
        grad_out: Tensor,
        grad_keys: list[Tensor],
        grad_values: list[Tensor],
    ) -> Tensor:
        """From what ``attend`` returned: write the gradients of keys and values; returns that of the queries."""
        grad_queries = torch.empty_like(self.queries)

        def begin() -> Callable[[int], None]:
            worker = _Worker(self)
            grad_k, grad_v = (worker.rows(torch.float32) for _ in range(2))

            def of_group(group: int) -> None:
                heads = worker.heads(group)
                of_keys, of_values = (rows[: heads.stop - heads.start].zero_() for rows in (grad_k, grad_v))
                of_queries = grad_out[:, heads], grad_queries[:, heads]
                differentiate(*worker.arguments(group), *of_queries, of_keys, of_values)
                for total, parts in ((of_keys, grad_keys), (of_values, grad_values)):
                    for rows, part in zip(total.split([len(part) for part in parts], 1), parts):
                        part[:, heads] = rows.transpose(0, 1)

            return of_group

        self._in_threads(begin)
        return grad_queries

    @property
    def heads_at_once(self) -> int:
        """As few as keep all threads busy, and no more than ``_HEADS_AT_ONCE``."""
        return max(1, min(_HEADS_AT_ONCE, self.queries.shape[1] // torch.get_num_threads()))

    def _in_threads(self, begin: Callable[[], Callable[[int], None]]) -> None:
        in_threads(begin, -(-self.queries.shape[1] // self.heads_at_once), self.queries.device)


class _Worker:
    """What one thread needs for a few heads after others."""

    def __init__(self, step: Bfloat16Step) -> None:
        self._step = step
        self._heads, self._width = step.heads_at_once, step.queries.shape[2]
        queries, keys = _rounded_shapes(step.plan).unbind(1)
        self._shapes = torch.stack([queries, keys], 1)
        of_rows, of_keys, of_scores = (int(sizes.max()) * self._heads for sizes in (queries, keys, queries * keys))
        longest = int(queries.max())
        scores = [self._new(of_scores) for _ in range(3)]
        quadruples = torch.empty(of_scores // 4 if step.dropout > 0 else 0, dtype=torch.int64)
        random = torch.empty(len(quadruples) // self._heads, dtype=torch.int64)
        self._buffers = Buffers(
            [self._new(of_rows * self._width) for _ in range(3)],
            [self._new(of_keys * self._width) for _ in range(3)],
            scores,
            [buffer.view(torch.int16) for buffer in scores],
            random.random_(-(2**63), None, generator=torch.Generator().manual_seed(step.seed + _BITS)),
            quadruples.view(torch.int16),
            quadruples,
            self._new(longest, longest).fill_(float("-inf")).triu_(1),
            self._new(longest, longest).fill_(float("-inf")).tril_(-1),
        )
        self._keys, self._values = (self.rows(torch.bfloat16) for _ in range(2))

    def _new(self, *shape: int) -> Tensor:
        return torch.empty(shape, dtype=torch.bfloat16)

    def rows(self, dtype: torch.dtype) -> Tensor:
        """For a few heads of all keys, [G, R, d]."""
        return torch.empty(self._heads, sum(map(len, self._step.keys)), self._width, dtype=dtype)

    def heads(self, group: int) -> slice:
        """The heads of this group."""
        return slice(group * self._heads, min((group + 1) * self._heads, self._step.queries.shape[1]))

    def arguments(self, group: int) -> tuple[Tensor, Tensor, Tensor, Tiles, Tensor, float, Tensor, Buffers]:
        """The first ones of ``attend`` and ``differentiate``."""
        step, heads = self._step, self.heads(group)
        keys, values = (rows[: heads.stop - heads.start] for rows in (self._keys, self._values))
        for rows, parts in ((keys, step.keys), (values, step.values)):
            for part_rows, part in zip(rows.split([len(part) for part in parts], 1), parts):
                part_rows.copy_(part[:, heads].transpose(0, 1))
        options = step.plan, self._shapes, step.dropout, self._draws(heads), self._buffers
        return step.queries[:, heads], keys, values, *options

    def _draws(self, heads: slice) -> Tensor:
        """What ``_draw_kept`` multiplies with and adds, int64 [S, G, 2]."""
        generator = torch.Generator()
        draws = torch.empty(len(self._shapes), heads.stop - heads.start, 2, dtype=torch.int64)
        for index, head in enumerate(range(heads.start, heads.stop)):
            draws[:, index].random_(-(2**63), None, generator=generator.manual_seed(self._step.seed + head))
        draws[..., 0].bitwise_or_(1)
        return draws


def _rounded_shapes(plan: Tiles) -> Tensor:
    """n and W of every segment, int64 [S, 2]."""
    counts = torch.stack([plan.segments[:, 1] - plan.segments[:, 0], plan.segments[:, 5]], 1)
    steps = torch.tensor([_ROUND_QUERIES, _ROUND_KEYS])
    return (counts + steps - 1) // steps * steps
