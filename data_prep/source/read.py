"""A MIDI file of any kind as a source song: its tracks in the representation's roles, its notes on the grid."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
from miditoolkit import MidiFile

from data_prep.six_track.roles import merge
from data_prep.six_track.tracks import read_tracks
from data_prep.source.beat import find_offset
from data_prep.source.roles import Roles, find_roles
from data_prep.source.source_song import LEFT_OUT, SourceSong
from data_prep.tokens.encode import Bars, bars_of, normalising_shift
from data_prep.tokens.song import Song, SongError, changes_of, parse_damaged_midi, song_of, sounding_notes
from data_prep.tokens.vocabulary import (
    DEFAULT_METRE,
    DRUMS,
    METRES,
    POSITIONS_PER_QUARTER,
    REPRESENTATIONS,
    Representation,
    metre_id,
)


def read_source(
    source: str | Path | MidiFile,
    representation: str | Representation,
    needs_melody: bool = False,
    melody_track: int | None = None,
) -> SourceSong:
    """Read a song; a MidiFile is copied. ``find_roles`` says what becomes of its tracks.

    Raises SongError, which says what is wrong with the song and what to do: for files that ``read_song`` refuses, off
    the beat, in other metres than 4/4 for ``six_track``, and where ``find_roles`` raises it.
    """
    if isinstance(representation, str):
        representation = REPRESENTATIONS[representation]
    midi, damaged = (copy.deepcopy(source), 0) if isinstance(source, MidiFile) else parse_damaged_midi(Path(source))
    ticks, dropped = sounding_notes(midi)
    roles = find_roles(midi, representation, needs_melody, melody_track)
    exact_onsets = ticks[:, 0] * POSITIONS_PER_QUARTER / midi.ticks_per_beat
    offset = find_offset(exact_onsets)
    if not roles.mapped:
        offset = 0.0  # songs as those for training stay where they are
    onsets = np.maximum(0, np.rint(exact_onsets - offset)).astype(np.int64)
    sentences = [*_losses(damaged, dropped), *_offset_sentence(offset), *roles.sentences]
    tempos, metres = changes_of(midi, int(onsets.max()))
    if not representation.has_metre:
        metres = _as_4_4(metres, sentences)
    layout = bars_of(Song(onsets[:, None], tempos, metres))
    if not representation.has_metre:
        _require_4_4(layout, representation)
    song = Song(_notes(midi, roles, offset), tempos, metres, dropped, damaged)
    shift = normalising_shift(song)
    song.notes[song.notes[:, 4] != DRUMS, 2] += shift
    bars = np.searchsorted(layout.starts, onsets, side="right")
    file_notes = np.column_stack([_note_indices(midi), _instruments(ticks, roles), bars])
    return SourceSong(midi, representation, song, shift, layout, offset, roles, file_notes, tuple(sentences))


def _notes(midi: MidiFile, roles: Roles, offset: float) -> np.ndarray:
    """int64 [N, 5], the columns of ``Song``: the notes that have a role."""
    if not roles.mapped:
        return song_of(midi).notes
    return merge(read_tracks(midi)[0], roles.instruments, offset)


def _note_indices(midi: MidiFile) -> np.ndarray:
    """int64 [N, 2]: indices of the track and of the note in it, for the notes of ``sounding_notes`` in its order."""
    rows = [
        (track, index)
        for track, instrument in enumerate(midi.instruments)
        for index, note in enumerate(instrument.notes)
        if note.end > note.start
    ]
    return np.array(rows, dtype=np.int64)


def _instruments(ticks: np.ndarray, roles: Roles) -> np.ndarray:
    """int64 [N]: what each note of ``sounding_notes`` is played by."""
    played = {number - 1: LEFT_OUT if i is None else i for number, i in roles.instruments.items()}
    table = np.full(max(played) + 1, LEFT_OUT)
    table[list(played)] = list(played.values())
    return table[ticks[:, 5]]


def _as_4_4(metres: list[tuple[int, tuple[int, int]]], sentences: list[str]) -> list[tuple[int, tuple[int, int]]]:
    """``metres`` with 4/4 in place of those whose bars are as long, such as 2/2, and a sentence where there are any."""
    alike = {metre for _, metre in metres if metre != DEFAULT_METRE and metre[0] == metre[1]}
    if alike:
        named = ", ".join(f"{numerator}/{denominator}" for numerator, denominator in sorted(alike))
        sentences.append(f"Its bars in {named} are taken as 4/4, since they are as long.")
    return [(position, DEFAULT_METRE if metre in alike else metre) for position, metre in metres]


def _require_4_4(layout: Bars, representation: Representation) -> None:
    others = np.flatnonzero(layout.metres != metre_id(*DEFAULT_METRE))
    if len(others):
        numerator, denominator = METRES[layout.metres[others[0]]]
        raise SongError(
            f"not in 4/4: bar {others[0] + 1} is in {numerator}/{denominator}, and {representation.name} models write "
            "4/4 alone; cut the song so that all bars are in 4/4, or use a model of the general representation"
        )


def _losses(damaged: int, dropped: int) -> list[str]:
    sentences = []
    if damaged:
        sentences.append(
            f"Left out {damaged} damaged meta event{'s' * (damaged > 1)}, such as a key that does not exist."
        )
    if dropped:
        sentences.append(f"Left out {dropped} note{'s' * (dropped > 1)} of length zero.")
    return sentences


def _offset_sentence(offset: float) -> list[str]:
    if not offset:
        return []
    beats, when = abs(offset) / POSITIONS_PER_QUARTER, "later" if offset > 0 else "earlier"
    return [f"All its notes begin {beats:.2f} beats {when} than the beat, and so will those written into it."]
