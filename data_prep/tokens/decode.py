"""Decode tokens to MIDI: a state machine that makes something of every line, and says what it skipped."""

from __future__ import annotations

import io
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import dataclass, field

from miditoolkit import Instrument, MidiFile, Note, TempoChange, TimeSignature

from data_prep.tokens.grammar import check_piece
from data_prep.tokens.vocabulary import (
    DEFAULT_METRE,
    DEFAULT_TEMPO_BPM,
    DRUM_PITCH_OFFSET,
    DRUMS,
    FAMILIES,
    GENERAL,
    METRES,
    POSITIONS_PER_QUARTER,
    SIX_TRACK,
    Order,
    Representation,
    TokenError,
    bar_length,
    detect_representation,
    duration_of,
    split_token,
    tempo_of,
    velocity_of,
)

TICKS_PER_QUARTER = 480
TICKS_PER_POSITION = TICKS_PER_QUARTER // POSITIONS_PER_QUARTER

# What a token means does not depend on the representation, so all ids of the larger dictionary are read.
_HIGHEST_ID = {letter: max(ids) for letter, ids in (*SIX_TRACK.entries, *GENERAL.entries) if ids}
# Tokens after which the order of notes begins anew cut off a note that is being spelled.
_CUT_NOTES = {letter for family in FAMILIES if family.order is Order.FALLS for letter in family.since}


@dataclass(frozen=True)
class Decoded:
    """A decoded piece: ``midi`` at 480 ticks per quarter, and a sentence for every token left out."""

    midi: MidiFile
    skipped: list[str]


def decode(tokens: Sequence[str], representation: Representation | None = None, strict: bool = False) -> Decoded:
    """Decode one piece; without ``representation`` it is detected.

    Onsets out of order, bars left open and the like are taken as they come. Tokens that mean nothing where
    they stand (unknown ones, a duration without a pitch ...) are skipped and told. With ``strict``
    TokenError is raised instead, at the first token that breaks the grammar in any way.
    """
    representation = representation or detect_representation(tokens)
    if strict:
        check_piece(tokens, representation)
    reader = _Reader(representation)
    skipped = []
    for position, token in enumerate(tokens, start=1):
        try:
            reader.read(token)
        except TokenError as error:
            skipped.append(f"token {position}: {error}")
    if reader.pitch is not None:
        skipped.append(f"token {len(tokens)}: the line ends inside a note")
    return Decoded(reader.midi(), skipped)


@dataclass
class _Reader:
    """The state machine; times are in positions from the start of the piece."""

    representation: Representation
    bar_start: int = 0
    bar_length: int = bar_length(*DEFAULT_METRE)
    onset: int | None = None  # in the bar; None: nothing can sound yet
    instrument: int = 0  # carried over bars
    pitch: int | None = None  # of the note being spelled
    duration: int | None = None
    notes: dict[int, list[Note]] = field(default_factory=lambda: defaultdict(list))
    tempos: list[TempoChange] = field(default_factory=list)
    metres: list[TimeSignature] = field(default_factory=list)

    def __post_init__(self) -> None:
        if not self.representation.has_metre:
            self.onset = 0

    def read(self, token: str) -> None:
        """Take one token. Raises TokenError when it, or the note that it cuts off, is left out."""
        letter, id_ = split_token(token)
        if letter not in _READ or id_ > _HIGHEST_ID[letter]:
            raise TokenError(f"{token} says nothing about music")
        _READ[letter](self, id_)
        if letter in _CUT_NOTES and self.pitch is not None:
            self.pitch = self.duration = None
            raise TokenError("the note before it is not finished")

    def read_bar_end(self, _id: int) -> None:
        """Go to the first position of the next bar."""
        self.bar_start += self.bar_length
        self.onset = 0

    def read_metre(self, id_: int) -> None:
        """The metre from this bar on."""
        metre = METRES[id_]
        self.bar_length = bar_length(*metre)
        last = self.metres[-1] if self.metres else None
        if last is None or (last.numerator, last.denominator) != metre:
            self.metres.append(TimeSignature(*metre, self.bar_start * TICKS_PER_POSITION))

    def read_onset(self, id_: int) -> None:
        """The position in the bar."""
        self.onset = id_

    def read_tempo(self, id_: int) -> None:
        """The tempo from this onset on."""
        tick, tempo = self._onset_tick(), tempo_of(id_)
        if not self.tempos or self.tempos[-1].tempo != tempo:
            self.tempos.append(TempoChange(tempo, tick))

    def read_instrument(self, id_: int) -> None:
        """The instrument of the notes to come."""
        self.instrument = id_

    def read_pitch(self, id_: int) -> None:
        """The pitch; a note begins."""
        self._onset_tick()
        unfinished = self.pitch is not None
        self.pitch, self.duration = id_ % DRUM_PITCH_OFFSET, None
        if unfinished:
            raise TokenError("the note before it is not finished")

    def read_duration(self, id_: int) -> None:
        """The duration of the note begun."""
        if self.pitch is None:
            raise TokenError(f"d-{id_} has no pitch before it")
        self.duration = duration_of(id_)

    def read_velocity(self, id_: int) -> None:
        """The velocity; the note is complete."""
        if self.pitch is None or self.duration is None:
            raise TokenError(f"v-{id_} has no pitch and duration before it")
        start = self._onset_tick()
        end = start + self.duration * TICKS_PER_POSITION
        self.notes[self.instrument].append(Note(velocity_of(id_), self.pitch, start, end))
        self.pitch = self.duration = None

    def midi(self) -> MidiFile:
        """What has been read so far; programs rise, drums come last."""
        midi = MidiFile(ticks_per_beat=TICKS_PER_QUARTER)
        for instrument in sorted(self.notes):
            drums = instrument == DRUMS
            track = Instrument(0 if drums else instrument, drums, name=str(instrument))
            track.notes = self.notes[instrument]
            midi.instruments.append(track)
        midi.tempo_changes = self.tempos or [TempoChange(DEFAULT_TEMPO_BPM, 0)]
        midi.time_signature_changes = self.metres
        if not self.metres and not self.representation.has_metre:
            midi.time_signature_changes = [TimeSignature(*DEFAULT_METRE, 0)]
        midi.max_tick = max((note.end for notes in self.notes.values() for note in notes), default=0)
        return midi

    def _onset_tick(self) -> int:
        if self.onset is None:
            raise TokenError("no onset position comes before it")
        return (self.bar_start + self.onset) * TICKS_PER_POSITION


# Each family is read by the method of its name.
_READ = {family.letter: getattr(_Reader, "read_" + family.name.replace(" ", "_")) for family in FAMILIES}


def midi_bytes(midi: MidiFile) -> bytes:
    """``midi`` as a MIDI file that reads back with the same notes, controls and events.

    A note-off ends the oldest note sounding on its pitch and track, so a note that ends before an older
    one of its pitch would exchange ends with it. Such notes go to a further track of the same program;
    those tracks come last, so that they take no channel from the first fifteen instruments.
    """
    written = MidiFile(ticks_per_beat=midi.ticks_per_beat)
    written.tempo_changes = midi.tempo_changes
    written.time_signature_changes = midi.time_signature_changes
    written.key_signature_changes = midi.key_signature_changes
    written.lyrics = midi.lyrics
    written.markers = midi.markers
    voices = [(track, _voices(track.notes)) for track in midi.instruments]
    for index in range(max((len(notes) for _, notes in voices), default=0)):
        for track, notes in voices:
            if index < len(notes):
                voice = Instrument(track.program, track.is_drum, track.name)
                voice.notes = notes[index]
                voice.control_changes = track.control_changes
                voice.pitch_bends = track.pitch_bends
                voice.pedals = track.pedals
                written.instruments.append(voice)
    stream = io.BytesIO()
    written.dump(file=stream)
    return stream.getvalue()


def _voices(notes: Sequence[Note]) -> list[list[Note]]:
    """``notes`` split so that within a voice notes of one pitch end in the order in which they start."""
    voices: list[list[Note]] = []
    last_ends: list[dict[int, int]] = []  # of each voice, by pitch
    for note in sorted(notes, key=lambda note: (note.start, note.end)):
        fits = (n for n, ends in enumerate(last_ends) if ends.get(note.pitch, 0) <= note.end)
        voice = next(fits, len(voices))
        if voice == len(voices):
            voices.append([])
            last_ends.append({})
        voices[voice].append(note)
        last_ends[voice][note.pitch] = note.end
    return voices
