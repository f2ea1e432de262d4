"""What one piece may hold to keep to its request, bar after bar; where it stands among notes that are given."""

from __future__ import annotations

from itertools import accumulate

import numpy as np

from data_prep.tokens.vocabulary import LETTERS

from ..fc_attention import NO_BAR
from ..token_families import TokenFamilies
from .given_notes import GivenNotes, GivenPart
from .request import BarLimits, Request

_ONSET, _INSTRUMENT, _TEMPO, _METRE = (LETTERS.index(letter) for letter in "oits")


class BarsToWrite:
    """The bars of a request in their order, then the end.

    ``least_behind``: of each bar, and of the place behind all, the fewest tokens of those behind it.

    Args:
        request: what is to be written.
        families: of the dictionary.
    """

    def __init__(self, request: Request, families: TokenFamilies) -> None:
        self.request = request
        self._families = families
        least = request.least_tokens() or [0] * len(request.written)
        self.least_behind = [sum(least) - up_to for up_to in accumulate(least)] + [0]
        self._parts = request.parts()
        self._bars = [bar.tokens for bar in request.given]  # of the sequence, as far as there are any
        self._written: list[int] = []  # tokens of the bar under way
        self._under_way = -1
        self.notes: GivenNotes | None = None
        self._next_bar()

    def _next_bar(self) -> None:
        self._under_way += 1
        self.notes = None
        if self._under_way == len(self.request.written):
            return
        parts = self._given_parts()
        if parts:
            everything = range(len(self._families.representation.instruments))
            playing = self.request.limits[self._under_way].instruments
            others = set(everything if playing is None else playing).difference(*(part.tracks for part in parts))
            self.notes = GivenNotes(parts, self._families, bool(others))

    def _given_parts(self) -> list[GivenPart]:
        """What the bar under way must hold."""
        parts = []
        if self.request.given_tracks:
            part = self._parts.get(self.request.written[self._under_way], np.empty(0, dtype=np.int64))
            parts.append(GivenPart(part, self.request.given_tracks, tempo=True))
        unchanged = self._unchanged()
        repeated = int(self.request.guide.repeats[len(self.request.given) + self._under_way])
        if unchanged and repeated != NO_BAR and self._has_metre_of(self._bars[repeated]):
            parts.append(GivenPart(self._bars[repeated], unchanged, tempo=False))
        return parts

    def _unchanged(self) -> frozenset[int]:
        """Instruments whose notes in the bar under way are to be those of the bar that it repeats."""
        if not self.request.unchanged:
            return frozenset()
        unchanged, playing = self.request.unchanged[self._under_way], self.request.limits[self._under_way].instruments
        return unchanged if playing is None else unchanged & playing

    def _has_metre_of(self, bar: np.ndarray) -> bool:
        """Whether the bar under way may have the metre of another."""
        metres = self.request.limits[self._under_way].metres
        of_metre = self._families.family_of_token[bar] == _METRE
        return metres is None or set(self._families.value_of_token[bar[of_metre]].tolist()) <= metres

    def release(self) -> None:
        """Nothing in the bar under way must be as in the bar that it repeats: there is no room left for so much."""
        if self.notes is not None:
            self.notes.release(self._unchanged())

    @property
    def num_bars(self) -> int:
        """How many there are to write, 0 where the piece may end before all are."""
        return 0 if self.request.open_ended else len(self.request.written)

    @property
    def begins_bar(self) -> bool:
        """Whether nothing of the bar under way is written; told of every token alone (``has_given_notes``)."""
        return not self._written

    @property
    def has_given_notes(self) -> bool:
        """Whether there are tracks whose notes are given, so that ``advance`` must be told every token."""
        return bool(self.request.given_tracks) or bool(self.request.unchanged)

    def notes_left(self) -> int:
        """How many tokens the given notes of the bar under way still take."""
        return 0 if self.notes is None else self.notes.tokens_left()

    def tokens_left(self) -> int:
        """How many tokens the bar under way and those behind it take at least, but for what is under way in it."""
        return self.notes_left() + self.least_behind[self._under_way]

    def advance(self, token: int) -> None:
        """The stream has written this token."""
        self._written.append(token)
        if token == self._families.end_of_bar:
            self._bars.append(np.array(self._written))
            self._written = []
            self._next_bar()
        elif self.notes is not None:
            self.notes.advance(token)

    def entering(self) -> list[int]:
        """Of each bar the token of the instrument that is to enter in it, -1 for none."""
        ranks = [limits.enters for limits in self.request.limits]
        return [-1 if rank is None else self._families.instrument_token(rank) for rank in ranks]

    def repeating(self) -> list[bool]:
        """Of each bar whether it is told to repeat one."""
        behind = self.request.guide.repeats[len(self.request.given) :]
        return [repeated != NO_BAR for repeated in behind.tolist()]

    def masks(self) -> list[np.ndarray]:
        """bool [V] of each bar: what it may hold, and ``</s>`` where the piece may end before it.

        Bars of the same limits share an array.
        """
        of_limits: dict[BarLimits, np.ndarray] = {}
        for limits in self.request.limits:
            if limits not in of_limits:
                mask = of_limits[limits] = allowed_tokens(limits, self._families)
                mask[self._families.dictionary.eos()] = self.request.open_ended
        return [of_limits[limits] for limits in self.request.limits]


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
