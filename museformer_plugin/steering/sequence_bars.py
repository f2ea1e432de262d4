"""Bars of tokens as parts of a sequence: cut from pieces, thinned out to some tracks, laid one after the other."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import NamedTuple

import numpy as np

from data_prep.tokens.vocabulary import LETTERS

from ..fc_attention import NO_BAR
from ..token_families import TokenFamilies
from .conditions import NEW, UNTOLD, BarConditions, ConditionColumns, Role
from .guide import BarGuide

_ONSET, INSTRUMENT = LETTERS.index("o"), LETTERS.index("i")  # families of tokens
_OF_NOTES = [LETTERS.index(letter) for letter in "ipdv"]


class SequenceBar(NamedTuple):
    """One bar of a sequence: int64 [n] tokens that end with that of a bar's end, its number and its role."""

    tokens: np.ndarray
    number: int
    role: Role = Role.WRITTEN


def cut_bars(tokens: np.ndarray, end_of_bar: int) -> list[np.ndarray]:
    """The complete bars of ``tokens``, int64 [n], which begins with one."""
    ends = np.flatnonzero(tokens == end_of_bar) + 1
    return np.split(tokens[: ends[-1]], ends[:-1]) if len(ends) else []


def only_tracks(tokens: np.ndarray, instruments: Collection[int], families: TokenFamilies) -> np.ndarray:
    """Whole bars, int64 [n], without the notes of other ``instruments``, which are ranks in the representation."""
    family, value = families.family_of_token[tokens], families.value_of_token[tokens]
    places = np.arange(len(tokens))
    last_instrument = np.maximum.accumulate(np.where(family == INSTRUMENT, places, 0))
    of_notes = np.isin(family, _OF_NOTES)
    kept_notes = of_notes & np.isin(value[last_instrument], list(instruments))
    onset = np.cumsum(family == _ONSET)  # that which a token belongs to
    has_notes = np.bincount(onset[kept_notes], minlength=onset[-1] + 1 if len(onset) else 1) > 0
    starts_bar = family == LETTERS.index(families.representation.bar_start)
    of_onset = ~of_notes & ~starts_bar & (tokens != families.end_of_bar)
    return tokens[kept_notes | (of_onset & has_notes[onset]) | (~of_notes & ~of_onset)]


def guide_of(bars: Sequence[SequenceBar], conditions: BarConditions, columns: ConditionColumns) -> BarGuide:
    """What the model is told of a sequence; ``conditions`` of its bars, but for the roles.

    A bar repeats the latest bar of the sequence that has the number in question and is whole, if there is one.
    """
    latest: dict[int, int] = {}
    repeats, distances = np.full(len(bars), NO_BAR), conditions.distances.copy()
    for place, bar in enumerate(bars):
        if distances[place] not in (NEW, UNTOLD):
            repeats[place] = latest.get(bar.number - int(distances[place]), NO_BAR)
            if repeats[place] == NO_BAR:
                distances[place] = UNTOLD
        if bar.role in (Role.WRITTEN, Role.GIVEN):
            latest[bar.number] = place
    said = conditions.told(roles=np.array([bar.role for bar in bars], dtype=np.int64), distances=distances)
    return BarGuide(np.array([bar.number for bar in bars], dtype=np.int64), repeats, columns.features(said))
