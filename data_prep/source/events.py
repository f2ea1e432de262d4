"""What is not notes: the controls, tempos and metres of a song of which bars were written, cut off or added."""

from __future__ import annotations

from collections.abc import Sequence

from miditoolkit import ControlChange, Instrument, MidiFile, PitchBend, TempoChange, TimeSignature

from data_prep.source.source_song import SourceSong
from data_prep.source.written_notes import BarLines
from data_prep.tokens.vocabulary import DEFAULT_METRE, DEFAULT_TEMPO_BPM, METRES, metre_id

_SUSTAIN = 64  # the number of the pedal's control; values from 64 on hold it down


def cut_events(midi: MidiFile, tick: int) -> None:
    """Take from ``midi`` all events from ``tick`` on; pedals that are down there come up, bends go back."""
    for name in ("tempo_changes", "time_signature_changes", "key_signature_changes", "lyrics", "markers"):
        setattr(midi, name, [event for event in getattr(midi, name) if event.time < tick])
    for track in midi.instruments:
        track.control_changes = [event for event in track.control_changes if event.time < tick]
        track.pitch_bends = [event for event in track.pitch_bends if event.time < tick]
        track.pedals = [pedal for pedal in track.pedals if pedal.end < tick]
        pedal = [event.value for event in track.control_changes if event.number == _SUSTAIN]
        if pedal and pedal[-1] >= 64:
            track.control_changes.append(ControlChange(_SUSTAIN, 0, tick))
        if track.pitch_bends and track.pitch_bends[-1].pitch:
            track.pitch_bends.append(PitchBend(0, tick))


def silence_bends(track: Instrument, spans: Sequence[tuple[int, int]]) -> None:
    """Take the pitch bends from ``spans`` of ticks, in order, so that what is written there sounds in tune.

    After each span the bend goes on that would be in force there.
    """
    own = track.pitch_bends
    kept = [bend for bend in own if not any(start <= bend.time < end for start, end in spans)]
    for start, end in spans:
        if _bend_at(own, start - 1):
            kept.append(PitchBend(0, start))
        if _bend_at(own, end - 1) and not any(bend.time == end for bend in own):
            kept.append(PitchBend(_bend_at(own, end - 1), end))
    track.pitch_bends = sorted(kept, key=lambda bend: bend.time)


def _bend_at(bends: Sequence[PitchBend], tick: int) -> int:
    """The bend in force at ``tick``, of ``bends`` in order."""
    return next((bend.pitch for bend in reversed(bends) if bend.time <= tick), 0)


def add_metres(midi: MidiFile, source: SourceSong, lines: BarLines, last: int) -> None:
    """Give ``midi`` the metres of the bars after ``last`` in place of those that its file has there."""
    end = source.tick_of(lines.starts[last + 1])
    changes = [change for change in midi.time_signature_changes if change.time < end]
    for bar in range(last + 1, max(lines.metres) + 1):
        if lines.metres[bar] != lines.metres.get(bar - 1, metre_id(*DEFAULT_METRE)):
            changes.append(TimeSignature(*METRES[lines.metres[bar]], source.tick_of(lines.starts[bar])))
    midi.time_signature_changes = changes


def set_tempo(
    midi: MidiFile, tempo: float, spans: Sequence[tuple[int, int]], source: SourceSong, lines: BarLines, last: int
) -> None:
    """Let ``midi`` have a tempo, quarter notes a minute, in ``spans`` of ticks; after them the song's own go on.

    ``last``: the last bar of the song that there is.
    """
    own = sorted(midi.tempo_changes, key=lambda change: change.time)
    changes = [change for change in own if not any(start <= change.time < end for start, end in spans)]
    for start, end in spans:
        changes.append(TempoChange(tempo, start))
        if end < source.tick_of(lines.starts[last + 1]) and not any(change.time == end for change in own):
            changes.append(TempoChange(_tempo_at(own, end), end))
    changes.sort(key=lambda change: change.time)
    new = [n for n, change in enumerate(changes) if n == 0 or change.tempo != changes[n - 1].tempo]
    midi.tempo_changes = [changes[n] for n in new]


def _tempo_at(changes: Sequence[TempoChange], tick: int) -> float:
    """The tempo in force at ``tick``, of ``changes`` in order."""
    return next((change.tempo for change in reversed(changes) if change.time <= tick), DEFAULT_TEMPO_BPM)
