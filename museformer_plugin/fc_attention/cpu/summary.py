"""The summary step: every summary attends to itself and to the tokens of its bar, all heads at once.

One query a bar: there is no product worth blocking, so each row of keys and values is read once where it lies.
Letters: N summaries, T tokens, H heads, Dh head width; all tensors float32 or float64.
"""

from __future__ import annotations

from typing import NamedTuple

import torch
from torch import Tensor

from .head import without_interpreter_lock


class SummaryStep(NamedTuple):
    """What the step reads: q, own_keys, own_values [N, H, Dh] of summaries, keys, values [T, H, Dh] of tokens.

    bars int64 [N, 2]: the tokens of each summary's bar, half-open. kept [H, N + T]: what attention dropout multiplies
    the weights of summaries and tokens by; [H, 0] without dropout.
    """

    bars: Tensor
    kept: Tensor
    q: Tensor
    own_keys: Tensor
    own_values: Tensor
    keys: Tensor
    values: Tensor


class SummaryGradients(NamedTuple):
    """Gradients of what ``SummaryStep`` has of the same names."""

    q: Tensor
    own_keys: Tensor
    own_values: Tensor
    keys: Tensor
    values: Tensor


@without_interpreter_lock
def _weights(q: Tensor, own_key: Tensor, keys: Tensor) -> Tensor:
    """softmax of q [H, Dh] over its own key [H, Dh] and those of its bar [n, H, Dh]: [H, 1 + n]."""
    own = (q * own_key).sum(1, keepdim=True)
    others = torch.bmm(keys.transpose(0, 1), q.unsqueeze(2)).squeeze(2)
    return torch.softmax(torch.cat([own, others], 1) * q.shape[1] ** -0.5, 1)


@without_interpreter_lock
def summarise(first: int, last: int, step: SummaryStep, out: Tensor) -> None:
    """Write rows ``first`` to ``last`` of out [N, H, Dh]."""
    edges: list[list[int]] = step.bars.tolist()
    summaries = len(step.q)
    for index in range(first, last):
        start, end = edges[index]
        weights = _weights(step.q[index], step.own_keys[index], step.keys[start:end])
        if step.kept.shape[1] > 0:
            weights[:, 0].mul_(step.kept[:, index])
            weights[:, 1:].mul_(step.kept[:, summaries + start : summaries + end])
        summed = torch.bmm(weights[:, 1:].unsqueeze(1), step.values[start:end].transpose(0, 1)).squeeze(1)
        out[index] = torch.addcmul(summed, weights[:, :1], step.own_values[index])


@without_interpreter_lock
def differentiate_summaries(
    first: int, last: int, step: SummaryStep, grad_out: Tensor, grads: SummaryGradients
) -> None:
    """From the gradient of ``out`` write rows ``first`` to ``last`` of ``grads``; to those of their tokens is added."""
    scale = step.q.shape[2] ** -0.5
    edges: list[list[int]] = step.bars.tolist()
    summaries = len(step.q)
    for index in range(first, last):
        start, end = edges[index]
        grad, keys, values = grad_out[index], step.keys[start:end], step.values[start:end]
        weights = _weights(step.q[index], step.own_keys[index], keys)
        own = (grad * step.own_values[index]).sum(1, keepdim=True)
        others = torch.bmm(values.transpose(0, 1), grad.unsqueeze(2)).squeeze(2)
        grad_weights = torch.cat([own, others], 1)
        dropped = weights
        if step.kept.shape[1] > 0:
            of_bar = step.kept[:, summaries + start : summaries + end]
            factors = torch.cat([step.kept[:, index : index + 1], of_bar], 1)
            dropped = weights * factors
            grad_weights = grad_weights * factors
        grads.values[start:end].addcmul_(dropped[:, 1:].t().unsqueeze(2), grad.unsqueeze(0))
        grads.own_values[index] = dropped[:, :1] * grad
        delta = (grad_weights * weights).sum(1, keepdim=True)
        grad_scores = (grad_weights - delta) * weights * scale
        through_keys = torch.bmm(grad_scores[:, 1:].unsqueeze(1), keys.transpose(0, 1)).squeeze(1)
        grads.q[index] = torch.addcmul(through_keys, grad_scores[:, :1], step.own_keys[index])
        grads.own_keys[index] = grad_scores[:, :1] * step.q[index]
        grads.keys[start:end].addcmul_(grad_scores[:, 1:].t().unsqueeze(2), step.q[index].unsqueeze(0))
