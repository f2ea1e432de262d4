"""How well an accompaniment fits that is written to the melody of a song.

Of excerpts of songs the melody is given and everything else written. *Chord agreement* is the share, by the time that
they sound, of the notes of the accompaniment (neither melody nor drums) that are tones of the chords of the true song;
these are heard from the song's own accompaniment, half bar by half bar (``chords``). A note of the song's own is one of
those that its chord is heard from; so the same is measured with each track under the chords of the song's other tracks.
A melody can bear other chords: *melody in the chords* is the share of the melody that are tones of the chords of the
accompaniment that is measured. Beside what is written stand the song's own accompaniment, that of another song, and
all tones of the likeliest chords of the melody (``melody_harmony``): as much, at least, can be heard in it alone.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np

from data_prep.tokens.coded_notes import INSTRUMENT
from data_prep.tokens.vocabulary import DRUMS, SIX_TRACK
from evaluation.bootstrap import Bootstrap, ratio_of_sums
from museformer_plugin.steering.wishes import Wishes

from .chords import HALF_BAR, TEMPLATES, agreement, chord_indices, chord_tones, chroma
from .melody_harmony import MelodyHarmony
from .pieces import Piece, excerpts
from .tables import figure, markdown
from .writer import Writer

BARS = 16  # of an excerpt
MELODY = SIX_TRACK.instrument_of("melody")
TRACKS = tuple(track for track in SIX_TRACK.instruments if track not in (MELODY, DRUMS))  # of an accompaniment
CHORD, OTHER_TRACKS, MELODY_IN_CHORDS = (slice(first, first + 2) for first in (0, 2, 4))


def sounding(piece: Piece, tracks: Sequence[int]) -> np.ndarray:
    """float64 [half bars, 12]: what sounds of these ``tracks``."""
    return chroma(piece.notes[np.isin(piece.notes[:, INSTRUMENT], tracks)], len(piece))


def melody_of(piece: Piece) -> list[tuple[int, ...]]:
    """The notes of the melody, in their order."""
    return [tuple(note) for note in piece.notes[piece.notes[:, INSTRUMENT] == MELODY].tolist()]


def agreements(song: Piece, accompanied: Piece) -> list[float]:
    """How long it agrees, and how long it sounds: the accompaniment with the chords of ``song``, the same track by
    track with those of its other tracks, the melody of ``song`` with the chords of the accompaniment."""
    chords = chord_tones(sounding(song, TRACKS))
    by_others = np.zeros(2)
    for track in TRACKS:
        others = chord_tones(sounding(song, [other for other in TRACKS if other != track]))
        by_others += agreement(sounding(accompanied, [track]), others)
    written = sounding(accompanied, TRACKS)
    melody = agreement(sounding(song, [MELODY]), chord_tones(written))
    return [*agreement(written, chords), *by_others.tolist(), *melody]


def harmony_of(songs: Iterable[Piece]) -> MelodyHarmony:
    """What is learnt from songs of the chords of a melody."""
    return MelodyHarmony.learn((chord_indices(sounding(song, TRACKS)), sounding(song, [MELODY])) for song in songs)


def agreements_of_melody(song: Piece, harmony: MelodyHarmony) -> list[float]:
    """``agreements`` of the likeliest chords of the melody, whose tones sound throughout; of tracks there are none."""
    melody = sounding(song, [MELODY])
    tones = TEMPLATES[harmony.likeliest(melody)]
    written = agreement(tones * HALF_BAR, chord_tones(sounding(song, TRACKS)))
    return [*written, np.nan, np.nan, *agreement(melody, tones)]


def report(writer: Writer, songs: Sequence[Piece], learnt_from: Iterable[Piece], count: int, seed: int) -> str:
    """The table of ``count`` excerpts, and whether their melodies came back; the chords of melodies are learnt from
    other songs."""
    families = writer.families
    given = frozenset({families.representation.instruments.index(MELODY)})
    true = excerpts(songs, count, BARS, families, np.random.default_rng(seed))
    written = writer.write([Wishes(given_tracks=given).request_for(piece.tokens, families) for piece in true])
    intact = sum(melody_of(piece) == melody_of(song) for piece, song in zip(written, true))
    groups = {"written": written, "the song's own": true, "another song's": [*true[1:], *true[:1]]}
    found = {
        name: np.array([agreements(song, other) for song, other in zip(true, others)])
        for name, others in groups.items()
    }
    own = found["the song's own"]
    harmony = harmony_of(learnt_from)
    found["the melody's likeliest chords"] = np.array([agreements_of_melody(song, harmony) for song in true])
    rows = [_row(name, sums) for name, sums in found.items()]
    rows += [_below(name, sums, own) for name, sums in found.items() if sums is not own]
    head = ["accompaniment", "chord agreement (%)", "by the chords of other tracks (%)", "melody in the chords (%)"]
    told = f"{intact} of {count} melodies of {BARS} bars came back note for note."
    return f"{told}\n\n{markdown([*head, 'notes sounding at once'], rows)}"


def _row(name: str, sums: np.ndarray) -> list[str]:
    bootstrap = Bootstrap()
    kinds = (CHORD, OTHER_TRACKS, MELODY_IN_CHORDS)
    shares = [figure(bootstrap.estimate(ratio_of_sums, sums[:, kind]), 1, percent=True) for kind in kinds]
    return [name, *shares, figure(bootstrap.mean(sums[:, 1] / (2 * BARS * HALF_BAR)), 1)]


def _below(name: str, sums: np.ndarray, own: np.ndarray) -> list[str]:
    """How many points the shares lie below the song's own, paired."""
    bootstrap = Bootstrap()
    points = []
    for kind in (CHORD, OTHER_TRACKS, MELODY_IN_CHORDS):
        both = np.column_stack([sums[:, kind], own[:, kind]])
        below = bootstrap.estimate(lambda total: ratio_of_sums(total[2:]) - ratio_of_sums(total[:2]), both)
        points.append(figure(below, 1, percent=True))
    return [f"{name}, below the song's own", *points, ""]
