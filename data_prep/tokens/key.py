"""Key normalisation: which shift brings a song to C major or A minor."""

from __future__ import annotations

import numpy as np

_MAJOR_STEPS = (0, 2, 4, 5, 7, 9, 11)
_MINOR_STEPS = (0, 2, 3, 5, 7, 8, 10)  # natural minor
_A = 9  # pitch class of the tonic that minor keys are brought to


def _scale_template(tonic: int, steps: tuple[int, ...]) -> list[int]:
    members = {(tonic + step) % 12 for step in steps}
    return [1 if pitch_class in members else -1 for pitch_class in range(12)]


# [24, 12]: +1 in the scale, -1 outside; rows 0-11 major on C, C# ... B, rows 12-23 minor.
SCALE_TEMPLATES = np.array(
    [_scale_template(tonic, steps) for steps in (_MAJOR_STEPS, _MINOR_STEPS) for tonic in range(12)]
)


def key_shift(pitches: np.ndarray) -> int:
    """Semitones to add to ``pitches`` (int [N], MIDI pitches without drums) for C major or A minor.

    Every scale is scored on the histogram of pitch classes, counting notes. A major scale and its
    relative minor tie; of the first two scales with the best score the second is taken when its tonic
    occurs more often. The shift (-11 ... +9) then moves by octaves until all pitches stay in 0-127; it is
    0 when no octave fits, which takes a song of nearly all 128 pitches, and when there are no pitches.

    Which scales tie depends on how their scores round, so the arithmetic is that of the original system:
    a density histogram, divided by its sum, and one matrix product.
    """
    if not len(pitches):
        return 0
    histogram, _ = np.histogram(pitches % 12, bins=np.arange(13), density=True)
    histogram = histogram / histogram.sum()
    scores = np.dot(SCALE_TEMPLATES, histogram)
    best = np.flatnonzero(scores == scores.max())
    key = int(best[0])
    if len(best) > 1 and histogram[best[1] % 12] > histogram[best[0] % 12]:
        key = int(best[1])
    shift = -key if key < 12 else 12 + _A - key
    return _into_range(shift, int(pitches.min()), int(pitches.max()))


def _into_range(shift: int, lowest: int, highest: int) -> int:
    """``shift`` moved by as few octaves as possible so that 0-127 holds, or 0 when no octave does."""
    while lowest + shift < 0:
        shift += 12
    while highest + shift > 127:
        shift -= 12
    return shift if lowest + shift >= 0 else 0
