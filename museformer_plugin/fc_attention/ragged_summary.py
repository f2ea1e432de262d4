"""The summary step: every summary attends to itself and to the tokens of its bar, all heads at once.

One query a bar: there is no product worth blocking, so each row of keys and values is read once where it lies.
Letters: N summaries, T tokens, H heads, Dh head width; all tensors float32 or float64.
"""

from __future__ import annotations

import torch
from torch import Tensor

from .ragged_head import without_interpreter_lock


@without_interpreter_lock
def _weights(q: Tensor, own_key: Tensor, keys: Tensor) -> Tensor:
    """softmax of q [H, Dh] over its own key [H, Dh] and those of its bar [n, H, Dh]: [H, 1 + n]."""
    own = (q * own_key).sum(1, keepdim=True)
    others = torch.bmm(keys.transpose(0, 1), q.unsqueeze(2)).squeeze(2)
    return torch.softmax(torch.cat([own, others], 1) * q.shape[1] ** -0.5, 1)


@without_interpreter_lock
def summarise(
    first: int,
    last: int,
    q: Tensor,
    own_keys: Tensor,
    own_values: Tensor,
    keys: Tensor,
    values: Tensor,
    bars: Tensor,
    kept: Tensor,
    out: Tensor,
) -> None:
    """Rows ``first`` to ``last`` of out [N, H, Dh], from q, own_keys, own_values [N, H, Dh], keys, values [T, H, Dh].

    bars int64 [N, 2]: the tokens of each summary's bar, half-open. kept [H, N + T]: what attention dropout multiplies
    the weights of summaries and tokens by; [H, 0] without dropout.
    """
    edges: list[list[int]] = bars.tolist()
    for number in range(first, last):
        start, end = edges[number]
        weights = _weights(q[number], own_keys[number], keys[start:end])
        if kept.shape[1] > 0:
            weights[:, 0].mul_(kept[:, number])
            weights[:, 1:].mul_(kept[:, len(q) + start : len(q) + end])
        summed = torch.bmm(weights[:, 1:].unsqueeze(1), values[start:end].transpose(0, 1)).squeeze(1)
        out[number] = torch.addcmul(summed, weights[:, :1], own_values[number])


@without_interpreter_lock
def differentiate_summaries(
    first: int,
    last: int,
    q: Tensor,
    own_keys: Tensor,
    own_values: Tensor,
    keys: Tensor,
    values: Tensor,
    bars: Tensor,
    kept: Tensor,
    grad_out: Tensor,
    grad_keys: Tensor,
    grad_values: Tensor,
    grad_q: Tensor,
    grad_own_keys: Tensor,
    grad_own_values: Tensor,
) -> None:
    """What ``summarise`` had, and the gradients in the same shapes; to those of keys and values is added."""
    scale = q.shape[2] ** -0.5
    edges: list[list[int]] = bars.tolist()
    for number in range(first, last):
        start, end = edges[number]
        grad = grad_out[number]
        weights = _weights(q[number], own_keys[number], keys[start:end])
        own = (grad * own_values[number]).sum(1, keepdim=True)
        others = torch.bmm(values[start:end].transpose(0, 1), grad.unsqueeze(2)).squeeze(2)
        grad_weights = torch.cat([own, others], 1)
        dropped = weights
        if kept.shape[1] > 0:
            factors = torch.cat([kept[:, number : number + 1], kept[:, len(q) + start : len(q) + end]], 1)
            dropped = weights * factors
            grad_weights = grad_weights * factors
        grad_values[start:end].addcmul_(dropped[:, 1:].t().unsqueeze(2), grad.unsqueeze(0))
        grad_own_values[number] = dropped[:, :1] * grad
        total = (grad_weights * weights).sum(1, keepdim=True)
        grad_scores = (grad_weights - total) * weights * scale
        of_bar = torch.bmm(grad_scores[:, 1:].unsqueeze(1), keys[start:end].transpose(0, 1)).squeeze(1)
        grad_q[number] = torch.addcmul(of_bar, grad_scores[:, :1], own_keys[number])
        grad_own_keys[number] = grad_scores[:, :1] * q[number]
        grad_keys[start:end].addcmul_(grad_scores[:, 1:].t().unsqueeze(2), q[number].unsqueeze(0))
