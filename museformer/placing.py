"""Where written bars go: into a new song, or into that of the caller."""

from __future__ import annotations

import copy
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol

from miditoolkit import Instrument, MidiFile, Note, TempoChange

from data_prep.source.source_song import SourceSong
from data_prep.source.write import with_written_bars
from data_prep.source.written_notes import bar_lines, decode_bar
from data_prep.tokens.decode import TICKS_PER_POSITION, TICKS_PER_QUARTER, decode
from data_prep.tokens.vocabulary import (
    DEFAULT_METRE,
    DEFAULT_TEMPO_BPM,
    DRUMS,
    METRES,
    Representation,
    bar_length,
    split_token,
)
from data_prep.tokens_to_midi import shift_pitches


@dataclass(frozen=True)
class WrittenBar:
    """A bar as it comes out of a stream.

    ``number`` counts from 1. ``tokens``: as the model spelled it, in C major or A minor. ``instruments``: miditoolkit
    tracks that hold the bar's notes, in the song's key. Times are ticks of the whole song, ``ticks_per_beat`` a quarter
    note; the bar lasts from ``start`` to ``end``. ``tempo``: where it begins, quarter notes a minute.
    """

    number: int
    tokens: tuple[str, ...] = field(repr=False)
    instruments: list[Instrument] = field(repr=False)
    start: int
    end: int
    ticks_per_beat: int
    tempo: float


class Place(Protocol):
    """What becomes of bars, by number their tokens up to ``b-1``."""

    def bar(self, number: int, written: Mapping[int, Sequence[str]]) -> WrittenBar:
        """The last of the bars ``written`` so far."""
        ...

    def song(self, written: Mapping[int, Sequence[str]]) -> MidiFile:
        """The whole song with these bars."""
        ...


class NewSong:
    """A song from scratch, ``semitones`` above C major or A minor; ``tempo`` in place of those written, if any."""

    def __init__(self, representation: Representation, semitones: int, tempo: float) -> None:
        self._representation = representation
        self._semitones, self._tempo = semitones, tempo
        self._latest_tempo = tempo or DEFAULT_TEMPO_BPM
        self._end = 0

    def bar(self, number: int, written: Mapping[int, Sequence[str]]) -> WrittenBar:
        """The last of the bars ``written`` so far; bars come in their order, each once."""
        tokens = written[number]
        start, self._end = self._end, self._end + self._length(tokens)
        midi = self.song({number: tokens})
        for track in midi.instruments:
            track.name = self._representation.name_of(DRUMS if track.is_drum else track.program)
            for note in track.notes:
                note.start, note.end = note.start + start, note.end + start
        changes = midi.tempo_changes if any(token.startswith("t-") for token in tokens) else []
        tempo = next((change.tempo for change in changes if change.time == 0), self._latest_tempo)
        self._latest_tempo = changes[-1].tempo if changes else tempo
        return WrittenBar(number, tuple(tokens), midi.instruments, start, self._end, TICKS_PER_QUARTER, tempo)

    def _length(self, tokens: Sequence[str]) -> int:
        metre = METRES[split_token(tokens[0])[1]] if self._representation.has_metre else DEFAULT_METRE
        return bar_length(*metre) * TICKS_PER_POSITION

    def song(self, written: Mapping[int, Sequence[str]]) -> MidiFile:
        """The whole song with these bars."""
        tokens = [token for number in sorted(written) for token in written[number]]
        midi = decode(tokens, self._representation, strict=bool(tokens)).midi
        shift_pitches(midi, self._semitones)
        if self._tempo:
            midi.tempo_changes = [TempoChange(self._tempo, 0)]
        return midi


class IntoSong:
    """The caller's song.

    ``given_tracks``: names of those whose notes stay in written bars too. ``cut_after``: the bar behind which nothing
    of the song stays. ``tempo``: that of written bars where one was asked for, else 0.
    """

    def __init__(self, source: SourceSong, given_tracks: Collection[str], cut_after: int | None, tempo: float) -> None:
        self._source, self._given, self._cut_after, self._tempo = source, given_tracks, cut_after, tempo
        self._notes_given = self._by_bar(set(source.instruments_of(given_tracks)))

    def bar(self, number: int, written: Mapping[int, Sequence[str]]) -> WrittenBar:
        """The last of the bars ``written`` so far."""
        source, last = self._source, self._source.bar_count if self._cut_after is None else self._cut_after
        lines = bar_lines(source, written, last)
        notes = decode_bar(source, lines, number, written[number])
        start, end = source.tick_of(lines.starts[number]), source.tick_of(lines.starts[number + 1])
        notes.update(self._given_notes(number))
        tracks = [self._track(instrument, played) for instrument, played in sorted(notes.items())]
        tempo = self._tempo or self._tempo_at(start)
        return WrittenBar(number, tuple(written[number]), tracks, start, end, source.midi.ticks_per_beat, tempo)

    def _by_bar(self, instruments: Collection[int]) -> dict[int, list[tuple[int, Note]]]:
        """The notes of the given tracks by the bar in which they begin, with their instrument, as in the file."""
        found: dict[int, list[tuple[int, Note]]] = {}
        for track, index, instrument, bar in self._source.file_notes.tolist():
            if instrument in instruments:
                found.setdefault(bar, []).append((instrument, self._source.midi.instruments[track].notes[index]))
        return found

    def _given_notes(self, number: int) -> dict[int, list[Note]]:
        """Those of the given tracks in a bar, by instrument."""
        found: dict[int, list[Note]] = {}
        for instrument, note in self._notes_given.get(number, ()):
            found.setdefault(instrument, []).append(copy.copy(note))
        return found

    def _tempo_at(self, tick: int) -> float:
        changes = sorted(self._source.midi.tempo_changes, key=lambda change: change.time)
        return next((change.tempo for change in reversed(changes) if change.time <= tick), DEFAULT_TEMPO_BPM)

    def _track(self, instrument: int, notes: list[Note]) -> Instrument:
        drums = instrument == DRUMS
        track = Instrument(0 if drums else instrument, drums, self._source.representation.name_of(instrument))
        track.notes = notes
        return track

    def song(self, written: Mapping[int, Sequence[str]]) -> MidiFile:
        """The whole song with these bars."""
        return with_written_bars(self._source, written, self._given, self._cut_after, self._tempo)
