"""One wild MIDI file to one song fit for training, or the rule that it breaks."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from miditoolkit import Instrument, MidiFile, Note, TempoChange, TimeSignature

from data_prep.six_track.grid import fit_grid
from data_prep.six_track.melody import Melody, find_melody
from data_prep.six_track.roles import assign_roles, merge
from data_prep.six_track.rules import MIN_CONCENTRATION, QUALITY_RULES, RULES, Candidate, fingerprint, first_broken
from data_prep.six_track.tracks import Track, features_of, read_tracks
from data_prep.tokens.decode import TICKS_PER_POSITION, TICKS_PER_QUARTER, midi_bytes
from data_prep.tokens.encode import Bars, bars_of
from data_prep.tokens.song import Song, SongError, Value, changes_of, parse_midi
from data_prep.tokens.vocabulary import DEFAULT_METRE, DEFAULT_TEMPO_BPM, DRUMS, SIX_TRACK

READABLE_RULE = "readable"  # the file is MIDI with notes and bars
_TRACK_NAMES = SIX_TRACK.track_names()


@dataclass(frozen=True)
class PrepareOptions:
    """How songs are prepared.

    ``general`` keeps all programs and metres; ``left_out`` names rules that are not applied; without
    ``use_names`` the names of tracks are not looked at.
    """

    general: bool = False
    left_out: frozenset[str] = frozenset()
    use_names: bool = True


@dataclass(frozen=True)
class Prepared:
    """A song that keeps all rules: its MIDI file, and what the report says of it.

    ``offset`` in positions was removed from all onsets; ``concentration`` is that of ``GridFit``;
    ``melody`` names its tracks by number and name, ``margin`` is its lead over the next candidate.
    """

    midi: bytes
    notes: int
    bars: int
    offset: float
    concentration: float
    melody: str
    margin: float
    fingerprint: str


@dataclass(frozen=True)
class Rejected:
    """A song that breaks ``rule``; ``reason`` reads ``fault: what exactly``."""

    rule: str
    reason: str


def prepare_song(path: Path, options: PrepareOptions) -> Prepared | Rejected:
    """Prepare a MIDI file: roles, merge, grid, then the rules in order. Raises nothing for any file."""
    try:
        midi = parse_midi(path)
        tracks, _ = read_tracks(midi)
    except SongError as error:
        return Rejected(READABLE_RULE, str(error))
    melody, instruments = _roles(tracks, options)
    onsets = np.concatenate([track.notes[:, 0] for track in tracks])
    tempos, metres = changes_of(midi, int(onsets.max()) + 1)
    grid = fit_grid(onsets, _quarter_seconds(tempos, onsets))
    steady = grid.concentration >= MIN_CONCENTRATION
    if not steady or "grid" in options.left_out:
        grid = replace(grid, offset=0.0)
    notes = merge(tracks, instruments, grid.offset)
    if not len(notes):
        return Rejected(READABLE_RULE, "no notes for the six tracks: nothing but percussion and effects with a pitch")
    try:
        song, bars = _from_first_bar(Song(notes, tempos, metres))
    except SongError as error:
        return Rejected(READABLE_RULE, str(error))
    candidate = Candidate(song, bars, grid, melody)
    rules = QUALITY_RULES if options.general else RULES
    broken = first_broken(candidate, {name: rule for name, rule in rules.items() if name not in options.left_out})
    if broken:
        return Rejected(*broken)
    return Prepared(
        midi=midi_bytes(song_midi(song)),
        notes=len(song.notes),
        bars=len(bars.starts),
        offset=grid.offset,
        concentration=grid.concentration,
        melody=", ".join(f"{track.number} {track.name}".strip() for track in melody.tracks) if melody else "",
        margin=melody.margin if melody else math.nan,
        fingerprint=fingerprint(candidate),
    )


def _roles(tracks: list[Track], options: PrepareOptions) -> tuple[Melody | None, dict[int, int | None]]:
    if options.general:
        return None, {track.number: track.instrument for track in tracks}
    features = features_of(tracks)
    melody = find_melody(tracks, features, options.use_names)
    return melody, assign_roles(tracks, features, melody.tracks)


def _quarter_seconds(tempos: list[tuple[int, float]], onsets: np.ndarray) -> np.ndarray:
    """float64, shaped like ``onsets`` (in positions): how long a quarter note lasts at each."""
    positions = [position for position, _ in tempos]
    seconds = 60 / np.array([DEFAULT_TEMPO_BPM, *(bpm for _, bpm in tempos)])
    return seconds[np.searchsorted(positions, onsets, side="right")]


def _from_first_bar(song: Song) -> tuple[Song, Bars]:
    """The song with the bars before its first note cut off, and its bars, the first at position 0.

    Raises SongError as ``bars_of`` does.
    """
    bars = bars_of(song)
    first = bars.holding(song.notes[:, 0].min())
    start = int(bars.starts[first])
    notes = song.notes.copy()
    notes[:, 0] -= start
    cut = Song(notes, _changes_since(song.tempos, start), _changes_since(song.metres, start), song.dropped_notes)
    return cut, Bars(bars.starts[first:] - start, bars.metres[first:])


def _changes_since(changes: list[tuple[int, Value]], start: int) -> list[tuple[int, Value]]:
    """``changes`` counted from ``start``; what is in force there stands at 0."""
    kept = {max(0, position - start): value for position, value in changes}
    return sorted(kept.items(), key=lambda change: change[0])


def song_midi(song: Song) -> MidiFile:
    """A song on the grid as MIDI at 480 ticks per quarter, a track an instrument in the order of tokens."""
    midi = MidiFile(ticks_per_beat=TICKS_PER_QUARTER)
    order = {instrument: rank for rank, instrument in enumerate(SIX_TRACK.instruments)}
    for instrument in sorted(set(song.notes[:, 4].tolist()), key=lambda i: (order.get(i, len(order)), i)):
        drums = instrument == DRUMS
        track = Instrument(0 if drums else instrument, drums, name=_TRACK_NAMES.get(instrument, str(instrument)))
        rows = song.notes[song.notes[:, 4] == instrument]
        track.notes = [
            Note(velocity, pitch, onset * TICKS_PER_POSITION, (onset + duration) * TICKS_PER_POSITION)
            for onset, duration, pitch, velocity, _ in rows.tolist()
        ]
        midi.instruments.append(track)
    tempos = song.tempos if song.tempos and song.tempos[0][0] == 0 else [(0, DEFAULT_TEMPO_BPM), *song.tempos]
    midi.tempo_changes = [TempoChange(bpm, position * TICKS_PER_POSITION) for position, bpm in tempos]
    metres = song.metres if song.metres and song.metres[0][0] == 0 else [(0, DEFAULT_METRE), *song.metres]
    midi.time_signature_changes = [TimeSignature(*metre, position * TICKS_PER_POSITION) for position, metre in metres]
    midi.max_tick = int((song.notes[:, 0] + song.notes[:, 1]).max()) * TICKS_PER_POSITION
    return midi
