"""How well an accompaniment fits that is written to the melody of a song.

Of excerpts of songs the melody is given and everything else written. *Chord agreement* is the share, by the time that
they sound, of the notes of the accompaniment (neither melody nor drums) that are tones of the chords of the true song;
these are heard from the song's own accompaniment, half bar by half bar (``chords``). Beside it stand the song's own
accompaniment, which has the advantage that the chords are heard from it, and that of another song, under the same
chords. Sevenths are among the chords, so that what is written gains by them too.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_prep.tokens.coded_notes import INSTRUMENT
from data_prep.tokens.vocabulary import DRUMS, SIX_TRACK
from evaluation.bootstrap import Bootstrap, ratio_of_sums
from museformer_plugin.steering.wishes import Wishes

from .chords import HALF_BAR, agreement, chord_tones, chroma
from .pieces import Piece, excerpts
from .tables import figure, markdown
from .writer import Writer

BARS = 16  # of an excerpt
MELODY = SIX_TRACK.instrument_of("melody")


def accompaniment_of(piece: Piece) -> np.ndarray:
    """float64 [half bars, 12]: what sounds of a piece but for melody and drums."""
    notes = piece.notes
    return chroma(notes[(notes[:, INSTRUMENT] != MELODY) & (notes[:, INSTRUMENT] != DRUMS)], len(piece))


def melody_of(piece: Piece) -> list[tuple[int, ...]]:
    """The notes of the melody, in their order."""
    return [tuple(note) for note in piece.notes[piece.notes[:, INSTRUMENT] == MELODY].tolist()]


def agreements(true: Sequence[Piece], others: Sequence[Piece]) -> np.ndarray:
    """float64 [pieces, 2]: how long the accompaniments of ``others`` are chord tones of ``true`` ones, and sound."""
    pairs = zip(true, others)
    return np.array([agreement(accompaniment_of(other), chord_tones(accompaniment_of(song))) for song, other in pairs])


def report(writer: Writer, songs: Sequence[Piece], count: int, seed: int) -> str:
    """The table of ``count`` excerpts, and whether their melodies came back."""
    families = writer.families
    given = frozenset({families.representation.instruments.index(MELODY)})
    true = excerpts(songs, count, BARS, families, np.random.default_rng(seed))
    written = writer.write([Wishes(given_tracks=given).request_for(piece.tokens, families) for piece in true])
    intact = sum(melody_of(piece) == melody_of(song) for piece, song in zip(written, true))
    bootstrap = Bootstrap()
    found = {
        "written": agreements(true, written),
        "the song's own": agreements(true, true),
        "another song's": agreements(true, [*true[1:], *true[:1]]),
    }
    own = found["the song's own"]
    rows = []
    for name, sums in found.items():
        below = bootstrap.estimate(
            lambda both: ratio_of_sums(both[2:]) - ratio_of_sums(both[:2]), np.column_stack([sums, own])
        )
        share = figure(bootstrap.estimate(ratio_of_sums, sums), 1, percent=True)
        notes_sound = figure(bootstrap.mean(sums[:, 1] / (2 * BARS * HALF_BAR)), 1)
        rows.append([name, share, "" if sums is own else figure(below, 1, percent=True), notes_sound])
    head = ["accompaniment", "chord agreement (%)", "below the song's own (points)", "notes sounding at once"]
    told = f"{intact} of {count} melodies of {BARS} bars came back note for note."
    return f"{told}\n\n{markdown(head, rows)}"
