"""How far two forms of one piece agree: on where sections begin, and on which bars belong under one letter.

Both are the measures of MIREX's structural segmentation, over the bars that both forms have:

- **boundaries**: precision, recall and F1 of the bars with which sections begin, but for the first. Within half a bar
  of each other is the same bar.
- **pairs**: precision, recall and F1 of the pairs of bars under the same letter (Levy and Sandler, Structural
  Segmentation of Musical Audio by Constrained Clustering, 2008).

Precision is the share of the first form's that the second has too, recall the share of the second's.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_prep.form.sections import LETTER, Section, bar_columns

MEASURES = ("boundary precision", "boundary recall", "boundary F1", "pair precision", "pair recall", "pair F1")


def agreement(form: Sequence[Section], other: Sequence[Section]) -> np.ndarray:
    """float64 [6], in the order of MEASURES; NaN where both have no boundary, or no pair, and nothing can be missed."""
    letters, others = bar_columns(form)[:, LETTER], bar_columns(other)[:, LETTER]
    bars = min(len(letters), len(others))
    lines, other_lines = ({section.first_bar for section in sections} for sections in (form, other))
    inside = set(range(1, bars))
    boundaries = _scores(len(lines & other_lines & inside), len(lines & inside), len(other_lines & inside))
    pairs = _pairs(letters[:bars] * 256 + others[:bars])
    return np.array([*boundaries, *_scores(pairs, _pairs(letters[:bars]), _pairs(others[:bars]))])


def _pairs(letters: np.ndarray) -> int:
    """How many pairs of bars have equal letters."""
    counts = np.unique(letters, return_counts=True)[1]
    return int((counts * (counts - 1) // 2).sum())


def _scores(common: int, first: int, second: int) -> tuple[float, float, float]:
    """Precision, recall and F1, 0 where one of the two has none."""
    if not first and not second:
        return (np.nan,) * 3
    return common / first if first else 0.0, common / second if second else 0.0, 2 * common / (first + second)
