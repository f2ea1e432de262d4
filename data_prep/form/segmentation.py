"""The best cut of a piece into spans, and how probable each span is: a semi-Markov model of sections.

The score of a cut is the sum of its spans' scores; its probability is in proportion to the exponential of that
(Sarawagi and Cohen, Semi-Markov Conditional Random Fields for Information Extraction, 2004). ``scores`` is float64
[bars, longest]: of the span of length 1 + column that begins with each bar; those past the end count for nothing.
"""

from __future__ import annotations

import numpy as np

_NEVER = -1e9


def best_cut(scores: np.ndarray) -> np.ndarray:
    """int64 [spans + 1]: the lines, from 0 to the number of bars, between which the spans of the best cut lie.

    Of equally good ones it has the shorter spans at the end.
    """
    by_end = _by_end(scores)
    bars, longest = scores.shape
    best = np.full(longest + bars + 1, _NEVER)  # of all cuts before each line, ``longest`` places further on
    best[longest] = 0
    lengths = np.zeros(bars + 1, dtype=np.int64)
    for end in range(1, bars + 1):
        totals = best[end : end + longest] + by_end[end - 1]
        column = longest - 1 - int(totals[::-1].argmax())
        lengths[end], best[end + longest] = longest - column, totals[column]
    lines = [bars]
    while lines[-1]:
        lines.append(lines[-1] - int(lengths[lines[-1]]))
    return np.array(lines[::-1], dtype=np.int64)


def span_probabilities(scores: np.ndarray) -> np.ndarray:
    """float64 [bars, longest]: how probable it is that the span is one of the cut's."""
    bars, longest = scores.shape
    by_end = _by_end(scores)
    before = np.full(longest + bars + 1, _NEVER)
    before[longest] = 0
    for end in range(1, bars + 1):
        before[end + longest] = _log_sum(before[end : end + longest] + by_end[end - 1])
    after = np.full(bars + 1 + longest, _NEVER)
    after[bars] = 0
    for first in range(bars - 1, -1, -1):
        after[first] = _log_sum(scores[first] + after[first + 1 : first + 1 + longest])
    ends = 1 + np.arange(bars)[:, None] + np.arange(longest)
    return np.exp(np.minimum(before[longest:-1, None] + scores + after[ends] - after[0], 0))


def _by_end(scores: np.ndarray) -> np.ndarray:
    """float64 [bars, longest]: the scores of the spans that end with each bar, the longest first."""
    bars, longest = scores.shape
    lengths = longest - np.arange(longest)
    firsts = np.arange(bars)[:, None] + 1 - lengths
    return np.where(firsts >= 0, scores[np.maximum(firsts, 0), lengths - 1], _NEVER)


def _log_sum(values: np.ndarray) -> float:
    highest = values.max()
    return float(highest + np.log(np.exp(values - highest).sum()))
