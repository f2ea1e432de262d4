"""Whether a piece that is told how many bars it has ends there, and whether it sounds like an end.

Of each piece: notes a bar in its last two bars, and these over the notes a bar in its middle half; how many quarters
the last note of the melody lasts, and of the bass (of notes at one onset the highest, the lowest); whether each is the
tonic, C or A, as all songs are in C major or A minor; how many quarters lie between the last onset of all and the end
of the last bar. The same of real songs, and, to tell an end from any other bar, of the first bars of written pieces and
of real songs that are cut off at a random place.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_prep.tokens.coded_notes import BAR, DURATION, INSTRUMENT, ONSET, PITCH
from data_prep.tokens.vocabulary import POSITIONS_PER_QUARTER, POSITIONS_PER_WHOLE, SIX_TRACK, duration_of
from evaluation.bootstrap import Bootstrap
from museformer_plugin.steering.wishes import Wishes

from .pieces import Piece
from .tables import figure, markdown
from .writer import Writer

BARS = (16, 24, 32)
LAST = 2  # bars that are an ending
LEAST = 8  # bars of a piece that is cut off, at least
TONICS = (0, 9)  # pitch classes
MELODY, BASS = (SIX_TRACK.instrument_of(name) for name in ("melody", "bass"))
FIGURES = (
    "notes a bar",
    "of those in the middle (%)",
    "last melody note (quarters)",
    "last bass note (quarters)",
    "melody ends on C or A (%)",
    "bass ends on C or A (%)",
    "last onset to the end (quarters)",
)
_PERCENT = [name.endswith("(%)") for name in FIGURES]


def ending_of(notes: np.ndarray, bars: int) -> list[float]:
    """The FIGURES, shares from 0 to 1, of a piece of so many bars; ``notes`` int64 [N, 6], later ones left out.

    NaN where there are no such notes.
    """
    notes = notes[notes[:, BAR] < bars]
    a_bar = np.bincount(notes[:, BAR], minlength=bars)
    middle = a_bar[bars // 4 : bars - bars // 4].mean()
    at_end = a_bar[-LAST:].mean()
    melody, bass = _last(notes, MELODY, 1), _last(notes, BASS, -1)
    lengths = [np.nan if note is None else duration_of(int(note[DURATION])) for note in (melody, bass)]
    tonics = [np.nan if note is None else float(note[PITCH] % 12 in TONICS) for note in (melody, bass)]
    onsets = notes[:, BAR] * POSITIONS_PER_WHOLE + notes[:, ONSET]
    left = (bars * POSITIONS_PER_WHOLE - onsets.max()) / POSITIONS_PER_QUARTER if len(notes) else np.nan
    quarters = [length / POSITIONS_PER_QUARTER for length in lengths]
    return [at_end, at_end / middle if middle else np.nan, *quarters, *tonics, float(left)]


def _last(notes: np.ndarray, instrument: int, sign: int) -> np.ndarray | None:
    """The last note of an instrument, of those at its onset the highest (``sign`` 1) or the lowest (-1)."""
    chosen = notes[notes[:, INSTRUMENT] == instrument]
    if not len(chosen):
        return None
    return chosen[np.lexsort((sign * chosen[:, PITCH], chosen[:, ONSET], chosen[:, BAR]))[-1]]


def cut_off(pieces: Sequence[Piece], chance: np.random.Generator) -> list[tuple[np.ndarray, int]]:
    """Notes and bars of each piece up to a random place before its ending; pieces too short for that are left out."""
    long_enough = [piece for piece in pieces if len(piece) >= LEAST + LAST]
    return [(piece.notes, int(chance.integers(LEAST, len(piece) - LAST + 1))) for piece in long_enough]


def report(writer: Writer, songs: Sequence[Piece], count: int, seed: int) -> str:
    """The table of ``count`` pieces written with BARS in turn, and how many have the bars asked for."""
    asked = [BARS[n % len(BARS)] for n in range(count)]
    nothing = np.empty(0, dtype=np.int64)
    written = writer.write([Wishes(bars=bars).request_for(nothing, writer.families) for bars in asked])
    kept = sum(len(piece) == bars for piece, bars in zip(written, asked))
    chance = np.random.default_rng(seed)
    groups = {
        f"{count} written pieces": [(piece.notes, len(piece)) for piece in written],
        f"{len(songs)} test songs": [(song.notes, len(song)) for song in songs],
        "written pieces cut off": cut_off(written, chance),
        "test songs cut off": cut_off(songs, chance),
    }
    found = {name: np.array([ending_of(*piece) for piece in pieces]) for name, pieces in groups.items()}
    rows = [_row(name, figures) for name, figures in found.items()]
    rows.append(_differences(*list(found.values())[:2]))
    told = f"{kept} of {count} pieces have as many bars as asked for ({', '.join(map(str, BARS))})."
    return f"{told}\n\n{markdown(['last two bars', *FIGURES], rows)}"


def _row(name: str, figures: np.ndarray) -> list[str]:
    bootstrap = Bootstrap()
    columns = zip(figures.T, _PERCENT)
    return [name, *(figure(bootstrap.mean(column), 0 if percent else 1, percent) for column, percent in columns)]


def _differences(written: np.ndarray, real: np.ndarray) -> list[str]:
    bootstrap = Bootstrap()
    columns = zip(written.T, real.T, _PERCENT)
    shown = [figure(bootstrap.mean_difference(w, r), 0 if percent else 1, percent) for w, r, percent in columns]
    return ["written less real", *shown]
