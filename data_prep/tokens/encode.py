"""Encode a song as tokens: bars from the metres, notes in the order of the representation."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from data_prep.tokens.key import key_shift
from data_prep.tokens.song import Song, SongError
from data_prep.tokens.vocabulary import (
    DEFAULT_METRE,
    DEFAULT_TEMPO_BPM,
    DRUM_PITCH_OFFSET,
    DRUMS,
    DURATION_CELLS,
    DURATION_OCTAVES,
    END_OF_BAR,
    METRES,
    REPRESENTATIONS,
    SIX_TRACK,
    Representation,
    bar_length,
    duration_id,
    metre_id,
    tempo_id,
    velocity_id,
)

# A week-long silence is damage, not music, and must not become millions of tokens.
MAX_BARS = 20_000

# The original system also writes program 32 (acoustic bass) in six_track, beside its other bass, although
# its dictionary lacks the token. ``encode`` follows it; ``check_encodable`` refuses such a song.
_OTHER_BASS = 32
_AFTER_BASS = SIX_TRACK.instruments.index(SIX_TRACK.instrument_of("bass")) + 1

_MAX_DENOMINATOR = 64
_LONGEST_TABLED_DURATION = DURATION_CELLS * (2**DURATION_OCTAVES - 1)
_DURATION_IDS = np.array([duration_id(n) for n in range(_LONGEST_TABLED_DURATION + 1)])


@dataclass(frozen=True)
class Bars:
    """The bars up to the last onset: ``starts`` int64 [B] in positions, ``metres`` int64 [B] metre ids."""

    starts: np.ndarray
    metres: np.ndarray

    def holding(self, position: int) -> int:
        """The index of the bar that ``position`` lies in."""
        return int(np.searchsorted(self.starts, position, side="right")) - 1


def encode(
    song: Song,
    representation: str | Representation,
    normalise_key: bool = True,
    keep_empty_bars: bool = False,
) -> list[str]:
    """The tokens of a song; the grammar and units are those of ``data_prep.tokens.vocabulary``.

    With ``normalise_key`` the song is shifted to C major or A minor (drums stay). Bars before the first
    note are left out unless ``keep_empty_bars``; the last onset is in the last bar. Raises SongError for an instrument
    that is not in the representation, for a metre that cannot be represented and for more than
    MAX_BARS bars. A song in other metres than 4/4 is encoded in ``six_track`` too, as the original system
    does, although nothing can read it back: ``check_encodable`` is what refuses it.
    """
    if isinstance(representation, str):
        representation = REPRESENTATIONS[representation]
    bars = bars_of(song)
    notes = _ordered_notes(song, representation, normalise_key)
    first = 0 if keep_empty_bars else bars.holding(notes[0, 0])
    return list(_tokens(song, bars, first, notes, representation))


def check_encodable(song: Song, representation: Representation, keep_empty_bars: bool = False) -> None:
    """Raise SongError when the tokens of ``encode`` would not be a piece of the representation.

    ``six_track`` has no metre token, so every bar that is written must be in 4/4; and only the
    instruments of the representation are in its dictionary.
    """
    _instrument_ranks(song, representation.instruments, representation.name)
    if representation.has_metre:
        return
    bars = bars_of(song)
    first = 0 if keep_empty_bars else bars.holding(song.notes[:, 0].min())
    others = np.flatnonzero(bars.metres[first:] != metre_id(*DEFAULT_METRE))
    if len(others):
        numerator, denominator = METRES[bars.metres[first + others[0]]]
        raise SongError(
            f"not in 4/4: bar {first + others[0] + 1} is in {numerator}/{denominator} and "
            f"{representation.name} has no metre token; use --representation general"
        )


def bars_of(song: Song) -> Bars:
    """Lay out the bars. A metre change inside a bar takes effect at the next bar.

    Raises SongError for a metre without a token or shorter than one position, and past MAX_BARS bars.
    """
    changes = [(0, DEFAULT_METRE), *song.metres]
    # The bar that holds the last onset is the last one.
    ends = [position for position, _ in changes[1:]] + [int(song.notes[:, 0].max()) + 1]
    starts: list[np.ndarray] = []
    ids: list[np.ndarray] = []
    next_start = total = 0
    for (_, metre), end in zip(changes, ends):
        if next_start >= end:
            continue
        numerator, denominator = representable_metre(*metre)
        length = bar_length(numerator, denominator)
        count = -(-(end - next_start) // length)
        total += count
        if total > MAX_BARS:
            raise SongError(f"too long: it spans more than {MAX_BARS} bars, most of them silent; cut the silence out")
        starts.append(next_start + length * np.arange(count))
        ids.append(np.full(count, metre_id(numerator, denominator)))
        next_start += count * length
    return Bars(np.concatenate(starts), np.concatenate(ids))


def representable_metre(numerator: int, denominator: int) -> tuple[int, int]:
    """The metre that stands for numerator/denominator in the tokens.

    Denominators over 64 are halved while the fraction allows; a bar longer than two whole notes has its
    numerator divided by its smallest factor until it fits (MusicBERT's rule, which the original system
    uses). Raises SongError when no metre is left or the bar would be shorter than one position.
    """
    written = f"{numerator}/{denominator}"
    while denominator > _MAX_DENOMINATOR and denominator % 2 == 0 and numerator % 2 == 0:
        numerator, denominator = numerator // 2, denominator // 2
    while numerator > 2 * denominator:
        numerator //= next(factor for factor in range(2, numerator + 1) if numerator % factor == 0)
    if (numerator, denominator) not in METRES:
        raise SongError(f"metre without a token: {written}; denominators are 1, 2, 4 ... 64")
    if bar_length(numerator, denominator) == 0:
        raise SongError(f"metre too short: a bar of {written} is shorter than 1/12 of a quarter note")
    return numerator, denominator


def _instrument_ranks(song: Song, order: Sequence[int], name: str) -> np.ndarray:
    """int64 [129]: the rank of each instrument at one onset. Raises SongError when one has none."""
    ranks = np.full(DRUMS + 1, -1)
    ranks[list(order)] = np.arange(len(order))
    used = np.unique(song.notes[:, 4])
    strangers = used[ranks[used] < 0]
    if len(strangers):
        listed = ", ".join(map(str, strangers[:5])) + (" ..." if len(strangers) > 5 else "")
        raise SongError(
            f"other instruments: program {listed} is not in the {name} dictionary; use "
            "--representation general or merge the tracks into the instruments of the dictionary first"
        )
    return ranks


def normalising_shift(song: Song) -> int:
    """Semitones that bring ``song`` to C major or A minor; see ``key_shift``."""
    return key_shift(song.notes[song.notes[:, 4] != DRUMS, 2])


def _ordered_notes(song: Song, representation: Representation, normalise_key: bool) -> np.ndarray:
    """int64 [N, 5] in writing order: onset, instrument, and the ids of pitch, duration, velocity."""
    onsets, durations, pitches, velocities, instruments = song.notes.T
    drums = instruments == DRUMS
    shift = normalising_shift(song) if normalise_key else 0
    pitch_ids = pitches + np.where(drums, DRUM_PITCH_OFFSET, shift)
    duration_ids = _DURATION_IDS[np.minimum(durations, _LONGEST_TABLED_DURATION)]
    velocity_ids = velocity_id(velocities)
    order = representation.instruments
    if representation is SIX_TRACK:
        order = (*order[:_AFTER_BASS], _OTHER_BASS, *order[_AFTER_BASS:])
    ranks = _instrument_ranks(song, order, representation.name)[instruments]
    written = np.lexsort((-velocity_ids, -duration_ids, -pitch_ids, ranks, onsets))
    return np.column_stack([onsets, instruments, pitch_ids, duration_ids, velocity_ids])[written]


def _tokens(song: Song, bars: Bars, first_bar: int, notes: np.ndarray, representation: Representation) -> Iterator[str]:
    """The tokens, bar by bar and note by note."""
    note_bars = np.searchsorted(bars.starts, notes[:, 0], side="right") - 1
    note_tempos = tempo_ids(song, notes[:, 0])
    bar_tempos = tempo_ids(song, bars.starts)
    in_bar = notes[:, 0] - bars.starts[note_bars]
    bar = first_bar - 1
    onset = instrument = -1
    rows = zip(note_bars.tolist(), in_bar.tolist(), note_tempos.tolist(), notes[:, 1:].tolist())
    for note_bar, position, tempo, (program, pitch, duration, velocity) in rows:
        while bar < note_bar:
            if bar >= first_bar:
                yield END_OF_BAR
            bar += 1
            onset = -1
            yield f"s-{bars.metres[bar]}" if representation.has_metre else f"t-{bar_tempos[bar]}"
        if position != onset:
            onset, instrument = position, -1
            yield f"o-{position}"
            if representation.has_metre:
                yield f"t-{tempo}"
        if program != instrument:
            instrument = program
            yield f"i-{program}"
        yield f"p-{pitch}"
        yield f"d-{duration}"
        yield f"v-{velocity}"
    yield END_OF_BAR


def tempo_ids(song: Song, positions: np.ndarray) -> np.ndarray:
    """int64, shaped like ``positions``: the id of the tempo in force at each."""
    changes = np.array([position for position, _ in song.tempos], dtype=np.int64)
    ids = np.array([tempo_id(bpm) for bpm in (DEFAULT_TEMPO_BPM, *(bpm for _, bpm in song.tempos))])
    return ids[np.searchsorted(changes, positions, side="right")]
