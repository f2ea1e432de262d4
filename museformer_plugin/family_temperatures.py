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

_NAMES = [family.name for family in FAMILIES]


class FamilyTemperatures:
    """Args: families of the dictionary; temperatures, above 0, by name of the family."""

    def __init__(self, families: TokenFamilies, temperatures: dict[str, float]) -> None:
        self._family_of_token = torch.from_numpy(families.family_of_token)
        of_family = torch.ones(NO_FAMILY + 1)
        for name, temperature in temperatures.items():
            of_family[_NAMES.index(name)] = temperature
        self._temperatures = of_family[self._family_of_token]

    def __call__(self, log_probs: Tensor) -> Tensor:
        """float32 [B, V] -> log-probabilities [B, V], unnormalised as they came; minus infinity stays."""
        places = self._family_of_token.to(log_probs.device).expand_as(log_probs)
        least = torch.finfo(log_probs.dtype).min
        room = log_probs.new_full((len(log_probs), NO_FAMILY + 1), least)
        greatest = room.scatter_reduce(1, places, log_probs, "amax").gather(1, places)
        above = log_probs - greatest  # 0 for the likeliest of each family, so that nothing is lost to underflow
        sharpened = above / self._temperatures.to(log_probs.device)
        zeros = torch.zeros_like(room)
        before, after = (
            zeros.scatter_add(1, places, weights.exp()).gather(1, places).log() for weights in (above, sharpened)
        )
        found = sharpened + greatest + before - after
        return torch.where(log_probs == -torch.inf, log_probs, found)  # a family of which nothing is allowed has no sum


def parse_temperatures(text: str) -> dict[str, float]:
    """``pitch=0.7,duration=0.7`` -> by name. Raises UserError for names and numbers that are none."""
    found = {}
    for part in filter(None, text.split(",")):
        name, _, number = part.partition("=")
        if name not in _NAMES:
            raise UserError(
                f"--family-temperatures: there is no family '{name}'; there are {', '.join(_NAMES)}, "
                "as in pitch=0.7,duration=0.7."
            )
        try:
            found[name] = float(number)
        except ValueError:
            found[name] = 0.0
        if not 0 < found[name] < float("inf"):
            raise UserError(f"--family-temperatures: {name} must have a number above 0, not '{number}'.")
    return found
