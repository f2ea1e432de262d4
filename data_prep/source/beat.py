"""Whether a source song keeps to the beat of its tempo map, and how late all its notes are."""

from __future__ import annotations

import numpy as np

from data_prep.six_track.grid import fit_grid
from data_prep.six_track.rules import MIN_CONCENTRATION
from data_prep.tokens.song import SongError


def find_offset(onsets: np.ndarray) -> float:
    """Positions by which all of ``onsets`` (float [N > 0], in positions) are late; negative where they are early.

    Raises SongError where they keep neither to a subdivision of the beat nor to positions, as a performance recorded
    without a metronome: nobody knows where its bars are.
    """
    fit = fit_grid(onsets, np.ones(len(onsets)))
    if fit.concentration >= MIN_CONCENTRATION:
        return fit.offset
    if abs(np.exp(2j * np.pi * onsets).mean()) >= MIN_CONCENTRATION:
        return 0.0
    raise SongError(
        f"off the beat: its notes begin {fit.deviation:.1f} twelfths of a quarter note from the subdivisions of the "
        f"beat on average, by chance it would be {fit.chance:.1f}, so nobody knows where its bars are; align it with "
        "the bars in a sequencer first"
    )
