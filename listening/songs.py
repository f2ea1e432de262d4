"""A MIDI file as the data that the page draws and plays."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any

import numpy as np
from miditoolkit import MidiFile

from data_prep.similarity.matrix import similarity_matrix
from data_prep.tokens.encode import Bars, bars_of
from data_prep.tokens.song import Song, SongError, parse_midi, song_of, sounding_notes
from data_prep.tokens.vocabulary import (
    DEFAULT_TEMPO_BPM,
    METRES,
    POSITIONS_PER_QUARTER,
    SIX_TRACK,
    bar_length,
    duration_id,
)

# A finer picture than this has cells smaller than a pixel, and would fill the page.
MAX_CELLS = 256
_EMPTY = 255  # the cell of two empty bars; 0 ... 250 are similarities
_MELODY = SIX_TRACK.instrument_of("melody")


def read_for_page(path: Path) -> dict[str, Any]:
    """The song as JSON data; raises SongError when the file cannot be read, laid out in bars or holds no notes.

    ``file``, ``name``; ``division``, ticks per quarter note, the unit of all times; ``tempos``, pairs of a tick and
    beats per minute; ``bars``, the tick of each bar line, the last one's end included; ``metres``, pairs of a bar (from
    0) and a text such as 3/4, where it changes; ``tracks``, for each instrument its ``program`` (128 drums) and
    ``notes``, four numbers each: ticks since the last note's start, ticks of length, pitch, velocity;
    ``similarity``, see ``picture_of``; ``midi``, the file itself in base64.
    """
    midi = parse_midi(path)
    song = song_of(midi)
    bars = bars_of(song)
    ticks = midi.ticks_per_beat / POSITIONS_PER_QUARTER
    lines = np.append(bars.starts, bars.starts[-1] + bar_length(*METRES[bars.metres[-1]])) * ticks
    return {
        "file": path.name,
        "name": path.stem,
        "division": midi.ticks_per_beat,
        "tempos": _tempos(midi),
        "bars": lines.round().astype(int).tolist(),
        "metres": _metres(bars),
        "tracks": _tracks(midi),
        "similarity": _pictures(song, bars),
        "midi": base64.b64encode(path.read_bytes()).decode("ascii"),
    }


def _tempos(midi: MidiFile) -> list[tuple[int, float]]:
    """Changes at rising ticks, the first at 0; of changes at one tick the last holds."""
    changes = {0: DEFAULT_TEMPO_BPM}
    changes |= {max(0, change.time): change.tempo for change in midi.tempo_changes}
    if not all(np.isfinite(bpm) and bpm > 0 for bpm in changes.values()):
        raise SongError("damaged tempo: it is not above zero")
    return [(tick, round(bpm, 4)) for tick, bpm in sorted(changes.items())]


def _metres(bars: Bars) -> list[tuple[int, str]]:
    changed = np.flatnonzero(np.diff(bars.metres, prepend=-1))
    return [(int(bar), "{}/{}".format(*METRES[bars.metres[bar]])) for bar in changed]


def _tracks(midi: MidiFile) -> list[dict[str, Any]]:
    """One for each instrument, the six tracks in their order first, then by program, drums last."""
    notes, _ = sounding_notes(midi)
    notes = notes[np.lexsort((notes[:, 2], notes[:, 0]))]
    known = list(SIX_TRACK.instruments)
    order = sorted(np.unique(notes[:, 4]).tolist(), key=lambda i: (known.index(i) if i in known else len(known), i))
    return [{"program": instrument, "notes": _flat(notes[notes[:, 4] == instrument])} for instrument in order]


def _flat(notes: np.ndarray) -> list[int]:
    since = np.diff(notes[:, 0], prepend=0)
    return np.column_stack([since, notes[:, 1] - notes[:, 0], notes[:, 2:4]]).reshape(-1).tolist()


def _pictures(song: Song, bars: Bars) -> list[dict[str, Any]]:
    """Of all tracks and, where there is one among others, of the melody."""
    onsets, durations, pitches, _, instruments = song.notes.T
    bar = np.searchsorted(bars.starts, onsets, side="right") - 1
    kinds = np.array([duration_id(duration) for duration in durations.tolist()])
    notes = np.column_stack([bar, instruments, onsets - bars.starts[bar], pitches, kinds])
    pictures = [{"of": "all tracks", **picture_of(similarity_matrix(notes, len(bars.starts)))}]
    melody = notes[notes[:, 1] == _MELODY]
    if 0 < len(melody) < len(notes):
        pictures.append({"of": "melody", **picture_of(similarity_matrix(melody, len(bars.starts)))})
    return pictures


def picture_of(matrix: np.ndarray) -> dict[str, Any]:
    """float64 [bars, bars] as a picture of at most MAX_CELLS cells a side.

    ``size`` cells a side, each of ``bars_per_cell`` bars, of which it has the mean; ``cells``, base64, a byte each, row
    by row: 250 is alike, 0 different, 255 says that all bars are empty.
    """
    step = -(-len(matrix) // MAX_CELLS)
    edges = np.arange(0, len(matrix), step)
    filled = ~np.isnan(matrix)
    sums = _blocks(np.where(filled, matrix, 0.0), edges)
    counts = _blocks(filled.astype(float), edges)
    cells = np.full(sums.shape, _EMPTY, dtype=np.uint8)
    some = counts > 0
    cells[some] = np.rint(250 * sums[some] / counts[some])
    return {
        "size": len(edges),
        "bars_per_cell": step,
        "cells": base64.b64encode(cells.tobytes()).decode("ascii"),
    }


def _blocks(matrix: np.ndarray, edges: np.ndarray) -> np.ndarray:
    return np.add.reduceat(np.add.reduceat(matrix, edges, axis=0), edges, axis=1)
