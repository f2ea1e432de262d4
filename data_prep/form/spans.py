"""What is heard of a span of bars: whether it may be one section.

A span has its first bar and a length of 1 ... LONGEST bars. The features, in the order of NAMES:

- ``best``: the largest mean likeness of the span to one elsewhere that it does not overlap, bar by bar; this times the
  length; and what it is above 1/2, times the length.
- ``repeats before``, ``repeated after``: the mean likeness to the span of the same length just before, just after.
- ``no melody``, and times the length; ``first``, ``last`` in the piece, and both where there is no melody.
"""

from __future__ import annotations

import numpy as np

from data_prep.form.bar_lines import running_sums

LONGEST = 20
NAMES = (
    *("best", "best by bar", "good by bar", "repeats before", "repeated after"),
    *("no melody", "no melody by bar", "first", "last", "first without melody", "last without melody"),
)


def span_features(shifted: np.ndarray, has_melody: np.ndarray) -> np.ndarray:
    """float64 [features, bars, LONGEST]: of the spans that begin with each bar, by length from 1.

    ``shifted`` is what ``bar_lines.both_ways`` makes; ``has_melody`` bool [bars]. Spans past the end have what they
    would have if it came earlier.
    """
    bars, lags = len(has_melody), len(shifted) // 2
    sums = running_sums(shifted)
    sung = running_sums(has_melody[None].astype(float))[0]
    firsts = np.arange(bars)
    best, before, after, silent = np.zeros((4, bars, LONGEST))
    for column in range(LONGEST):
        length = column + 1
        ends = np.minimum(firsts + length, bars)
        silent[:, column] = sung[ends] == sung[firsts]
        if length > lags:
            continue
        # the spans that lie whole in the piece, and not over this one
        means = (sums[:, ends] - sums[:, firsts]) / length
        earlier, later = means[length - 1 : lags], means[lags + length - 1 :]
        apart = np.arange(length, lags + 1)[:, None]
        highest = np.where(firsts >= apart, earlier, 0).max(axis=0)
        best[:, column] = np.maximum(highest, np.where(ends + apart <= bars, later, 0).max(axis=0))
        before[:, column] = earlier[0]
        after[:, column] = np.where(ends + length <= bars, later[0], 0)
    lengths = np.arange(1, LONGEST + 1)
    first = np.zeros((bars, LONGEST))
    first[0] = 1
    last = (firsts[:, None] + lengths >= bars).astype(float)
    repeats = [best, best * lengths, np.maximum(best - 0.5, 0) * lengths, before, after]
    return np.stack([*repeats, silent, silent * lengths, first, last, first * silent, last * silent])
