"""The tracks of a MIDI file, and what tells their roles apart."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from miditoolkit import MidiFile

from data_prep.tokens.song import sounding_notes
from data_prep.tokens.vocabulary import DRUMS, POSITIONS_PER_QUARTER, POSITIONS_PER_WHOLE

_ANY_NOTE = 128  # more than any pitch


@dataclass(frozen=True)
class Track:
    """One track of a file. ``instrument`` is its program, 128 for drums; ``number`` counts from 1.

    ``notes``: float64 [N, 4], by onset: onset and end in positions (twelfths of a quarter note, not
    rounded), pitch, velocity.
    """

    number: int
    instrument: int
    name: str
    notes: np.ndarray

    @property
    def is_drums(self) -> bool:
        """Whether it plays on the drum channel."""
        return self.instrument == DRUMS


@dataclass(frozen=True)
class TrackFeatures:
    """What a track sounds like; the means of pitch, velocity and so on are over its notes.

    ``monophony``: share of onsets with one note. ``overlap``: how many of its notes sound at once while
    it sounds, on average. ``coverage``: share of the song's bars (whole notes) that it begins a note in.
    ``density``: notes in such a bar. ``pitch``: mean of the highest notes at each onset; ``above``: how
    many semitones that is above the mean of the other pitched tracks' notes. ``loudness``: velocity above
    the song's mean. ``steps``, ``repeats``, ``leaps``: shares of the intervals between successive onsets'
    highest notes of 1-4, 0 and more than 12 semitones. ``variety``: different bars among its bars.
    ``rhythm``: entropy in bits of the times between onsets. ``pitches``: entropy in bits of its pitches.
    """

    monophony: float
    overlap: float
    coverage: float
    density: float
    pitch: float
    above: float
    loudness: float
    steps: float
    repeats: float
    leaps: float
    variety: float
    rhythm: float
    pitches: float


def read_tracks(midi: MidiFile) -> tuple[list[Track], int]:
    """The tracks that hold notes, and how many notes of length zero were left out.

    Raises SongError as ``data_prep.tokens.song.read_song`` does.
    """
    notes, dropped = sounding_notes(midi)
    spans = notes[:, :2] * (POSITIONS_PER_QUARTER / midi.ticks_per_beat)
    tracks = []
    for index in np.unique(notes[:, 5]):
        rows = np.flatnonzero(notes[:, 5] == index)
        rows = rows[np.lexsort((-notes[rows, 2], notes[rows, 0]))]
        table = np.column_stack([spans[rows], notes[rows, 2:4]])
        name = midi.instruments[index].name or ""
        tracks.append(Track(int(index) + 1, int(notes[rows[0], 4]), name.strip(), table))
    return tracks, dropped


def features_of(tracks: Sequence[Track]) -> list[TrackFeatures]:
    """The features of each of a song's tracks."""
    every = np.concatenate([track.notes for track in tracks])
    pitched = [track for track in tracks if not track.is_drums]
    loudness = float(np.concatenate([track.notes for track in pitched or tracks])[:, 3].mean())
    bars = len(np.unique(every[:, 0] // POSITIONS_PER_WHOLE))
    sums = {track.number: (float(track.notes[:, 2].sum()), len(track.notes)) for track in pitched}
    found = []
    for track in tracks:
        others = [value for number, value in sums.items() if number != track.number]
        count = sum(n for _, n in others)
        rest = sum(total for total, _ in others) / count if count else None
        found.append(_features(track.notes, bars, rest, loudness))
    return found


def _features(notes: np.ndarray, bars: int, others_pitch: float | None, loudness: float) -> TrackFeatures:
    onsets = np.rint(notes[:, 0])
    begins = np.flatnonzero(np.concatenate([[True], np.diff(onsets) > 0]))
    top = np.maximum.reduceat(notes[:, 2], begins)
    sizes = np.diff(np.append(begins, len(notes)))
    own_bars = onsets // POSITIONS_PER_WHOLE
    used = len(np.unique(own_bars))
    intervals = np.abs(np.diff(top))
    count = max(1, len(intervals))
    pitch = float(top.mean())
    return TrackFeatures(
        monophony=float((sizes == 1).mean()),
        overlap=float((notes[:, 1] - notes[:, 0]).sum() / max(_sounding(notes), 1e-9)),
        coverage=used / bars,
        density=len(notes) / used,
        pitch=pitch,
        above=pitch - others_pitch if others_pitch is not None else 0.0,
        loudness=float(notes[:, 3].mean()) - loudness,
        steps=float(((intervals >= 1) & (intervals <= 4)).sum() / count),
        repeats=float((intervals == 0).sum() / count),
        leaps=float((intervals > 12).sum() / count),
        variety=_different_bars(own_bars, onsets, notes[:, 2]) / used,
        rhythm=_entropy(np.minimum(np.diff(onsets[begins]), POSITIONS_PER_WHOLE)),
        pitches=_entropy(notes[:, 2]),
    )


def _sounding(notes: np.ndarray) -> float:
    """Positions during which at least one of ``notes``, sorted by onset, sounds."""
    latest = np.maximum.accumulate(notes[:, 1])
    gaps = np.maximum(0, notes[1:, 0] - latest[:-1]).sum()
    return float(latest[-1] - notes[0, 0] - gaps)


def _different_bars(bars: np.ndarray, onsets: np.ndarray, pitches: np.ndarray) -> int:
    """How many different bars there are, by a random code of each bar's notes."""
    codes = (onsets % POSITIONS_PER_WHOLE).astype(np.int64) * _ANY_NOTE + pitches.astype(np.int64)
    weights = np.random.default_rng(0).integers(1, 2**40, POSITIONS_PER_WHOLE * _ANY_NOTE)
    _, indices = np.unique(bars, return_inverse=True)
    sums = np.zeros(indices.max() + 1, dtype=np.int64)
    np.add.at(sums, indices, weights[codes])
    return len(np.unique(sums))


def _entropy(values: np.ndarray) -> float:
    if not len(values):
        return 0.0
    _, counts = np.unique(values, return_counts=True)
    shares = counts / counts.sum()
    return float(-(shares * np.log2(shares)).sum())
