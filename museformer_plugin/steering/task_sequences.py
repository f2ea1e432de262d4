"""Bars of a training window in the order in which a request would have them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .conditions import Role
from .sequence_bars import SequenceBar

_SPANS = (1, 2, 4, 4, 4, 8, 16)  # bars in a row that are written between given ones
_BARS_A_HOLE = 12  # of a window, on average, so that long ones are not almost all given


def plain(bars: Sequence[np.ndarray], first_bar: int) -> list[SequenceBar]:
    """The bars as they are."""
    return [SequenceBar(bar, first_bar + n) for n, bar in enumerate(bars)]


def draw_span(bars: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Some of ``bars``, int64 [n] and rising, that lie in a row."""
    if not len(bars):
        return bars
    runs = np.split(bars, np.flatnonzero(np.diff(bars) > 1) + 1)
    run = runs[int(chance.integers(len(runs)))]
    length = min(int(chance.choice(_SPANS)), len(run))
    start = int(chance.integers(len(run) - length + 1))
    return run[start : start + length]


def draw_holes(count: int, chance: np.random.Generator) -> np.ndarray:
    """Which of ``count`` bars are written, int64 [n], rising: one or more rows of them, not all."""
    written = np.zeros(count, dtype=bool)
    for _ in range(1 + int(chance.integers(max(2, 2 * count // _BARS_A_HOLE)))):
        length = min(int(chance.choice(_SPANS)), count - 1)
        start = int(chance.integers(count - length + 1))
        written[start : start + length] = True
    if written.all():
        written[int(chance.integers(count))] = False
    return np.flatnonzero(written)


def filled(bars: list[np.ndarray], first_bar: int, holes: np.ndarray) -> list[SequenceBar]:
    """The bars around the ``holes``, then those in them."""
    written = set(holes.tolist())
    given = [SequenceBar(bar, first_bar + n, Role.GIVEN) for n, bar in enumerate(bars) if n not in written]
    return given + [SequenceBar(bars[n], first_bar + n) for n in sorted(written)]


def varied(
    bars: list[np.ndarray], first_bar: int, places: np.ndarray, models: Sequence[np.ndarray]
) -> list[SequenceBar]:
    """The bars with ``models`` in place of those at ``places``, then these; bars far from them are left out.

    Altogether they have no more tokens than the bars, so that a window stays as long as it is.
    """
    span = set(places.tolist())
    room = sum(map(len, bars)) - sum(map(len, models)) - sum(len(bars[n]) for n in span)
    given = [SequenceBar(model, first_bar + int(n), Role.VARIED) for n, model in zip(places, models)]
    first, last = int(places[0]), int(places[-1])
    for n in sorted(set(range(len(bars))) - span, key=lambda n: max(first - n, n - last)):
        room -= len(bars[n])
        if room < 0:
            break
        given.append(SequenceBar(bars[n], first_bar + n, Role.GIVEN))
    given.sort(key=lambda bar: bar.number)
    return given + [SequenceBar(bars[n], first_bar + n) for n in sorted(span)]
