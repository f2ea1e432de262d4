"""How well bars fit that are filled in: their notes, and the joint to the bar behind them.

Four bars of a song are written at a random place, with at least four bars before and one after them:

- **filled in** between the bars before and after them, told nothing else, as in a request;
- **continued** behind the bars before them alone, told nothing;
- **copied**: the four bars before them once more.

*Note overlap* is the F1 of their notes and the true ones, notes being equal in bar, track, onset and pitch. The *joint*
is that of the last of them with the bar after them, which is the song's: the similarity |A and B| / |A or B| of the
notes of both (as ``data_prep.similarity.bars`` has it, of all tracks), and how many semitones the melody, and the bass,
move from their last note before the bar line to the first one after it, in the bar after. Beside it stands the song's
own joint at the same place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_prep.command import CommandError
from data_prep.similarity.matrix import similarity_matrix
from data_prep.tokens.coded_notes import BAR, DURATION, INSTRUMENT, ONSET, PITCH
from data_prep.tokens.vocabulary import SIX_TRACK
from evaluation.bootstrap import Bootstrap
from evaluation.steering import SPAN, random_places
from museformer_plugin.steering.conditions import BarConditions, ConditionColumns, Role
from museformer_plugin.steering.request import BarLimits, Request
from museformer_plugin.steering.sequence_bars import SequenceBar, guide_of
from museformer_plugin.token_families import TokenFamilies

from .pieces import Piece
from .tables import figure, markdown
from .writer import Writer

MELODY, BASS = (SIX_TRACK.instrument_of(name) for name in ("melody", "bass"))
FIGURES = ("note overlap", "similarity across the joint", "melody moves", "bass moves")


def note_overlap(notes: np.ndarray, others: np.ndarray) -> float:
    """F1 of the notes, int64 [n, 6] each, equal in bar, instrument, onset and pitch; NaN where there are none."""
    columns = [BAR, INSTRUMENT, ONSET, PITCH]
    found, true = ({tuple(note) for note in rows[:, columns].tolist()} for rows in (notes, others))
    return 2 * len(found & true) / (len(found) + len(true)) if found or true else np.nan


def joint(before: np.ndarray, after: np.ndarray) -> tuple[float, float, float]:
    """Similarity of the last of the SPAN bars ``before`` with the bar ``after``; semitones of the melody, of the bass.

    int64 [n, 6] each, bars counted from 0. NaN where both bars are empty, and where a track does not play on a side.
    """
    last, first = before[before[:, BAR] == SPAN - 1].copy(), after.copy()
    last[:, BAR], first[:, BAR] = 0, 1
    columns = [BAR, INSTRUMENT, ONSET, PITCH, DURATION]
    similarity = similarity_matrix(np.concatenate([last, first])[:, columns], 2)[0, 1]
    return float(similarity), _moves(before, after, MELODY), _moves(before, after, BASS)


def _moves(before: np.ndarray, after: np.ndarray, instrument: int) -> float:
    """Of notes at the same onset the highest of the melody, the lowest of the bass."""
    sign = 1 if instrument == MELODY else -1
    before, after = (notes[notes[:, INSTRUMENT] == instrument] for notes in (before, after))
    if not len(before) or not len(after):
        return np.nan
    last = before[np.lexsort((sign * before[:, PITCH], before[:, ONSET], before[:, BAR]))[-1]]
    first = after[np.lexsort((-sign * after[:, PITCH], after[:, ONSET]))[0]]
    return float(abs(last[PITCH] - first[PITCH]))


def requests_for(song: Piece, first: int, around: int, families: TokenFamilies) -> tuple[Request, Request]:
    """To fill SPAN bars of a song from ``first`` (from 0) on in, and to write them behind what is before them.

    ``around``: how many bars before and after are read at most. The tempo may be any.
    """
    numbered = [SequenceBar(bar, number) for number, bar in enumerate(song.bars, start=1)]
    before = numbered[max(0, first - around) : first]
    after = numbered[first + SPAN : first + SPAN + around]
    given = [SequenceBar(bar.tokens, bar.number, Role.GIVEN) for bar in (*before, *after)]
    written = [bar.number for bar in numbered[first : first + SPAN]]
    to_write = [SequenceBar(np.empty(0, dtype=np.int64), number) for number in written]
    limits, columns = [BarLimits()] * len(written), ConditionColumns.of(families)

    def request(given: list[SequenceBar]) -> Request:
        sequence = [*given, *to_write]
        nothing = BarConditions.nothing(np.zeros(len(sequence)), len(families.representation.instruments))
        return Request(given, written, guide_of(sequence, nothing, columns), limits)

    return request(given), request(before)


def figures_of(written: np.ndarray, true: np.ndarray, after: np.ndarray) -> list[float]:
    """The FIGURES of four bars, int64 [n, 6] notes with bars from 0, by the true ones and the bar ``after`` them."""
    return [note_overlap(written, true), *joint(written, after)]


def measure(writer: Writer, songs: Sequence[Piece], places: int, around: int, seed: int) -> dict[str, np.ndarray]:
    """By name float64 [songs, places, figures]; NaN where there is nothing to measure. Short songs are left out.

    Raises CommandError when all are."""
    asked: list[tuple[int, Piece, int]] = []
    for index, song in enumerate(songs):
        firsts = random_places(len(song), places, np.random.default_rng([seed, index]))
        asked += [(index, song, first) for first in firsts.tolist()]
    if not asked:
        raise CommandError(f"No song has {2 * SPAN + 1} bars.")
    requests = [requests_for(song, first, around, writer.families) for _, song, first in asked]
    written = {
        "filled in": writer.write([filling for filling, _ in requests]),
        "continued": writer.write([continuing for _, continuing in requests]),
    }
    rows: dict[str, list[list[float]]] = {}
    for n, (_, song, first) in enumerate(asked):
        true, after = song.notes_in(first, first + SPAN), song.notes_in(first + SPAN, first + SPAN + 1)
        begin = min(first, around)  # where the span begins in what is written
        spans = {name: pieces[n].notes_in(begin, begin + SPAN) for name, pieces in written.items()}
        spans["copied"] = song.notes_in(first - SPAN, first)
        for name, notes in (*spans.items(), ("the song's own", true)):
            rows.setdefault(name, []).append(figures_of(notes, true, after))
    of_song = np.array([index for index, _, _ in asked])
    return {name: _by_song(np.array(figures), of_song) for name, figures in rows.items()}


def _by_song(figures: np.ndarray, of_song: np.ndarray) -> np.ndarray:
    """float64 [songs, figures]: the means over the places of each song."""
    means = np.full((len(np.unique(of_song)), figures.shape[1]), np.nan)
    for row, song in enumerate(np.unique(of_song)):
        chosen = figures[of_song == song]
        known = ~np.isnan(chosen)
        counts = known.sum(axis=0)
        means[row, counts > 0] = (np.where(known, chosen, 0).sum(axis=0) / np.maximum(counts, 1))[counts > 0]
    return means


def report(writer: Writer, songs: Sequence[Piece], places: int, around: int, seed: int) -> str:
    """The table: means over songs, and how far what is filled in lies above the others, paired by song."""
    found = measure(writer, songs, places, around, seed)
    bootstrap = Bootstrap()

    def row(name: str, figures: np.ndarray) -> list[str]:
        overlap, similarity, *moves = (bootstrap.mean(column) for column in figures.T)
        shown = [figure(overlap, 1, percent=True), figure(similarity, 1, percent=True)]
        return [name, *shown, *(figure(moved, 2) for moved in moves)]

    filled = found["filled in"]
    rows = [row(name, figures) for name, figures in found.items()]
    rows += [row(f"filled in, above {name}", filled - found[name]) for name in list(found)[1:]]
    head = [f"4 bars at {places} places of {len(filled)} songs", "note overlap (%)", "similarity at the joint (%)"]
    return markdown([*head, "melody moves (semitones)", "bass moves (semitones)"], rows)
