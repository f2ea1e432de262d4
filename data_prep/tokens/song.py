"""A song on the grid of onset positions, read from a MIDI file through miditoolkit."""

from __future__ import annotations

import io
import struct
from collections.abc import Iterable
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from miditoolkit import MidiFile

from data_prep.tokens.meta_events import without_damaged_meta_events
from data_prep.tokens.vocabulary import DRUMS, POSITIONS_PER_QUARTER

# The longest wait one MIDI event can hold. A song longer than this (77 hours at 120 bpm and 480 ticks a
# quarter) comes from a damaged length field.
MAX_TICK = 0x0FFFFFFF

_HEADER = struct.Struct(">4sL")  # chunk name and length

Value = TypeVar("Value")


class SongError(ValueError):
    """A song that cannot be read or encoded; the message reads ``fault: what exactly; what to do``."""


@dataclass(frozen=True)
class Song:
    """A quantised song; times are in positions (twelfths of a quarter note).

    ``notes``: int64 [N, 5], columns onset, duration, pitch, velocity, instrument (0-127 the General MIDI
    program, 128 drums), in file order. ``tempos`` and ``metres``: changes as (position, beats per minute)
    and (position, (numerator, denominator)), at rising positions, all before the last onset.
    ``dropped_notes`` counts the notes of length zero that were left out, ``damaged_events`` the meta events.
    """

    notes: np.ndarray
    tempos: list[tuple[int, float]]
    metres: list[tuple[int, tuple[int, int]]]
    dropped_notes: int = 0
    damaged_events: int = 0


def read_song(path: str | Path) -> Song:
    """Read a MIDI file. Notes of length zero and damaged meta events are dropped and counted; all else is kept.

    A position is round(12 * tick / ticks per quarter), halves to even. Raises SongError when the file
    is no MIDI file, is damaged, has no beats (SMPTE division) or holds no notes.
    """
    midi, damaged = parse_damaged_midi(Path(path))
    return replace(song_of(midi), damaged_events=damaged)


def song_of(midi: MidiFile) -> Song:
    """Quantise a parsed MIDI file; see ``read_song``."""
    notes, dropped = sounding_notes(midi)
    spans = _positions(notes[:, :2], midi.ticks_per_beat)
    tempos, metres = changes_of(midi, last_onset=int(spans[:, 0].max()))
    return Song(
        notes=np.column_stack([spans[:, 0], spans[:, 1] - spans[:, 0], notes[:, 2:5]]),
        tempos=tempos,
        metres=metres,
        dropped_notes=dropped,
    )


def changes_of(midi: MidiFile, last_onset: int) -> tuple[list[tuple[int, float]], list[tuple[int, tuple[int, int]]]]:
    """The changes of tempo and of metre before ``last_onset``, in the form of ``Song``."""
    tempos = ((change.time, change.tempo) for change in midi.tempo_changes)
    metres = ((change.time, (change.numerator, change.denominator)) for change in midi.time_signature_changes)
    quarter = midi.ticks_per_beat
    return _changes(tempos, quarter, last_onset), _changes(metres, quarter, last_onset)


def sounding_notes(midi: MidiFile) -> tuple[np.ndarray, int]:
    """The notes of all tracks, and how many of length zero were left out.

    int64 [N, 6], in file order: start tick, end tick, pitch, velocity, instrument, index of the track.
    Raises SongError as ``read_song`` does.
    """
    ticks_per_quarter = midi.ticks_per_beat
    if ticks_per_quarter <= 0:
        raise SongError(
            f"no beats: its header gives {ticks_per_quarter} ticks per quarter note (zero is damage, "
            "negative is SMPTE time, which has no bars); export it again with a division in ticks per quarter"
        )
    notes = _notes(midi)
    sounding = notes[:, 1] > notes[:, 0]
    dropped = len(notes) - int(sounding.sum())
    notes = notes[sounding]
    if not len(notes):
        held = f"all its {dropped} notes have length zero" if dropped else "the file holds none"
        raise SongError(f"no notes: {held}")
    if notes[:, 1].max() > MAX_TICK:
        raise SongError(f"damaged times: a note ends at tick {notes[:, 1].max()}, later than any song could")
    return notes, dropped


def parse_midi(path: Path) -> MidiFile:
    """Parse a MIDI file as ``parse_damaged_midi`` does."""
    return parse_damaged_midi(path)[0]


def parse_damaged_midi(path: Path) -> tuple[MidiFile, int]:
    """Parse a MIDI file; returns it with the number of damaged meta events that were left out.

    Raises SongError when it cannot be opened, is no MIDI file or has other damage, a damaged metre among it.
    """
    try:
        with path.open("rb") as stream:  # the parser's own error would read like that of a damaged file
            header = stream.read(_HEADER.size)
    except OSError as error:
        raise SongError(f"cannot be opened: {error.strerror or error}") from None
    if not header.startswith(b"MThd"):
        fault = "it does not begin with MThd" if header else "it is empty"
        raise SongError(f"not a MIDI file: {fault}")
    # The parser would ask for as much memory as a damaged header length says.
    if len(header) < _HEADER.size or _HEADER.unpack(header)[1] > path.stat().st_size:
        raise SongError("damaged MIDI: its header is cut short or gives a length past the end of the file")
    try:
        return MidiFile(str(path)), 0
    except MemoryError:
        raise
    except EOFError:
        raise SongError("damaged MIDI: the file ends too early; fetch or export it again") from None
    except Exception as error:  # the parser lets any exception through on malformed bytes
        content, damaged = without_damaged_meta_events(path.read_bytes())
        if damaged:
            with suppress(Exception):
                return MidiFile(file=io.BytesIO(content)), damaged
        described = f"{error}".strip().rstrip(".") or "no more is known"
        raise SongError(f"damaged MIDI: {described} ({type(error).__name__} in the parser)") from None


def _notes(midi: MidiFile) -> np.ndarray:
    rows = [
        (note.start, note.end, note.pitch, note.velocity, instrument_id, track)
        for track, instrument in enumerate(midi.instruments)
        for instrument_id in [DRUMS if instrument.is_drum else int(instrument.program)]
        for note in instrument.notes
    ]
    try:
        return np.array(rows, dtype=np.int64).reshape(-1, 6)
    except OverflowError:
        raise SongError("damaged times: a note lies later than 2^63 ticks") from None


def _positions(ticks: np.ndarray, ticks_per_quarter: int) -> np.ndarray:
    return np.rint(ticks * POSITIONS_PER_QUARTER / ticks_per_quarter).astype(np.int64)


def _changes(changes: Iterable[tuple[int, Value]], ticks_per_quarter: int, last_onset: int) -> list[tuple[int, Value]]:
    """At each position before the last onset the last change that falls on it, positions rising."""
    kept: dict[int, Value] = {}
    for tick, value in changes:
        position = round(tick * POSITIONS_PER_QUARTER / ticks_per_quarter)
        if position < last_onset:
            kept[position] = value
    return sorted(kept.items(), key=lambda change: change[0])
