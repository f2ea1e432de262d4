"""What repeats say of each other: a section may begin, and end, where what it repeats did.

A first hearing gives the probability that a section begins at each line, b, and that a span is one, p. The features of
the second one, in the order of LINE_NAMES and SPAN_NAMES:

- ``agrees after``: the mean of b at the lines l bars away, weighted by max(0, r - 0.3)^2, r being the mean likeness of
  the four bars after the line to those l bars away; over all |l| > 1. ``known after``: the sum of the weights. Both are
  divided by that sum and 0.05. ``agrees before``, ``known before``: by the four bars before the line.
- ``agrees``: the same mean of p over the spans l bars away that do not overlap, with r the mean likeness of all bars;
  this times the length; and ``agreed``, ln(1 + 10 x) of the weighted sum x.
- ``usual``: ln(0.02 + the share of its length among the sections that are expected); ``probable``: ln(0.003 + p).
"""

from __future__ import annotations

import numpy as np

LINE_NAMES = ("agrees after", "known after", "agrees before", "known before")
SPAN_NAMES = ("agrees", "agrees by bar", "agreed", "usual", "probable")
_AROUND = 4  # bars
_LEAST = 0.3
_DOUBT = 0.05


def support_features(sums: np.ndarray, probabilities: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """float64 [features, bars] of lines, and [features, bars, longest] of spans.

    ``sums``, float64 [2 lags, bars + 1], are ``bar_lines.running_sums`` of ``both_ways``; ``probabilities``, float64
    [bars, longest], those of ``segmentation.span_probabilities``.
    """
    bars, lags = len(probabilities), len(sums) // 2
    distances = np.arange(1, lags + 1)[:, None]
    lines = np.arange(bars)
    others = np.concatenate([lines - distances, lines + distances])
    there = (others >= 0) & (others < bars)
    others = np.where(there, others, 0)
    return _of_lines(sums, probabilities.sum(axis=1), others, there), _of_spans(sums, probabilities, others, there)


def _of_lines(sums: np.ndarray, begins: np.ndarray, others: np.ndarray, there: np.ndarray) -> np.ndarray:
    bars, lags = len(begins), len(sums) // 2
    lines = np.arange(bars)
    counted = there.copy()
    counted[[0, lags]] = False  # the neighbours
    elsewhere = np.where(counted, begins[others], 0)
    rows: list[np.ndarray] = []
    for low, high in ((lines, np.minimum(lines + _AROUND, bars)), (np.maximum(lines - _AROUND, 0), lines)):
        weights = np.where(counted, np.maximum((sums[:, high] - sums[:, low]) / _AROUND - _LEAST, 0) ** 2, 0)
        known = weights.sum(axis=0)
        rows += [(weights * elsewhere).sum(axis=0) / (known + _DOUBT), known / (known + _DOUBT)]
    features = np.array(rows)
    features[:, 0] = 0  # a section begins with the piece, whatever it repeats
    return features


def _of_spans(sums: np.ndarray, probabilities: np.ndarray, others: np.ndarray, there: np.ndarray) -> np.ndarray:
    (bars, longest), lags = probabilities.shape, len(sums) // 2
    firsts = np.arange(bars)
    agrees, agreed = np.zeros((2, bars, longest))
    for length in range(1, min(longest, lags) + 1):
        apart = np.r_[length - 1 : lags, lags + length - 1 : 2 * lags]
        part = sums[apart]
        likeness = (part[:, np.minimum(firsts + length, bars)] - part[:, firsts]) / length
        weights = np.where(there[apart], np.maximum(likeness - _LEAST, 0) ** 2, 0)
        total = (weights * probabilities[others[apart], length - 1]).sum(axis=0)
        agrees[:, length - 1] = total / (weights.sum(axis=0) + _DOUBT)
        agreed[:, length - 1] = np.log1p(10 * total)
    expected = probabilities.sum(axis=0)
    usual = np.log(0.02 + expected / expected.sum())
    lengths = np.arange(1, longest + 1)
    every = [agrees, agrees * lengths, agreed, np.broadcast_to(usual, (bars, longest)), np.log(0.003 + probabilities)]
    return np.stack(every)
