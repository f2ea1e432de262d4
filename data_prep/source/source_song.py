"""A user's song as bars of tokens, each with its number, and where each note of its file went."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

import numpy as np
from miditoolkit import MidiFile

from data_prep.source.roles import Roles
from data_prep.tokens.encode import Bars, encode, tempo_ids
from data_prep.tokens.song import Song, SongError
from data_prep.tokens.vocabulary import END_OF_BAR, POSITIONS_PER_QUARTER, Representation, tempo_of

LEFT_OUT = -1  # in place of an instrument


@dataclass(frozen=True)
class SourceSong:
    """A song of which bars can be given to a model; bars are numbered from 1, the one at tick 0.

    ``midi`` is the file as read. ``song`` holds its notes on the grid, played by instruments of the representation, in
    C major or A minor, ``key_shift`` semitones above the file. ``layout``: all bars up to the last onset. ``offset``:
    positions by which the file's notes are later than those of ``song``. ``file_notes``: int64 [N, 4], a row for each
    note of the file that sounds: indices of its track and of the note in it, its instrument in ``song`` (LEFT_OUT where
    it has none), and its bar. ``sentences`` tell what was done to the song.
    """

    midi: MidiFile
    representation: Representation
    song: Song
    key_shift: int
    layout: Bars
    offset: float
    roles: Roles
    file_notes: np.ndarray
    sentences: tuple[str, ...]

    @property
    def bar_count(self) -> int:
        """How many bars there are: the last one holds the last onset."""
        return len(self.layout.starts)

    @property
    def tracks(self) -> dict[str, int]:
        """The instrument of each track that the song has, by its name, in the order of the representation."""
        used = set(self.song.notes[:, 4].tolist())
        return {self.representation.name_of(n): n for n in self.representation.instruments if n in used}

    def instruments_of(self, tracks: Collection[str]) -> list[int]:
        """The instruments of ``tracks``, by name; ``melody`` means the tracks that carry it in ``general`` too.

        Raises SongError when the song lacks one.
        """
        names = self.tracks
        found: set[int | None] = set()
        for track in tracks:
            if track in names:
                found.add(names[track])
            elif track == "melody" and self.roles.melody:
                found |= {self.roles.instruments[number] for number in self.roles.melody}
            else:
                raise SongError(f"no {track}: the song has {', '.join(names)}; ask for one of these, or add the track")
        return sorted(instrument for instrument in found if instrument is not None)

    def is_melody(self, instruments: Collection[int]) -> bool:
        """Whether all tracks that carry the melody play one of ``instruments``; not where there is no melody."""
        carrying = {self.roles.instruments[number] for number in self.roles.melody}
        return bool(carrying) and carrying <= set(instruments)

    def require_bars(self, bars: Collection[int]) -> None:
        """Raise SongError where one of ``bars`` is no bar of the song."""
        for bar in sorted(bars):
            if not 1 <= bar <= self.bar_count:
                counted = f"bars 1-{self.bar_count}" if self.bar_count > 1 else "bar 1 alone"
                raise SongError(f"no bar {bar}: the song has {counted}, up to its last note; ask for bars of these")

    def bars(self) -> dict[int, list[str]]:
        """The tokens of every bar by its number; each ends with ``b-1``, and an empty bar has no notes."""
        return self._tokens(self.song.notes)

    def bars_of_tracks(self, tracks: Collection[str]) -> dict[int, list[str]]:
        """``bars()`` with the notes of ``tracks`` alone. Raises SongError as ``instruments_of`` does."""
        return self._tokens(self.song.notes[np.isin(self.song.notes[:, 4], self.instruments_of(tracks))])

    def empty_bar(self, bar: int) -> list[str]:
        """The tokens of ``bar`` without notes; past the end the last metre and tempo go on."""
        if self.representation.has_metre:
            return [f"s-{self.metre_id(bar)}", END_OF_BAR]
        return [f"t-{self.tempo_id(bar)}", END_OF_BAR]

    def tempo_id(self, bar: int) -> int:
        """The id of the tempo in force where ``bar`` begins; past the end the last one goes on."""
        start = self.layout.starts[bar - 1] if bar <= self.bar_count else np.iinfo(np.int64).max
        return int(tempo_ids(self.song, np.array([start]))[0])

    def metre_id(self, bar: int) -> int:
        """The id of the metre of ``bar``; past the end the last one goes on."""
        return int(self.layout.metres[min(bar, self.bar_count) - 1])

    def tempo_bpm(self, bar: int) -> float:
        """The tempo that the tokens of ``bar`` begin with, in quarters a minute."""
        return tempo_of(self.tempo_id(bar))

    def tick_of(self, position: float) -> int:
        """The tick of the file that belongs to ``position`` of the song."""
        return max(0, round((position + self.offset) * self.midi.ticks_per_beat / POSITIONS_PER_QUARTER))

    def _tokens(self, notes: np.ndarray) -> dict[int, list[str]]:
        bars: dict[int, list[str]] = {}
        if len(notes):
            tokens = encode(replace(self.song, notes=notes), self.representation, False, keep_empty_bars=True)
            ends = [n for n, token in enumerate(tokens, start=1) if token == END_OF_BAR]
            bars = {n: tokens[start:end] for n, (start, end) in enumerate(zip([0, *ends], ends), start=1)}
        return {n: bars.get(n) or self.empty_bar(n) for n in range(1, self.bar_count + 1)}
