"""Memorising: the longest run of bars that a piece shares with a piece of the training set.

Two bars are equal when their sets of (instrument, onset, pitch, duration) are; velocity, tempo and doubled
notes do not count, and neither do other instruments where one is chosen. A run is bars in a row that equal
bars in a row of one training piece; its length counts those of them that hold notes, so that shared rests
are no memory, though they may lie inside a run.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from data_prep.tokens.note_table import NOTE_CODES, NoteTable, batches, note_codes, note_table

_EMPTY = np.uint64(0)


@dataclass(frozen=True)
class CopiedRun:
    """``length`` bars with notes from ``bar`` on are those of training piece ``source`` from ``source_bar`` on.

    Bars and pieces count from 0; without any equal bar ``length`` is 0 and the rest means nothing.
    """

    length: int
    bar: int
    source: int
    source_bar: int


def bar_fingerprints(table: NoteTable, instrument: int | None = None) -> np.ndarray:
    """uint64 [bars]: equal for equal bars, 0 for bars without notes of ``instrument`` (None: of any)."""
    notes = table.notes_of(instrument)
    distinct = np.unique(notes[:, 0] * NOTE_CODES + note_codes(notes))
    fingerprints = np.zeros(len(table.bar_pieces), dtype=np.uint64)
    np.add.at(fingerprints, distinct // NOTE_CODES, _mixed((distinct % NOTE_CODES).astype(np.uint64)))
    return fingerprints


def _mixed(code: np.ndarray) -> np.ndarray:
    """The finaliser of SplitMix64 (Steele et al., 2014): sums of its values collide by chance only."""
    code = code + np.uint64(0x9E3779B97F4A7C15)
    code = (code ^ (code >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    code = (code ^ (code >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return code ^ (code >> np.uint64(31))


def fingerprints_of_lines(lines: Iterable[str], instruments: Sequence[int | None]) -> list[list[np.ndarray]]:
    """For each of ``instruments`` the fingerprints of each piece's bars."""
    found: list[list[np.ndarray]] = [[] for _ in instruments]
    for batch in batches(lines):
        table = note_table(batch)
        ends = np.searchsorted(table.bar_pieces, np.arange(1, table.pieces))
        for pieces, instrument in zip(found, instruments):
            pieces += np.split(bar_fingerprints(table, instrument), ends)
    return found


class TrainingBars:
    """The bars of a training set, ready to be searched for runs."""

    def __init__(self, pieces: Iterable[np.ndarray]) -> None:
        """``pieces``: the fingerprints of each piece's bars."""
        pieces = list(pieces)
        # One index that equals no bar lies before every piece, so that no run crosses from piece to piece.
        self._starts = np.cumsum([1, *(len(piece) + 1 for piece in pieces)])[:-1]
        indices = [start + np.arange(len(piece)) for start, piece in zip(self._starts, pieces)]
        at = np.concatenate([np.zeros(0, dtype=np.int64), *indices])
        bars = np.concatenate([np.zeros(0, dtype=np.uint64), *pieces])
        order = np.argsort(bars, kind="stable")
        self._bars, self._at = bars[order], at[order]
        self._size = int(at[-1]) + 1 if len(at) else 1

    def longest_run(self, piece: np.ndarray) -> CopiedRun:
        """The longest run of the bars of ``piece`` (fingerprints); of equals the first to end."""
        best = CopiedRun(0, 0, 0, 0)
        lengths = np.zeros(self._size, dtype=np.int32)  # of the run that ends at each index, in bars with notes
        bars = np.zeros(self._size, dtype=np.int32)  # of the same run, in all bars
        touched = np.zeros(0, dtype=np.int64)
        firsts = np.searchsorted(self._bars, piece, side="left")
        lasts = np.searchsorted(self._bars, piece, side="right")
        for bar, (first, last) in enumerate(zip(firsts, lasts)):
            at = self._at[first:last]
            new_lengths = lengths[at - 1] + (piece[bar] != _EMPTY)
            new_bars = np.where(new_lengths > 0, bars[at - 1] + 1, 0)  # no run begins with a rest
            lengths[touched] = bars[touched] = 0
            lengths[at], bars[at] = new_lengths, new_bars
            touched = at
            if len(at) and new_lengths.max() > best.length:
                longest = int(new_lengths.argmax())
                end, count = int(at[longest]), int(new_bars[longest])
                source = int(np.searchsorted(self._starts, end, side="right")) - 1
                source_bar = end - count + 1 - int(self._starts[source])
                best = CopiedRun(int(new_lengths[longest]), bar - count + 1, source, source_bar)
        return best
