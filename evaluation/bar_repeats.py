"""Which bars of a piece repeat an earlier bar to the note, which vary one, and how often that happens.

Bars are compared as ``data_prep.similarity.bars`` does: as the sets of notes that begin in them, equal when
onset in the bar, pitch and duration are, and the instrument too where all are taken; velocity, tempo and
doubled notes do not count. A bar

- **repeats** when its set equals that of some earlier bar of the piece,
- **varies** when it does not, but its similarity |A and B| / |A or B| to some earlier bar is at least 1/2,
- is **new** otherwise, and **empty** when no note begins in it. Empty bars repeat nothing.
"""

from __future__ import annotations

import numpy as np

from evaluation.self_similarity import self_similarity

BAR_KINDS = ("repeats", "varies", "new", "empty")
VARIED = 0.5  # the least similarity of a variation
_REPEATS, _VARIES, _NEW, _EMPTY = range(len(BAR_KINDS))


def bar_kinds(line: str, instrument: int | None = None) -> np.ndarray:
    """int64 [bars]: the index in BAR_KINDS of each bar of a piece, by the notes of ``instrument`` (None: of all)."""
    similarity = self_similarity(line, instrument)
    earlier = np.tril(np.ones(similarity.shape, dtype=bool), -1)
    nearest = np.where(earlier & ~np.isnan(similarity), similarity, -1.0).max(axis=1, initial=-1.0)
    kinds = np.where(nearest == 1, _REPEATS, np.where(nearest >= VARIED, _VARIES, _NEW))
    return np.where(np.isnan(similarity.diagonal()), _EMPTY, kinds)


def exact_repeats(fingerprints: np.ndarray, first_bar: int = 0) -> tuple[int, int]:
    """How many bars of a piece repeat an earlier one, and how many are not empty, from ``first_bar`` (from 0) on.

    ``fingerprints`` uint64 [bars] are those of ``evaluation.copying.bar_fingerprints``. The earlier bars may
    lie before ``first_bar``.
    """
    _, first, kind = np.unique(fingerprints, return_index=True, return_inverse=True)
    played = fingerprints != 0
    repeated = played & (first[kind] < np.arange(len(fingerprints)))
    return int(repeated[first_bar:].sum()), int(played[first_bar:].sum())
