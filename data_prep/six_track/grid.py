"""How the onsets of a song lie on the beats of its tempo map: a constant offset, and the scatter around it."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.tokens.vocabulary import POSITIONS_PER_QUARTER

# Sixteenths, sixteenth triplets and thirty-seconds: what a quarter note is divided into.
_SUBDIVISIONS = (4, 6, 8)
# Phases of a quarter, in positions, at which notes are expected, and how much more so than elsewhere.
_STRENGTHS = {0: 1.0, 6: 0.6, 3: 0.35, 9: 0.35, 4: 0.35, 8: 0.35}
_STEPS_PER_POSITION = 8  # resolution of the search for an offset
_REACH = 0.75  # positions: how far from a phase a note still speaks for it
# An offset must explain the onsets this much better than none, so that off-beat music stays off the beat.
_OFFSET_GAIN = 1.25


@dataclass(frozen=True)
class GridFit:
    """How onsets lie on the grid; see ``fit_grid``.

    ``offset``: positions by which all onsets are late (negative: early), 0 when no constant offset is
    found. ``concentration``: 0 ... 1, how strongly onsets gather at one subdivision of the beat; 1 is
    exact, a performance that ignores the beat gives 1/sqrt(notes). ``deviation``: mean distance in
    positions from the best subdivision, its offset removed, and ``chance`` what that would be for onsets
    without a beat. ``deviation_ms``: the same distance in milliseconds of the tempo map.
    """

    offset: float
    concentration: float
    deviation: float
    chance: float
    deviation_ms: float


def fit_grid(onsets: np.ndarray, quarter_seconds: np.ndarray) -> GridFit:
    """Measure ``onsets`` (float [N > 0], in positions) against the beat.

    ``quarter_seconds`` is the length of a quarter note at each onset. The concentration is the length of
    the mean of exp(2 pi i k x / 12), x being an onset, for the best k of 4, 6 and 8 to the quarter: the
    mean resultant length of circular statistics. It does not depend on the offset.
    """
    means = [np.exp(2j * np.pi * k * onsets / POSITIONS_PER_QUARTER).mean() for k in _SUBDIVISIONS]
    best = int(np.argmax(np.abs(means)))
    width = POSITIONS_PER_QUARTER / _SUBDIVISIONS[best]
    shift = np.angle(means[best]) / (2 * np.pi) * width
    residual = onsets - shift
    distance = np.abs(residual - width * np.rint(residual / width))
    return GridFit(
        offset=_offset(onsets % POSITIONS_PER_QUARTER),
        concentration=float(np.abs(means[best])),
        deviation=float(distance.mean()),
        chance=width / 4,
        deviation_ms=float((1000 * distance * quarter_seconds / POSITIONS_PER_QUARTER).mean()),
    )


def _offset(phases: np.ndarray) -> float:
    """The constant offset of onsets with these phases in the quarter, -6 ... 6 positions; 0 for none.

    Every shift in steps of 1/8 position is scored by how many onsets it brings near expected phases.
    """
    steps = POSITIONS_PER_QUARTER * _STEPS_PER_POSITION
    histogram = np.bincount(np.rint(phases * _STEPS_PER_POSITION).astype(np.int64) % steps, minlength=steps)
    grid = np.arange(steps) / _STEPS_PER_POSITION
    expected = np.zeros(steps)
    for phase, strength in _STRENGTHS.items():
        away = np.abs((grid - phase + 6) % POSITIONS_PER_QUARTER - 6)
        expected = np.maximum(expected, strength * np.clip(1 - away / _REACH, 0, None))
    shifts = np.arange(-steps // 2, steps // 2)
    scores = np.array([histogram @ np.roll(expected, shift) for shift in shifts])
    # Of equal scores the smallest shift.
    best = min(range(steps), key=lambda n: (-scores[n], abs(shifts[n])))
    none = scores[steps // 2]
    if scores[best] <= _OFFSET_GAIN * none:
        return 0.0
    coarse = shifts[best] / _STEPS_PER_POSITION
    near = phases - coarse - np.rint(phases - coarse)
    near = near[np.abs(near) < 1 / _STEPS_PER_POSITION]
    return float(coarse + (near.mean() if len(near) else 0.0))
