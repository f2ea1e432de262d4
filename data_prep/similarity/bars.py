"""How alike bars are that lie t bars apart: the statistic that chose the paper's structure bars.

The similarity of two bars is |A and B| / |A or B|, A and B being their sets of notes, equal when onset in
the bar, pitch and duration are (paper, section 3.2). L_t is its mean over all pairs of bars of one piece
that lie t apart; a pair of two empty bars has no similarity and is left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from data_prep.tokens.note_table import NoteTable, batches, note_codes, note_table
from data_prep.tokens.vocabulary import SIX_TRACK

# What can be compared by its name: the paper's figure is that of the melody.
TRACKS: Mapping[str, int | None] = {
    name: None if name == "all" else SIX_TRACK.instrument_of(name)
    for melody, *others in [SIX_TRACK.track_names().values()]
    for name in (melody, "all", *others)
}
MAX_DISTANCE = 40  # bars, as in the paper's figure 3


@dataclass(frozen=True)
class BarSimilarity:
    """Similarities of bars summed up piece by piece, so that means can be pooled or resampled.

    ``sums`` float64 and ``pairs`` int64, both [pieces, max distance]: the sum of the similarities of all
    pairs of bars t apart, and how many there are; column 0 is t = 1. ``bars``, ``tokens`` (of all tracks)
    and ``notes`` are totals.
    """

    sums: np.ndarray
    pairs: np.ndarray
    bars: int
    notes: int
    tokens: int = 0

    def curve(self) -> np.ndarray:
        """float64 [max distance]: L_t as the paper defines it, pooled over all pairs; NaN without pairs."""
        return ratio(self.sums.sum(axis=0), self.pairs.sum(axis=0))

    def curve_per_piece(self) -> np.ndarray:
        """Like ``curve``, but the mean of the pieces' own means, so that long pieces weigh no more."""
        means = ratio(self.sums, self.pairs)
        present = ~np.isnan(means)
        return ratio(np.where(present, means, 0.0).sum(axis=0), present.sum(axis=0))


def ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """``sums`` over ``counts``, float64 as ``sums``; NaN where there is nothing to count."""
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def similarity_of_lines(
    lines: Iterable[str], tracks: Sequence[str] = ("melody",), max_distance: int = MAX_DISTANCE
) -> dict[str, BarSimilarity]:
    """The similarities of the pieces in ``lines`` (one piece a line), for each of ``tracks`` (see TRACKS).

    In track ``all`` notes are equal only when their instruments are too. Faults in a line are skipped as
    ``note_table`` says. Raises KeyError for a track that is not in TRACKS.
    """
    parts: dict[str, list[BarSimilarity]] = {track: [] for track in tracks}
    for batch in batches(lines):
        table = note_table(batch)
        for track in tracks:
            parts[track].append(_similarity_of_table(table, TRACKS[track], max_distance))
    empty = np.zeros((0, max_distance))
    return {
        track: BarSimilarity(
            np.concatenate([empty, *(part.sums for part in members)]),
            np.concatenate([empty.astype(np.int64), *(part.pairs for part in members)]),
            sum(part.bars for part in members),
            sum(part.notes for part in members),
            sum(part.tokens for part in members),
        )
        for track, members in parts.items()
    }


def similarity_error(generated: np.ndarray, reference: np.ndarray) -> float:
    """Mean over t of |L_t(generated) - L_t(reference)|, as a fraction: the paper's SE is this in percent.

    Both are curves of one length. Distances that one of them has no pairs for are left out; raises
    ValueError when none is left.
    """
    if generated.shape != reference.shape:
        raise ValueError(f"curves of {len(generated)} and {len(reference)} distances cannot be compared")
    differences = np.abs(generated - reference)
    differences = differences[~np.isnan(differences)]
    if not len(differences):
        raise ValueError("the two curves have no distance in common: one of them has no pairs of bars")
    return float(differences.mean())


def _similarity_of_table(table: NoteTable, instrument: int | None, max_distance: int) -> BarSimilarity:
    notes = table.notes_of(instrument)
    bars = len(table.bar_pieces)
    # Each bar has a slot; a gap between pieces keeps their bars further apart than any distance that counts.
    slots = np.arange(bars) + max_distance * table.bar_pieces
    num_slots = int(slots[-1]) + 1 + max_distance if bars else max_distance
    coded = _distinct(notes, slots, num_slots)
    of_code, codes = coded % num_slots, coded // num_slots
    sizes = np.bincount(of_code, minlength=num_slots)
    common = _common_notes(of_code, codes, num_slots, max_distance)

    sums = np.zeros((table.pieces, max_distance))
    pairs = np.zeros((table.pieces, max_distance), dtype=np.int64)
    for distance in range(1, max_distance + 1):
        near = np.flatnonzero(table.bar_pieces[distance:] == table.bar_pieces[:-distance])
        left, right = slots[near], slots[near + distance]
        shared = common[distance - 1, left]
        union = sizes[left] + sizes[right] - shared
        counted = union > 0
        pieces = table.bar_pieces[near[counted]]
        similarities = shared[counted] / union[counted]
        sums[:, distance - 1] = np.bincount(pieces, similarities, table.pieces)
        pairs[:, distance - 1] = np.bincount(pieces, minlength=table.pieces)
    return BarSimilarity(sums, pairs, bars, len(notes), table.tokens)


def _distinct(notes: np.ndarray, slots: np.ndarray, num_slots: int) -> np.ndarray:
    """Sorted int64: instrument, onset, pitch, duration and the bar's slot in one integer, each once."""
    coded = np.sort(note_codes(notes) * num_slots + slots[notes[:, 0]])
    return coded[np.concatenate([[True], coded[1:] != coded[:-1]])] if len(coded) else coded


def _common_notes(of_code: np.ndarray, codes: np.ndarray, num_slots: int, max_distance: int) -> np.ndarray:
    """int64 [max distance, slots]: how many notes the bar in a slot shares with the bar t slots later.

    ``codes`` rise, and ``of_code``, the slots, within equal codes: occurrences of one note in rising bars. Going from
    every occurrence to the next of its note, the next but one and so on meets each pair that shares it
    once, and can stop where another note begins or the distance grows too long.
    """
    common = np.zeros(max_distance * num_slots, dtype=np.int64)
    first = np.arange(len(of_code))
    for step in range(1, max_distance + 1):
        first = first[first + step < len(of_code)]
        distance = of_code[first + step] - of_code[first]
        alike = (codes[first + step] == codes[first]) & (distance <= max_distance)
        first, distance = first[alike], distance[alike]
        if not len(first):
            break
        common += np.bincount((distance - 1) * num_slots + of_code[first], minlength=len(common))
    return common.reshape(max_distance, num_slots)
