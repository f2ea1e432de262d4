"""One head of attention over ranges of rows, forward and backward, a tile at a time.

A tile is the queries of one segment (a bar, a prefix) times one range of keys. Its scores stay in a core's cache; every
product reads the range where it lies and adds its gradient there, so that nothing is gathered or scattered. Scores are
computed again in the backward. Rows are [R, Dh]; keys, values and their gradients lie side by side in float32 or
float64, the others as they come.
"""

from __future__ import annotations

import math
import sys
import warnings
from collections.abc import Callable
from typing import Any, NamedTuple, Optional, TypeVar

import torch
from torch import Tensor

from .tiles import Tiles

_F = TypeVar("_F", bound=Callable[..., Any])


def without_interpreter_lock(function: _F) -> _F:
    """Compile ``function`` with TorchScript, which lets go of Python's lock, so that threads do not wait for it.

    PyTorch calls TorchScript deprecated and supports it up to Python 3.13; later the function runs as it stands,
    right but slower in threads.
    """
    if sys.version_info >= (3, 14):
        return function
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        return torch.jit.script(function)


@without_interpreter_lock
def _views(rows: Tensor, ranges: list[list[int]]) -> list[Tensor]:
    """The ranges of rows that segments see, made once: a product is hardly dearer than a view."""
    return [rows[start_end[0] : start_end[1]] for start_end in ranges]


@without_interpreter_lock
def _scores(rows: Tensor, keys: Tensor, buffer: Tensor) -> Tensor:
    """rows [n, Dh] times keys [Dh, w], in ``buffer``: [n, w]."""
    n, w = len(rows), keys.shape[1]
    return torch.mm(rows, keys, out=buffer[: n * w].view(n, w))


@without_interpreter_lock
def _exp2_of_seen(scores: Tensor, masked: Tensor, own: bool, left: int) -> None:
    """2 ** scores [n, w], in place; 0 in the ``masked`` columns.

    Where the tile has the ``own`` rows of its n queries, which come last, also 0 behind each query, and in the columns
    before ``left`` + i for query i.
    """
    scores.exp2_()
    if own:
        n = len(scores)
        scores[:, scores.shape[1] - n :].tril_()
        if left + n > 1:
            scores[:, : left + n - 1].triu_(left)
    if len(masked) > 0:
        scores.index_fill_(1, masked, 0.0)


class Dropout(NamedTuple):
    """``rate`` in whole 65536ths; ``numbers`` int16, one for each score of any segment (none at rate 0).

    ``quadruples`` are int64 in the same memory: four random numbers come for the price of one.
    """

    rate: float
    generator: torch.Generator
    numbers: Tensor
    quadruples: Tensor


@without_interpreter_lock
def _draw(count: int, dropout: Dropout) -> Tensor:
    """``count`` random int16, or none at rate 0."""
    if dropout.rate > 0:
        dropout.quadruples[: (count + 3) // 4].random_(-(1 << 62) * 2, None, generator=dropout.generator)
    return dropout.numbers[:count]


@without_interpreter_lock
def _kept(weights: Tensor, rate: float, numbers: Tensor) -> Tensor:
    """1 where a weight [n, w] is kept, 0 where ``numbers``, random int16 [n * w], drop it."""
    kept = numbers.view(weights.shape) >= int(rate * (1 << 16)) - (1 << 15)
    return kept.to(weights.dtype)  # a product with bool is slow


@without_interpreter_lock
def _attend_segment(
    rows: Tensor,
    shifts: Optional[Tensor],
    keys: list[Tensor],
    values: list[Tensor],
    tiles: list[list[int]],
    masked: Tensor,
    causal: bool,
    left: int,
    rate: float,
    numbers: Tensor,
    buffer: Tensor,
) -> tuple[Tensor, Tensor]:
    """The sums [n] of the weights, 2 ** (scores - shifts [n, 1]), and the weights times values [n, Dh].

    The weights in the product are dropped at ``rate``, as ``numbers`` say, and not scaled.
    """
    sums = rows.new_zeros([len(rows)])
    total = rows.new_zeros([len(rows), values[0].shape[1]])
    drawn = 0
    for tile in range(len(tiles)):
        index, first_masked, last_masked = tiles[tile]
        weights = _scores(rows, keys[index], buffer)
        if shifts is not None:
            weights.sub_(shifts)
        _exp2_of_seen(weights, masked[first_masked:last_masked], causal and tile == len(tiles) - 1, left)
        sums += weights.sum(1)
        if rate > 0:
            weights.mul_(_kept(weights, rate, numbers[drawn : drawn + weights.numel()]))
            drawn += weights.numel()
        total.addmm_(weights, values[index])
    return sums, total


@without_interpreter_lock
def _largest_scores(
    rows: Tensor, keys: list[Tensor], tiles: list[list[int]], masked: Tensor, causal: bool, left: int, buffer: Tensor
) -> Tensor:
    """The largest score [n, 1] that each of rows [n, Dh] sees."""
    largest = rows.new_full([len(rows), 1], float("-inf"))
    for tile in range(len(tiles)):
        index, first_masked, last_masked = tiles[tile]
        scores = _scores(rows, keys[index], buffer)
        if first_masked < last_masked:
            scores.index_fill_(1, masked[first_masked:last_masked], float("-inf"))
        if causal and tile == len(tiles) - 1:
            own = scores[:, scores.shape[1] - len(scores) :]
            own.masked_fill_(torch.ones_like(own, dtype=torch.bool).triu_(1), float("-inf"))
            if left + len(scores) > 1:
                before = scores[:, : left + len(scores) - 1]
                before.masked_fill_(torch.ones_like(before, dtype=torch.bool).tril_(left - 1), float("-inf"))
        largest = torch.maximum(largest, scores.amax(1, keepdim=True))
    return largest


@without_interpreter_lock
def attend(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    plan: Tiles,
    dropout: Dropout,
    buffer: Tensor,
    out: Tensor,
    lse: Tensor,
) -> None:
    """One head, forward: q, out [Q, Dh], k, v [R, Dh], lse [Q] (to the base 2); a buffer that holds any tile."""
    rate, masked = dropout.rate, plan.masked
    segments: list[list[int]] = plan.segments.tolist()
    all_tiles: list[list[int]] = plan.tiles.tolist()
    ranges: list[list[int]] = plan.ranges.tolist()
    keys, values = [part.t() for part in _views(k, ranges)], _views(v, ranges)
    for start, end, causal, first, last, width, left in segments:
        rows = q[start:end].to(k.dtype) * (q.shape[1] ** -0.5 / math.log(2))
        tiles, own = all_tiles[first:last], causal == 1
        numbers = _draw((end - start) * width, dropout)
        sums, total = _attend_segment(rows, None, keys, values, tiles, masked, own, left, rate, numbers, buffer)
        lse[start:end] = sums.log2()
        # exp2 takes scores as they are but where these are so far from 0 that the sums, or their products with values,
        # come near the ends of float32 (1e-38, 1e38): there each query's largest score is taken off first
        if not bool(((sums > 1e-20) & (sums < 1e20)).all()):
            top = _largest_scores(rows, keys, tiles, masked, own, left, buffer)
            sums, total = _attend_segment(rows, top, keys, values, tiles, masked, own, left, rate, numbers, buffer)
            lse[start:end] = sums.log2() + top.squeeze(1)
        out[start:end] = total / (sums * (1 - rate)).unsqueeze(1)


@without_interpreter_lock
def differentiate(
    q: Tensor,
    k: Tensor,
    v: Tensor,
    plan: Tiles,
    dropout: Dropout,
    buffers: list[Tensor],
    out: Tensor,
    lse: Tensor,
    grad_out: Tensor,
    grad_q: Tensor,
    grad_k: Tensor,
    grad_v: Tensor,
) -> None:
    """One head, backward: what ``attend`` had and wrote, two buffers, and the gradients, shaped like what they are of.

    grad_q is written; to grad_k and grad_v, in the dtype of k and v, is added.
    """
    rate = dropout.rate
    segments: list[list[int]] = plan.segments.tolist()
    tiles: list[list[int]] = plan.tiles.tolist()
    ranges: list[list[int]] = plan.ranges.tolist()
    scale = q.shape[1] ** -0.5
    keys, transposed_values = _views(k, ranges), [part.t() for part in _views(v, ranges)]
    transposed_keys = [part.t() for part in keys]
    grad_keys, grad_values = _views(grad_k, ranges), _views(grad_v, ranges)
    for start, end, causal, first, last, width, left in segments:
        rows, shifts = q[start:end].to(k.dtype) * (scale / math.log(2)), lse[start:end].unsqueeze(1)
        grads = grad_out[start:end].to(k.dtype).contiguous()
        # the sum of weights times their gradients is that of out times its own, which spares a second loop over the
        # keys. Where out has 16 bits its rounding enters here.
        delta = (grads * out[start:end]).sum(1, keepdim=True)
        if rate > 0:
            grads = grads / (1 - rate)
        numbers = _draw((end - start) * width, dropout)
        total = torch.zeros_like(grads)
        drawn = 0
        for tile in range(first, last):
            index, first_masked, last_masked = tiles[tile]
            weights = _scores(rows, transposed_keys[index], buffers[0]).sub_(shifts)
            _exp2_of_seen(weights, plan.masked[first_masked:last_masked], causal == 1 and tile == last - 1, left)
            grad_weights = _scores(grads, transposed_values[index], buffers[1])
            if rate > 0:
                kept = _kept(weights, rate, numbers[drawn : drawn + weights.numel()])
                drawn += weights.numel()
                grad_weights.mul_(kept)
                grad_values[index].addmm_(kept.mul_(weights).t(), grads)
            else:
                grad_values[index].addmm_(weights.t(), grads)
            grad_scores = grad_weights.sub_(delta).mul_(weights)
            total.addmm_(grad_scores, keys[index], alpha=scale)
            grad_keys[index].addmm_(grad_scores.t(), rows, alpha=math.log(2))
        grad_q[start:end] = total
