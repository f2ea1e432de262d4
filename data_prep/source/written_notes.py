"""The notes of written bars at ticks of the source song's file, in its key, for the tracks that play them."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass

from miditoolkit import Note

from data_prep.source.source_song import SourceSong
from data_prep.tokens.decode import TICKS_PER_POSITION, decode
from data_prep.tokens.vocabulary import DEFAULT_METRE, DRUMS, METRES, TokenError, bar_length, metre_id, split_token


@dataclass(frozen=True)
class BarLines:
    """Where bars begin: ``starts`` by number, the one after the last included, in positions; ``metres`` are ids."""

    starts: dict[int, int]
    metres: dict[int, int]


def bar_lines(source: SourceSong, written: Mapping[int, Sequence[str]], last: int) -> BarLines:
    """The song's bars up to ``last``, and those written after it; bars between them keep the metre before.

    Raises TokenError where a bar of the song was written in another metre, or a number is below 1.
    """
    starts = dict(enumerate(source.layout.starts[:last].tolist(), start=1))
    metres = dict(enumerate(source.layout.metres[:last].tolist(), start=1))
    for bar, tokens in written.items():
        if bar < 1:
            raise TokenError(f"bar {bar} cannot be written: bars are numbered from 1")
        metre = _metre_of(tokens, source)
        if metres.setdefault(bar, metre) != metre:
            raise TokenError(
                f"bar {bar} is written in {_spelled(metre)}, and the song has it in {_spelled(metres[bar])}"
            )
    start = 0
    end = max(metres, default=0) + 1
    for bar in range(1, end):
        metres.setdefault(bar, metres.get(bar - 1, metre_id(*DEFAULT_METRE)))
        start = starts.setdefault(bar, start) + bar_length(*METRES[metres[bar]])
    starts[end] = start
    return BarLines(starts, metres)


def _metre_of(tokens: Sequence[str], source: SourceSong) -> int:
    if not source.representation.has_metre or not tokens:
        return metre_id(*DEFAULT_METRE)
    return split_token(tokens[0])[1]


def _spelled(metre: int) -> str:
    numerator, denominator = METRES[metre]
    return f"{numerator}/{denominator}"


def runs_of_bars(source: SourceSong, lines: BarLines, bars: Collection[int]) -> list[tuple[int, int]]:
    """Ticks from and to which ``bars`` last, those that follow each other together, in order."""
    firsts = sorted(bar for bar in bars if bar - 1 not in bars)
    lasts = sorted(bar for bar in bars if bar + 1 not in bars)
    return [
        (source.tick_of(lines.starts[first]), source.tick_of(lines.starts[last + 1]))
        for first, last in zip(firsts, lasts)
    ]


def decode_bar(source: SourceSong, lines: BarLines, bar: int, tokens: Sequence[str]) -> dict[int, list[Note]]:
    """The notes of a written bar by instrument, at ticks of the file and in its key.

    Raises TokenError, with the number of the bar, where the tokens are not exactly one bar of the representation.
    """
    try:
        midi = decode(tokens, source.representation, strict=True).midi
    except TokenError as error:
        raise TokenError(f"bar {bar}: {error}") from None
    if list(tokens).count("b-1") != 1:
        raise TokenError(f"bar {bar}: its tokens hold {list(tokens).count('b-1')} bars; give one list a bar")
    notes = {}
    for track in midi.instruments:
        instrument = DRUMS if track.is_drum else track.program
        shift = 0 if track.is_drum else -source.key_shift
        notes[instrument] = [_note(source, lines.starts[bar], note, shift) for note in track.notes]
    return notes


def _note(source: SourceSong, bar_start: int, note: Note, shift: int) -> Note:
    start = source.tick_of(bar_start + note.start // TICKS_PER_POSITION)
    end = source.tick_of(bar_start + note.end // TICKS_PER_POSITION)
    pitch = note.pitch + shift
    if not 0 <= pitch <= 127:  # the octave that is nearest
        pitch = pitch % 12 if pitch < 0 else 127 - (127 - pitch) % 12
    return Note(note.velocity, pitch, start, max(end, start + 1))
