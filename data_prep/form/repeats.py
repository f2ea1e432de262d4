"""Which earlier bar each bar repeats or varies."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_prep.form.sections import INTRO, OUTRO, PASSING, PASSING_MELODY, Section

NEW = -1  # a bar that repeats none
VARIED = 0.5  # the least likeness of a bar to the one it varies, where nothing else speaks for it
_CHANGE = 0.3  # what it costs to go on with another bar than the next
_SAME_PLACE = 0.3  # for a bar at the same place of an earlier section of the same letter
_NEARER = 1e-4  # for a bar, so that of equal ones the nearest is taken


def repeated_bars(by_lag: np.ndarray, sections: Sequence[Section], played: np.ndarray) -> np.ndarray:
    """int64 [bars]: the earlier bar that each repeats or varies, NEW for none and for a bar without notes.

    ``by_lag`` float32 [lags, bars] is the likeness by lag, ``played`` bool [bars] says where notes begin. The bars are
    chosen together: the sum, over bars that are not new, of the likeness less VARIED, with _SAME_PLACE more at the same
    place in the latest section of the same letter, less _CHANGE for each bar that does not go on where the one before
    it did, is as large as can be (by dynamic programming over lags).
    """
    lags, bars = by_lag.shape
    gains = by_lag - VARIED - _NEARER * np.arange(lags, dtype=np.float32)[:, None]
    for section, earlier in _earlier_sections(sections):
        lag, shared = section.first_bar - earlier.first_bar, min(section.bars, earlier.bars)
        if lag <= lags:
            gains[lag - 1, section.first_bar : section.first_bar + shared] += _SAME_PLACE
    gains = np.vstack([np.zeros((1, bars), dtype=np.float32), gains])  # lag 0: new
    possible = np.arange(lags + 1)[:, None] <= np.arange(bars)
    gains[1:, ~played] = gains[~possible] = -np.inf
    best = np.full(lags + 1, -np.inf)
    best[0] = 0
    came_from = np.zeros((bars, lags + 1), dtype=np.int32)
    stay = np.arange(lags + 1)
    for bar in range(bars):
        highest = int(best.argmax())
        fresh = best[highest] - np.where(stay == 0, 0, _CHANGE)
        came_from[bar] = np.where(best >= fresh, stay, highest)
        best = np.maximum(best, fresh) + gains[:, bar]
    found = np.zeros(bars, dtype=np.int64)
    lag = int(best.argmax())
    for bar in range(bars - 1, -1, -1):
        found[bar] = lag
        lag = int(came_from[bar, lag])
    return np.where(found > 0, np.arange(bars) - found, NEW)


def _earlier_sections(sections: Sequence[Section]) -> list[tuple[Section, Section]]:
    """Each section with the latest earlier one of its letter, where there is one."""
    latest: dict[str, Section] = {}
    pairs = []
    for section in sections:
        if section.letter in latest:
            pairs.append((section, latest[section.letter]))
        if section.letter not in (INTRO, OUTRO, PASSING, PASSING_MELODY):
            latest[section.letter] = section
    return pairs
