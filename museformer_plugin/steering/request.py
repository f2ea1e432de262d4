"""What is to be written of one piece: the bars that are given, those to write, and what must hold in each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from .conditions import Role
from .guide import BarGuide
from .sequence_bars import SequenceBar, cut_bars


@dataclass(frozen=True)
class BarLimits:
    """What may stand in a bar that is written; None is anything.

    ``instruments``: which play, as ranks in the representation. ``tempos`` and ``metres``: ids. ``enters``: an
    instrument, as rank, that is to be heard in the bar if it can. ``goes_on``: whether the melody is, where it was
    silent in the bar before.
    """

    instruments: frozenset[int] | None = None
    tempos: frozenset[int] | None = None
    metres: frozenset[int] | None = None
    enters: int | None = None
    goes_on: bool = False


@dataclass(frozen=True)
class Request:
    """One piece to be written in part.

    ``given``: the bars of the prompt, in the order of the sequence. ``written``: the numbers of those behind it.
    ``guide``: of both. ``limits``: of each bar to write. ``given_tracks``: instruments, as ranks, whose notes are those
    of the bar of the same number that is a ``PART``, exactly. ``open_ended``: whether the piece may end before all
    bars are written. ``unchanged``: of each bar to write the instruments, as ranks, whose notes are those of the bar
    that it repeats; empty where there are none in any.
    """

    given: list[SequenceBar]
    written: list[int]
    guide: BarGuide
    limits: list[BarLimits]
    given_tracks: frozenset[int] = frozenset()
    open_ended: bool = False
    unchanged: Sequence[frozenset[int]] = ()

    def prompt(self) -> np.ndarray:
        """The tokens of the given bars, int64 [n], without the begin token."""
        return np.concatenate([np.empty(0, dtype=np.int64), *(bar.tokens for bar in self.given)])

    def parts(self) -> dict[int, np.ndarray]:
        """By number the bars of given tracks."""
        return {bar.number: bar.tokens for bar in self.given if bar.role == Role.PART}

    def least_tokens(self) -> list[int]:
        """Of each bar that must be written the fewest tokens that it can have: those of its given tracks, or two."""
        if self.open_ended:
            return []
        parts = self.parts()
        return [len(parts.get(number, ())) or 2 for number in self.written]

    def assembled(self, tokens: Sequence[int], end_of_bar: int) -> np.ndarray:
        """Places in ``tokens``, the sequence without begin token, of the piece's own tokens, in the order of its bars.

        What was given to be varied, or in part, is not the piece's own, nor is what no bar's end follows.
        """
        array = np.asarray(tokens, dtype=np.int64)
        bars = cut_bars(array, end_of_bar)
        starts = np.cumsum([0, *map(len, bars)])
        roles = [bar.role for bar in self.given] + [Role.WRITTEN] * len(self.written)
        own = [n for n in range(len(bars)) if roles[n] in (Role.WRITTEN, Role.GIVEN)]
        order = sorted(own, key=lambda n: int(self.guide.numbers[n]))
        return np.concatenate([np.empty(0, dtype=np.int64), *(np.arange(starts[n], starts[n + 1]) for n in order)])
