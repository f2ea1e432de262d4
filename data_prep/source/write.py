"""Written bars put into the song they were written for; all else of the song stays as it is."""

from __future__ import annotations

import copy
from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence

import numpy as np
from miditoolkit import Instrument, MidiFile, Note

from data_prep.source.events import add_metres, cut_events, set_tempo, silence_bends
from data_prep.source.same_pitch import fit_beside
from data_prep.source.source_song import SourceSong
from data_prep.source.written_notes import bar_lines, decode_bar, runs_of_bars
from data_prep.tokens.vocabulary import DRUMS, TokenError


def with_written_bars(
    source: SourceSong,
    written: Mapping[int, Sequence[str]],
    given_tracks: Collection[str] = (),
    cut_after: int | None = None,
    tempo: float = 0.0,
) -> MidiFile:
    """The song with the bars of ``written`` (number -> tokens up to ``b-1``) in place of its own.

    The notes of other bars stay at their ticks, on their tracks, and so do all controls and events; a note that sounds
    into a written bar from before stays too. Within written bars the tracks that play what is written lose their pitch
    bends, and lyrics go with the melody. Written notes come back in the song's key, at its ticks, played by the
    track that plays most notes of their instrument, or by a new one. Bars past the end lengthen the song. Notes of
    ``given_tracks`` stay in written bars as well, and what was written for these tracks is left out. ``cut_after``: all
    that begins after this bar is left out first. ``tempo``: of written bars, quarter notes a minute, for
    which tokens are not exact; 0 leaves them those of the song.

    Raises TokenError for tokens that are not a bar of the representation or are in another metre than the song's bar,
    SongError for ``given_tracks`` that the song lacks.
    """
    given = source.instruments_of(given_tracks)
    last = source.bar_count if cut_after is None else min(cut_after, source.bar_count)
    if last < 1:
        raise TokenError(f"the song cannot be cut after bar {cut_after}: bars are numbered from 1")
    lines = bar_lines(source, written, last)
    midi = _with_notes(source, _staying(source, written, given, last))
    if cut_after is not None:
        cut_events(midi, source.tick_of(lines.starts[last + 1]))
    notes: dict[int, list[Note]] = defaultdict(list)
    for bar, tokens in sorted(written.items()):
        of_bar = decode_bar(source, lines, bar, tokens)
        for instrument in of_bar.keys() - set(given):
            notes[instrument] += of_bar[instrument]
    spans = runs_of_bars(source, lines, written)
    for instrument, played in sorted(notes.items()):
        track = _track_of(midi, source, instrument)
        silence_bends(track, spans)
        track.notes += fit_beside(track.notes, played)
    if not source.is_melody(given):
        midi.lyrics = [lyric for lyric in midi.lyrics if not any(start <= lyric.time < end for start, end in spans)]
    if max(written, default=0) > last:
        add_metres(midi, source, lines, last)
    if tempo:
        set_tempo(midi, tempo, spans, source, lines, last)
    midi.max_tick = max((note.end for track in midi.instruments for note in track.notes), default=0) + 1
    return midi


def _staying(source: SourceSong, written: Collection[int], given: Collection[int], last: int) -> np.ndarray:
    """bool [N]: which of ``source.file_notes`` stay."""
    instruments, bars = source.file_notes[:, 2:].T
    return (bars <= last) & (~np.isin(bars, list(written)) | np.isin(instruments, list(given)))


def _with_notes(source: SourceSong, staying: np.ndarray) -> MidiFile:
    """A copy of the song's file with the notes of ``staying`` alone."""
    midi = copy.deepcopy(source.midi)
    kept: list[list[Note]] = [[] for _ in midi.instruments]
    for track, index in source.file_notes[staying, :2].tolist():
        kept[track].append(midi.instruments[track].notes[index])
    for instrument, notes in zip(midi.instruments, kept):
        instrument.notes = notes
    return midi


def _track_of(midi: MidiFile, source: SourceSong, instrument: int) -> Instrument:
    """The track of ``midi``, a copy of the song's file, that plays ``instrument``; a new one where there is none."""
    tracks, counts = np.unique(source.file_notes[source.file_notes[:, 2] == instrument, 0], return_counts=True)
    if len(tracks):
        return midi.instruments[tracks[counts.argmax()]]
    drums = instrument == DRUMS
    midi.instruments.append(Instrument(0 if drums else instrument, drums, source.representation.name_of(instrument)))
    return midi.instruments[-1]
