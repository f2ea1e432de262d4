"""What a piece is like in a few figures, each between a generated and a real corpus a matter of comparing means.

The definitions are those of MusPy (Dong et al., ISMIR 2020, ``muspy.metrics``), in NumPy on token lines:

- pitch-class entropy: Shannon entropy, in bits, of the histogram of pitch classes without the drums, over
  the whole piece (Wu and Yang, "The Jazz Transformer on the Front Line", ISMIR 2020, on windows of bars).
- groove consistency: 1 minus the share of positions of a bar at which one of two neighbouring bars has an
  onset and the other has none, averaged over neighbours (Wu and Yang, 2020); with the length of the longer
  bar where the metre changes, which MusPy does not allow for.
- scale consistency: the largest share of notes without the drums that one major or natural minor scale
  holds (Mogren, "C-RNN-GAN", 2016).
- empty-bar rate: the share of bars in which no note begins, as bars are empty in the paper's preparation;
  MusPy does not count bars either into which a note is held.
- notes a bar: notes over bars, all instruments.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from data_prep.similarity.bars import ratio
from data_prep.tokens.note_table import NoteTable, batches, note_table
from data_prep.tokens.vocabulary import DEFAULT_METRE, DRUMS, END_OF_BAR, METRES, bar_length

FEATURES = ("pitch_class_entropy", "groove_consistency", "scale_consistency", "empty_bar_rate", "notes_a_bar")
_MAJOR = (0, 2, 4, 5, 7, 9, 11)
# The natural minor scales hold the same pitch classes.
_SCALES = np.array([[(pitch - tonic) % 12 in _MAJOR for pitch in range(12)] for tonic in range(12)], dtype=float)
_POSITIONS = 128  # onset ids end below
_SPREAD = (5, 95)  # percent of the pieces


@dataclass(frozen=True)
class Spread:
    """How far real pieces lie apart, and where the generated ones' mean lies among them.

    ``low`` and ``high`` are the 5th and the 95th percentile of real pieces, ``deviations`` how many of their
    standard deviations the generated mean lies above theirs (NaN where they are all alike), ``within``
    whether it lies between the percentiles.
    """

    low: float
    high: float
    deviations: float
    within: bool


def features_of_lines(lines: Iterable[str]) -> np.ndarray:
    """float64 [pieces, 5], columns as in FEATURES; NaN where a piece has too little for one of them."""
    parts = [_features(batch, note_table(batch)) for batch in batches(lines)]
    return np.concatenate([np.zeros((0, len(FEATURES))), *parts])


def spread(generated: np.ndarray, real: np.ndarray) -> Spread | None:
    """Of one feature, a figure a piece; pieces without (NaN) are left out. None where no piece is left."""
    generated, real = generated[~np.isnan(generated)], real[~np.isnan(real)]
    if not len(generated) or not len(real):
        return None
    low, high = np.percentile(real, _SPREAD)
    mean, deviation = generated.mean(), real.std()
    deviations = (mean - real.mean()) / deviation if deviation else np.nan
    return Spread(float(low), float(high), float(deviations), bool(low <= mean <= high))


def _features(lines: Sequence[str], table: NoteTable) -> np.ndarray:
    bars = np.bincount(table.bar_pieces, minlength=table.pieces)
    pieces = table.bar_pieces[table.notes[:, 0]]
    sounding = np.unique(table.notes[:, 0])
    histogram = _pitch_classes(table, pieces)
    columns = [
        _entropy(histogram),
        _groove_consistency(table, np.concatenate([[], *map(bar_lengths, lines, bars)])),
        ratio((histogram @ _SCALES.T).max(axis=1), histogram.sum(axis=1)),
        1 - ratio(np.bincount(table.bar_pieces[sounding], minlength=table.pieces), bars),
        ratio(np.bincount(pieces, minlength=table.pieces), bars),
    ]
    return np.column_stack(columns)


def bar_lengths(line: str, bars: int) -> list[int]:
    """The length of each of a line's first ``bars`` bars in positions, by the latest metre, 4/4 before the first."""
    lengths: list[int] = []
    length = bar_length(*DEFAULT_METRE)
    if "s-" not in line:
        return [length] * int(bars)
    for token in line.split():
        if token == END_OF_BAR:
            lengths.append(length)
        elif token.startswith("s-"):
            length = max(1, bar_length(*METRES[int(token[2:])]))
    return [*lengths, length][: int(bars)]  # the last for a bar left open


def _pitch_classes(table: NoteTable, pieces: np.ndarray) -> np.ndarray:
    """float64 [pieces, 12]: how many notes of each pitch class, without the drums."""
    pitched = table.notes[:, 1] != DRUMS
    code = pieces[pitched] * 12 + table.notes[pitched, 3] % 128 % 12
    return np.bincount(code, minlength=12 * table.pieces).reshape(-1, 12).astype(float)


def _entropy(histogram: np.ndarray) -> np.ndarray:
    share = ratio(histogram, histogram.sum(axis=1, keepdims=True))
    bits = np.log2(share, out=np.zeros_like(share), where=share > 0)
    return 0.0 - (share * bits).sum(axis=1)


def _groove_consistency(table: NoteTable, lengths: np.ndarray) -> np.ndarray:
    """float64 [pieces]; ``lengths`` are those of all bars."""
    onsets = np.zeros((len(table.bar_pieces), _POSITIONS), dtype=bool)
    onsets[table.notes[:, 0], np.minimum(table.notes[:, 2], _POSITIONS - 1)] = True
    neighbours = np.flatnonzero(np.diff(table.bar_pieces) == 0)
    differing = (onsets[neighbours] != onsets[neighbours + 1]).sum(axis=1)
    share = differing / np.maximum(lengths[neighbours], lengths[neighbours + 1])
    pieces = table.bar_pieces[neighbours]
    return 1 - ratio(np.bincount(pieces, share, table.pieces), np.bincount(pieces, minlength=table.pieces))
