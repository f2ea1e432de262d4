"""What one stream may write next to keep to its request: bar after bar, then the end."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor

from data_prep.tokens.vocabulary import LETTERS

from ..token_families import TokenFamilies
from .given_notes import GivenNotes
from .request import BarLimits, Request

_ONSET, _INSTRUMENT, _TEMPO, _METRE = (LETTERS.index(letter) for letter in "oits")


class BarsToWrite:
    """Where a stream stands in its request.

    Args:
        request: what is to be written.
        families: of the dictionary.
        device: where masks are wanted.
    """

    def __init__(self, request: Request, families: TokenFamilies, device: torch.device) -> None:
        self.request = request
        self._families = families
        self._device = device
        self._parts = request.parts()
        self._least = request.least_tokens()
        self._masks: dict[BarLimits, Tensor] = {}
        self._under_way = -1
        self._next_bar()

    def _next_bar(self) -> None:
        self._under_way += 1
        self._notes = None
        if self.are_written:
            return
        limits = self.request.limits[self._under_way]
        if limits not in self._masks:
            mask = allowed_tokens(limits, self._families)
            mask[self._families.dictionary.eos()] = self.request.open_ended
            self._masks[limits] = torch.from_numpy(mask).to(self._device)
        self._mask = self._masks[limits]
        if self.request.given_tracks:
            part = self._parts.get(self.request.written[self._under_way], np.empty(0, dtype=np.int64))
            playing = limits.instruments
            others = playing is None or bool(playing - self.request.given_tracks)
            self._notes = GivenNotes(part, self.request.given_tracks, self._families, others)

    @property
    def are_written(self) -> bool:
        """Whether all are."""
        return self._under_way == len(self.request.written)

    @property
    def in_given_track(self) -> bool:
        """Whether the latest instrument of the bar under way is one whose notes are given."""
        return self._notes is not None and self._notes.in_given_track

    def tokens_left(self) -> int:
        """How many tokens the bar under way and those behind it take at least, but for what is under way in it."""
        notes = 0 if self._notes is None else self._notes.tokens_left()
        return notes + sum(self._least[self._under_way + 1 :])

    def advance(self, token: int) -> None:
        """The stream has written this token."""
        if token == self._families.end_of_bar:
            self._next_bar()
        elif self._notes is not None:
            self._notes.advance(token)

    def restrict(self, allowed: Tensor, closing: bool) -> Tensor:
        """Of what the grammar allows, bool [V], what the request allows in the bar under way.

        ``closing``: no more than must be.
        """
        allowed = allowed & self._mask
        if self._notes is not None:
            allowed &= torch.from_numpy(~self._notes.refused(closing)).to(self._device)
        return allowed


def allowed_tokens(limits: BarLimits, families: TokenFamilies) -> np.ndarray:
    """bool [V]: what a bar within these limits may hold."""
    family, value = families.family_of_token, families.value_of_token
    allowed = np.ones(len(family), dtype=bool)
    for of_family, ids in ((_INSTRUMENT, limits.instruments), (_TEMPO, limits.tempos), (_METRE, limits.metres)):
        if ids is not None:
            allowed &= (family != of_family) | np.isin(value, list(ids))
    if limits.instruments is not None and not limits.instruments:
        allowed &= family != _ONSET
    return allowed
