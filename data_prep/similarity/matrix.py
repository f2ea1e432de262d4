"""The bar-by-bar self-similarity of one piece, as a matrix."""

from __future__ import annotations

import numpy as np

from data_prep.similarity.bars import ratio


def similarity_matrix(notes: np.ndarray, bars: int) -> np.ndarray:
    """float64 [bars, bars]: |A and B| / |A or B| of the bars' notes, NaN where both bars are empty.

    ``notes``: int64 [N, columns], the first column the bar; two notes are equal when all other columns are.
    """
    kinds, kind = np.unique(notes[:, 1:], axis=0, return_inverse=True)
    held = np.zeros((bars, len(kinds)), dtype=np.float32)
    held[notes[:, 0], kind.reshape(-1)] = 1
    shared = (held @ held.T).astype(float)
    sizes = held.sum(axis=1).astype(float)
    return ratio(shared, sizes[:, np.newaxis] + sizes - shared)
