"""Temperatures of their own for what tokens say: pitches, durations, velocities.

A slip in one bar is carried into its repeats, so that music needs surer pitches and durations than one temperature
for all tokens can give: lowered, that one also thins out the rarer tracks. So the choice between families stays as
it is, and the choice inside a family is sharpened or flattened::

    p(token) = p(family) * softmax over the family of (log p(token | family) / temperature of the family)
"""

from __future__ import annotations

import torch
from torch import Tensor

from data_prep.tokens.grammar import NO_FAMILY
from data_prep.tokens.vocabulary import FAMILIES

from .errors import UserError
from .token_families import TokenFamilies

COLDEST, WARMEST = 0.01, 100  # beyond, as good as the likeliest token alone, and as chance alone
_NAMES = [family.name for family in FAMILIES]


class FamilyTemperatures:
    """Args: families of the dictionary; temperatures, above 0, by name of the family."""

    def __init__(self, families: TokenFamilies, temperatures: dict[str, float]) -> None:
        of_token = torch.from_numpy(families.family_of_token)
        of_family = torch.ones(NO_FAMILY + 1)
        for name, temperature in temperatures.items():
            of_family[_NAMES.index(name)] = temperature
        self._temperatures = of_family[of_token]
        self._members = [of_token == family for family in of_token.unique()]

    def __call__(self, log_probs: Tensor) -> Tensor:
        """float32 [B, V] -> log-probabilities [B, V], unnormalised as they came; minus infinity stays."""
        if self._temperatures.device != log_probs.device:
            self._temperatures = self._temperatures.to(log_probs.device)
            self._members = [members.to(log_probs.device) for members in self._members]
        sharpened = log_probs / self._temperatures
        found = log_probs
        for members in self._members:
            before, after = (
                weights.masked_fill(~members, -torch.inf).logsumexp(1, keepdim=True)
                for weights in (log_probs, sharpened)
            )
            found = torch.where(members & (log_probs > -torch.inf), sharpened + before - after, found)
        return found


def parse_temperatures(text: str) -> dict[str, float]:
    """``pitch=0.7,duration=0.7`` -> by name. Raises UserError for names and numbers that are none."""
    found: dict[str, float] = {}
    for part in filter(None, text.split(",")):
        name, _, number = (piece.strip() for piece in part.partition("="))
        if name not in _NAMES:
            raise UserError(
                f"--family-temperatures: there is no family '{name}'; there are {', '.join(_NAMES)}, "
                "as in pitch=0.7,duration=0.7."
            )
        if name in found:
            raise UserError(f"--family-temperatures: {name} is there twice.")
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = 0.0
        if not COLDEST <= found[name] <= WARMEST:
            raise UserError(
                f"--family-temperatures: {name} must have a number from {COLDEST} to {WARMEST}, not '{number}'."
            )
    return found
