"""Choosing the next token of every stream from its logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch
from torch import Tensor

from .errors import UserError
from .family_temperatures import COLDEST, WARMEST

NOTHING_ALLOWED = -1  # in place of a token


@dataclass(frozen=True)
class SamplingOptions:
    """fairseq's ``--sampling``, ``--sampling-topk``, ``--sampling-topp`` and ``--temperature``.

    Without ``sampling`` the likeliest allowed token is taken; ``topk`` and ``topp`` are off below 1
    and at 0 or less. ``reshape`` takes the log-probabilities [B, V] of what these leave, at the temperature, minus
    infinity elsewhere, and returns those to draw from. ``guidance``: how far beyond what a model writes when it is told
    something of bars, see ``guidance``; 0 leaves that as it is. ``repeat_temperature``: on top of the temperature, in
    bars that are told to repeat one, see ``steering.stream_orders``.
    """

    sampling: bool
    topk: int
    topp: float
    temperature: float
    reshape: Callable[[Tensor], Tensor] | None = None
    guidance: float = 0.0
    repeat_temperature: float = 1.0


def repeat_temperature(temperature: float) -> float:
    """``--repeat-temperature``. Raises UserError where it is no number in reason."""
    if not COLDEST <= temperature <= WARMEST:
        raise UserError(f"--repeat-temperature must be a number from {COLDEST} to {WARMEST}, not {temperature}.")
    return temperature


def choose_tokens(
    logits: Tensor, allowed: Tensor, options: SamplingOptions, generator: torch.Generator
) -> tuple[Tensor, Tensor]:
    """Sample among the allowed entries.

    logits [B, V], allowed bool [B, V]. Returns tokens int64 [B] and their log-probabilities [B] under the model at
    this temperature, before anything is masked. Nothing is read by the host, so that a row of which nothing is
    allowed, or whose logits are no numbers, is told by its token, ``NOTHING_ALLOWED``.
    """
    log_probs = torch.log_softmax(logits.float() / options.temperature, dim=-1)
    masked = log_probs.masked_fill(~allowed, float("-inf"))
    if not options.sampling:
        tokens = masked.argmax(dim=-1)
    else:
        values, entries = _likeliest(masked, options)
        if options.reshape is not None:
            left = torch.full_like(masked, float("-inf")).scatter(1, entries, values)
            values = options.reshape(left).gather(1, entries)
        tokens = entries.gather(1, _draw(values.softmax(dim=-1), generator)).squeeze(1)
    scores = log_probs.gather(1, tokens[:, None]).squeeze(1)
    return torch.where(masked.amax(dim=-1) > float("-inf"), tokens, NOTHING_ALLOWED), scores


def _draw(probs: Tensor, generator: torch.Generator) -> Tensor:
    """An index of each row, int64 [B, 1]: what ``torch.multinomial`` draws, which on a GPU waits for its own checks.

    The least of exponential variables with these rates is one of them with the probability of its rate.
    """
    waits = torch.empty_like(probs).exponential_(1, generator=generator)
    return torch.div(probs, waits, out=waits).argmax(dim=-1, keepdim=True)


def _likeliest(log_probs: Tensor, options: SamplingOptions) -> tuple[Tensor, Tensor]:
    """Which entries may be drawn by ``topk`` or ``topp``: their log-probabilities [B, n] and indices int64 [B, n]."""
    if options.topk > 0:
        return log_probs.topk(min(options.topk, log_probs.shape[-1]), dim=-1)
    if options.topp > 0:
        values, entries = log_probs.sort(dim=-1, descending=True)
        probs = values.softmax(dim=-1)
        # the smallest set that reaches topp, and always the first
        beyond = probs.cumsum(dim=-1) - probs >= options.topp
        return values.masked_fill(beyond, float("-inf")), entries
    return log_probs, torch.arange(log_probs.shape[-1], device=log_probs.device).expand_as(log_probs)
