"""How alike the bars of a piece are, softly: what its form is heard from.

The likeness of bars s and t, from 0 to 1, is ::

    R = (0.7 m M + 0.3 a A) / (0.7 m + 0.3 a)

    M = (J(melody onsets and pitches) + cos(melody sounding)) / 2
    A = (J(accompaniment onsets, pitches and instruments) + cos(chroma)) / 2

with m and a 1 where one of the bars has melody, accompaniment, and 0 where none has. J is |a and b| / |a or b| of sets.
Melody onsets count sixteenths; ``sounding`` is how many notes of each pitch class of the melody sound in each sixteenth
of the bar; ``chroma`` the same of the accompaniment in each quarter. Drums count where there is no other accompaniment:
A is then J(drum onsets and sounds).
Everything is kept by lag, not by pairs of bars, so that a long piece takes memory in proportion to its bars.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from data_prep.tokens.coded_notes import BAR, DURATION, INSTRUMENT, ONSET, PITCH
from data_prep.tokens.note_table import note_codes
from data_prep.tokens.vocabulary import DRUMS, MAX_DURATION_ID, POSITIONS_PER_QUARTER, duration_of

MAX_LAG = 256  # bars further apart are not compared
MELODY_SHARE = 0.7
_BLOCK = 512  # bars compared at once
_SIXTEENTH = POSITIONS_PER_QUARTER // 4
_PITCH_CLASSES = 12
_DURATIONS = np.array([duration_of(id_) for id_ in range(MAX_DURATION_ID + 1)])


@dataclass(frozen=True)
class Piece:
    """The notes of a piece as its form is heard from them.

    ``melody`` and ``accompaniment`` (which may hold drums): int64 [N, 6], as ``coded_notes`` gives them. ``bar_length``
    in positions is that of all bars: the last onset of any bar, rounded up to a whole quarter.
    """

    melody: np.ndarray
    accompaniment: np.ndarray
    bars: int
    bar_length: int

    @staticmethod
    def of(notes: np.ndarray, bars: int, melody: int | None) -> Piece:
        """``melody`` is the instrument that has it; with None it is the highest note at each onset, without drums."""
        leads = _highest(notes) if melody is None else notes[:, INSTRUMENT] == melody
        quarters = int(notes[:, ONSET].max(initial=0)) // POSITIONS_PER_QUARTER + 1
        return Piece(notes[leads], notes[~leads], bars, quarters * POSITIONS_PER_QUARTER)

    def spans(self, notes: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Starts and ends of ``notes`` in positions since the beginning of the piece, int64 [N] each."""
        starts = notes[:, BAR] * self.bar_length + notes[:, ONSET]
        return starts, starts + _DURATIONS[notes[:, DURATION]]

    def has_melody(self) -> np.ndarray:
        """bool [bars]: whether a note of the melody begins in the bar."""
        return np.bincount(self.melody[:, BAR], minlength=self.bars) > 0


def _highest(notes: np.ndarray) -> np.ndarray:
    """bool [N]: whether a note is the highest that begins at its time; of equal ones the first. Drums never are."""
    pitched = np.flatnonzero(notes[:, INSTRUMENT] != DRUMS)
    chosen = notes[pitched]
    order = np.lexsort((-chosen[:, PITCH], chosen[:, ONSET], chosen[:, BAR]))
    times = chosen[order][:, [BAR, ONSET]]
    first = np.concatenate([[True], np.any(times[1:] != times[:-1], axis=1)])[: len(order)]
    highest = np.zeros(len(notes), dtype=bool)
    highest[pitched[order[first]]] = True
    return highest


@dataclass(frozen=True)
class Likeness:
    """float32 [lags, bars] each, row l - 1 the likeness of bar t to bar t - l; 0 where there is no such bar.

    ``all`` is R, ``accompaniment`` A.
    """

    all: np.ndarray
    accompaniment: np.ndarray

    @property
    def lags(self) -> int:
        """How far apart bars are compared."""
        return len(self.all)


def likeness_of(piece: Piece) -> Likeness:
    """The likeness of all bars of ``piece`` that lie at most MAX_LAG apart."""
    melody, accompaniment = piece.melody, piece.accompaniment
    pitched = accompaniment[accompaniment[:, INSTRUMENT] != DRUMS]
    leads = (melody[:, ONSET] // _SIXTEENTH) * 256 + melody[:, PITCH]
    codes = note_codes(pitched) // 128  # without duration
    sounding = _sounding(piece, melody, _SIXTEENTH)
    chroma = _sounding(piece, pitched, POSITIONS_PER_QUARTER)
    drums = accompaniment[accompaniment[:, INSTRUMENT] == DRUMS]
    drummed = note_codes(drums) // 128
    has_melody = piece.has_melody()
    has_chords = np.bincount(pitched[:, BAR], minlength=piece.bars) > 0
    has_rest = np.bincount(accompaniment[:, BAR], minlength=piece.bars) > 0
    lags = min(MAX_LAG, max(piece.bars - 1, 1))
    overall = np.zeros((lags, piece.bars), dtype=np.float32)
    behind = np.zeros_like(overall)
    for start in range(0, piece.bars, _BLOCK):
        first, stop = max(0, start - lags), min(start + _BLOCK, piece.bars)
        own = slice(start - first, stop - first)
        of_melody = (_jaccard(leads, melody[:, BAR], first, stop, own) + _cosine(sounding[first:stop], own)) / 2
        of_rest = (_jaccard(codes, pitched[:, BAR], first, stop, own) + _cosine(chroma[first:stop], own)) / 2
        of_drums = _jaccard(drummed, drums[:, BAR], first, stop, own)
        of_rest = np.where(_either(has_chords[first:stop], own), of_rest, of_drums)
        sung = np.float32(MELODY_SHARE) * _either(has_melody[first:stop], own)
        played = np.float32(1 - MELODY_SHARE) * _either(has_rest[first:stop], own)
        weights = sung + played
        both = (sung * of_melody + played * of_rest) / np.where(weights > 0, weights, 1)
        _by_lag(both, start, first, overall)
        _by_lag(of_rest, start, first, behind)
    return Likeness(overall, behind)


def _either(bars: np.ndarray, own: slice) -> np.ndarray:
    """bool [own bars, bars]: whether it holds of one of the two."""
    return bars[own, None] | bars[None]


def _sounding(piece: Piece, notes: np.ndarray, width: int) -> np.ndarray:
    """float32 [bars, slots * 12]: how many notes of each pitch class sound in each slot of ``width`` positions."""
    slots = piece.bar_length // width
    starts, ends = piece.spans(notes)
    cells = np.zeros((piece.bars * slots + 1) * _PITCH_CLASSES, dtype=np.float32)
    classes = notes[:, PITCH] % _PITCH_CLASSES
    last = piece.bars * slots
    np.add.at(cells, (starts // width) * _PITCH_CLASSES + classes, 1)
    np.add.at(cells, np.minimum(-(-ends // width), last) * _PITCH_CLASSES + classes, -1)
    return np.cumsum(cells.reshape(-1, _PITCH_CLASSES), axis=0)[:-1].reshape(piece.bars, slots * _PITCH_CLASSES)


def _jaccard(codes: np.ndarray, bars: np.ndarray, first: int, stop: int, own: slice) -> np.ndarray:
    """float32 [own bars, stop - first]: |a and b| / |a or b| of the sets of ``codes`` in bars first ... stop - 1."""
    chosen = (bars >= first) & (bars < stop)
    names, found = np.unique(codes[chosen], return_inverse=True)
    sets = np.zeros((stop - first, len(names)), dtype=np.float32)
    sets[bars[chosen] - first, found] = 1
    sizes = sets.sum(axis=1)
    common = sets[own] @ sets.T
    return common / np.maximum(sizes[own, None] + sizes[None] - common, 1)


def _cosine(rows: np.ndarray, own: slice) -> np.ndarray:
    """float32 [own rows, rows]: their cosines, 0 for rows of zeros."""
    unit = rows / np.maximum(np.linalg.norm(rows, axis=1, keepdims=True), 1e-9)
    return unit[own] @ unit.T


def _by_lag(pairs: np.ndarray, start: int, first: int, into: np.ndarray) -> None:
    """Write ``pairs`` of bars start ... and first ... where ``into`` has them by lag."""
    bars = start + np.arange(len(pairs))
    lags = 1 + np.arange(len(into))
    earlier = bars[None] - lags[:, None]
    known = earlier >= 0
    values = pairs[np.broadcast_to(bars - start, earlier.shape), np.where(known, earlier - first, 0)]
    into[:, start : start + len(pairs)] = np.where(known, values, 0)
