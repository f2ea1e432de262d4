"""What is heard at a bar line: whether a section may begin there.

Line t stands before bar t. The features, in the order of NAMES (rests and intervals in bars, at most 2):

- ``rest``, ``interval``: the longest silence of the melody, and the longest time between two of its onsets, that ends
  with an onset in each of six ranges around the line: a section may begin with an upbeat, or late.
- ``held``: how long before the line the last onset of the melody lies.
- ``sounds``, ``pauses``: how much more, and less, of the bar after the line than of the one before melody sounds in;
  ``enters``, ``leaves``: whether the melody begins, ends there by bars; ``busier``, ``calmer``: notes more and less,
  in eights.
- ``starts w``, ``stops w``, w in 2, 4, 8: with R_l(t) the likeness of bar t to bar t + l, the largest value and the
  mean of the three largest, over all |l| > 1, of the mean of R_l over the w bars after the line less that over the w
  bars before it; and the same the other way round: repeats that start, and stop.
- ``novelty w``: mean likeness within the w bars before and the w bars after the line, less that between them (Foote,
  Automatic Audio Segmentation Using a Measure of Audio Novelty, 2000), of all (w 4) and of the accompaniment (2, 4, 8).
- ``texture``: how much the square roots of the instruments' numbers of notes change, on average.
"""

from __future__ import annotations

import numpy as np

from data_prep.form.likeness import Likeness, Piece
from data_prep.tokens.coded_notes import BAR, INSTRUMENT

UPBEATS = ((-1.0, -0.5), (-0.5, -0.25), (-0.25, 0.0), (0.0, 0.01), (0.01, 0.27), (0.27, 0.54))  # in bars, from the line
RUNS = (2, 4, 8)
NOVELTIES = (2, 4, 8)
NAMES = (
    *(f"{kind} {low:g}" for kind in ("rest", "interval") for low, _ in UPBEATS),
    *("held", "sounds", "pauses", "enters", "leaves", "busier", "calmer"),
    *(f"{kind} {width}{of}" for width in RUNS for of in ("", " of three") for kind in ("starts", "stops")),
    "novelty 4 of all",
    *(f"novelty {width}" for width in NOVELTIES),
    "texture",
)
_LONGEST = 2.0  # bars
_MANY = 8  # notes


def bar_line_features(piece: Piece, likeness: Likeness, shifted: np.ndarray) -> np.ndarray:
    """float64 [features, bars] at the lines before all bars but the first, where they are 0.

    ``shifted`` float32 [2 lags, bars] is what ``both_ways`` makes of ``likeness``.
    """
    features = np.concatenate(
        [
            _pauses(piece),
            _changes(piece),
            _runs(shifted, likeness.lags),
            _novelty(likeness.all, 4)[None],
            *(_novelty(likeness.accompaniment, width)[None] for width in NOVELTIES),
            _texture(piece)[None],
        ]
    )
    features[:, 0] = 0
    return features


def both_ways(by_lag: np.ndarray) -> np.ndarray:
    """[2 lags, bars] of [lags, bars]: the likeness of bar t to bar t - l, l from 1, then to bar t + l; 0 for none."""
    later = np.zeros_like(by_lag)
    for lag in range(1, len(by_lag) + 1):
        later[lag - 1, :-lag] = by_lag[lag - 1, lag:]
    return np.concatenate([by_lag, later])


def running_sums(rows: np.ndarray) -> np.ndarray:
    """float64 [n, bars + 1]: the sums of ``rows``, [n, bars], over the bars before each line."""
    sums = np.zeros((len(rows), rows.shape[1] + 1))
    np.cumsum(rows, axis=1, out=sums[:, 1:])
    return sums


def _pauses(piece: Piece) -> np.ndarray:
    """float64 [2 * ranges + 1, bars]: ``rest``, ``interval`` and ``held``."""
    starts, ends = piece.spans(piece.melody)
    order = np.argsort(starts, kind="stable")
    starts, ends = starts[order] / piece.bar_length, ends[order] / piece.bar_length
    latest_end = np.concatenate([[-_LONGEST], np.maximum.accumulate(ends)[:-1]])[: len(starts)]
    rests = np.clip(starts - latest_end, 0, _LONGEST)
    intervals = np.clip(np.diff(starts, prepend=-_LONGEST), 0, _LONGEST)
    features = np.zeros((2 * len(UPBEATS) + 1, piece.bars))
    for index, (low, high) in enumerate(UPBEATS):
        lines = np.ceil(starts).astype(np.int64) if low < 0 else starts.astype(np.int64)
        near = np.flatnonzero((starts - lines >= low) & (starts - lines < high) & (lines < piece.bars))
        np.maximum.at(features[index], lines[near], rests[near])
        np.maximum.at(features[len(UPBEATS) + index], lines[near], intervals[near])
    lines = np.arange(piece.bars)
    before = np.searchsorted(starts, lines)
    onsets = np.concatenate([[-_LONGEST], starts])[before]  # the last before each line
    features[-1] = np.minimum(lines - onsets, _LONGEST)
    return features


def _changes(piece: Piece) -> np.ndarray:
    """float64 [6, bars]: ``sounds`` ... ``calmer``."""
    starts, ends = piece.spans(piece.melody)
    length = piece.bars * piece.bar_length
    steps = np.zeros(length + 1)
    np.add.at(steps, starts, 1)
    np.add.at(steps, np.minimum(ends, length), -1)
    sounding = (np.cumsum(steps)[:length] > 0).reshape(piece.bars, -1).mean(axis=1)
    notes = np.bincount(piece.melody[:, BAR], minlength=piece.bars)
    rows = []
    for values in (sounding, (notes > 0).astype(float), notes / _MANY):
        change = np.diff(values, prepend=values[:1])
        rows += [np.clip(change, 0, 1), np.clip(-change, 0, 1)]
    return np.array(rows)


def _runs(shifted: np.ndarray, lags: int) -> np.ndarray:
    """float64 [4 * widths, bars]: repeats that start and stop; see the top."""
    bars = shifted.shape[1]
    lines = np.arange(bars)
    sums = running_sums(np.delete(shifted, [0, lags], axis=0))  # not the neighbours
    if len(sums) < 3:
        sums = np.concatenate([sums, np.zeros((3 - len(sums), bars + 1))])
    rows = []
    for width in RUNS:
        after = sums[:, np.minimum(lines + width, bars)] - sums[:, lines]
        before = sums[:, lines] - sums[:, np.maximum(lines - width, 0)]
        change = np.partition((after - before) / width, (2, len(sums) - 3), axis=0)
        rows += [np.maximum(0, change[-3:].max(axis=0)), np.maximum(0, -change[:3].min(axis=0))]
        rows += [change[-3:].mean(axis=0), -change[:3].mean(axis=0)]
    return np.array(rows)


def _novelty(by_lag: np.ndarray, width: int) -> np.ndarray:
    """float64 [bars]; the likeness of a bar to itself counts as 1. Near the ends the width is what there is."""
    bars = by_lag.shape[1]
    near = np.zeros((bars, 2 * width - 1))  # to the bars before, nearest last, but for the bar itself
    for lag in range(1, min(2 * width, len(by_lag) + 1)):
        near[:, -lag] = by_lag[lag - 1]
    sums = np.zeros((2 * width, bars + 1))  # of pairs l apart whose later bar lies before a line
    for lag in range(1, 2 * width):
        sums[lag, 1:] = np.cumsum(near[:, -lag])
    lines = np.arange(bars)
    reach = np.minimum(width, np.minimum(lines, bars - lines))
    within = np.zeros(bars)
    between = np.zeros(bars)
    for lag in range(1, 2 * width):
        inside = np.maximum(reach - lag, 0)
        # pairs whose earlier and later bars both lie in the ``reach`` bars before, or after, the line
        before = sums[lag, lines] - sums[lag, np.minimum(lines, lines - reach + lag)]
        after = sums[lag, np.minimum(lines + reach, bars)] - sums[lag, np.minimum(lines + lag, bars)]
        within += np.where(inside > 0, before + after, 0)
        # pairs across the line: the later bar less than ``lag`` and ``reach`` after it, the earlier in reach
        low, high = lines + np.maximum(lag - reach, 0), lines + np.minimum(lag, reach)
        between += np.where(high > low, sums[lag, np.minimum(high, bars)] - sums[lag, np.minimum(low, bars)], 0)
    area = np.maximum(reach, 1) ** 2
    return np.where(reach > 0, (2 * within + 2 * reach) / (2 * area) - between / area, 0)


def _texture(piece: Piece) -> np.ndarray:
    """float64 [bars]"""
    notes = np.concatenate([piece.melody, piece.accompaniment])
    instruments, column = np.unique(notes[:, INSTRUMENT], return_inverse=True)
    counts = np.zeros((piece.bars, max(len(instruments), 1)))
    np.add.at(counts, (notes[:, BAR], column), 1)
    return np.abs(np.diff(np.sqrt(counts), axis=0, prepend=np.sqrt(counts[:1]))).mean(axis=1)
