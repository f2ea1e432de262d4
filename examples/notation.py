"""Read a strain of a tune from a small subset of ABC notation.

Unit length is a quarter note, the metre is 4/4, there is no key signature::

    G,| "C"C3/2 C/ C E | "G7"D3/2 C/ D E | "F"A4

A letter is a note (``C`` is middle C, ``c`` the octave above, ``C,`` the octave below, ``^F`` F sharp
and ``_B`` B flat), ``z`` a rest; a number scales the length (``2``, ``/``, ``3/2``). A chord symbol
stands before the note it comes in with and holds until the next. A short first bar is a pickup.
Times are in positions, twelfths of a quarter note.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

from data_prep.tokens.vocabulary import POSITIONS_PER_QUARTER

BAR = 4 * POSITIONS_PER_QUARTER  # length of a bar of 4/4 in positions
MIDDLE_C = 60
_SEMITONES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"": 0, "^": 1, "_": -1}
_QUALITIES = {"": (0, 4, 7), "m": (0, 3, 7), "7": (0, 4, 7, 10), "m7": (0, 3, 7, 10)}
_CHORD = re.compile(r"([A-G])([#b]?)(m7|m|7|)")
_SYMBOL = re.compile(
    r'"(?P<chord>[^"]*)"|(?P<accidental>[\^_]?)(?P<letter>[A-Ga-gz])(?P<octave>[,\']*)'
    r"(?P<times>\d*)(?P<slash>/?)(?P<over>\d*)|(?P<space>\s+)"
)


class NotationError(ValueError):
    """A strain that is misspelled or whose bars do not add up; the message is a whole sentence."""


class Note(NamedTuple):
    """A note of a bar: start and end in positions from the bar line, MIDI pitch."""

    start: int
    end: int
    pitch: int


class Chord(NamedTuple):
    """A chord: pitch class of the root (0 is C) and the intervals above it in semitones."""

    root: int
    intervals: tuple[int, ...]

    def transposed(self, semitones: int) -> Chord:
        """The same chord on another root."""
        return Chord((self.root + semitones) % 12, self.intervals)


Bar = tuple[Note, ...]
Harmony = tuple[tuple[int, Chord], ...]  # of one bar: (position it comes in, chord), the first at 0


@dataclass(frozen=True)
class Strain:
    """A section of a tune: its full bars, one harmony for each, and the pickup before the first.

    Pickup notes are placed where they sound, at the end of the bar before.
    """

    bars: tuple[Bar, ...]
    harmonies: tuple[Harmony, ...]
    pickup: Bar


def parse_chord(symbol: str) -> Chord:
    """``"F#m7"`` -> its Chord. Raises NotationError for a symbol outside major, minor and sevenths."""
    match = _CHORD.fullmatch(symbol)
    if match is None:
        raise NotationError(f"{symbol!r} is not a chord symbol such as C, F#m or G7")
    letter, accidental, quality = match.groups()
    root = _SEMITONES[letter] + {"": 0, "#": 1, "b": -1}[accidental]
    return Chord(root % 12, _QUALITIES[quality])


def _length(times: str, slash: str, over: str) -> int:
    """Length in positions of ABC's ``3/2``, ``/``, ``2`` and so on."""
    quarters = Fraction(int(times or 1), int(over or 2) if slash else 1)
    positions = quarters * POSITIONS_PER_QUARTER
    if positions.denominator != 1 or positions == 0:
        raise NotationError(f"{times}{slash}{over} is not a whole number of twelfths of a quarter note")
    return int(positions)


def _parse_bar(text: str) -> tuple[list[Note], list[tuple[int, Chord]], int]:
    """Notes, chords and length of one bar."""
    notes: list[Note] = []
    chords: list[tuple[int, Chord]] = []
    now = place = 0
    while place < len(text):
        match = _SYMBOL.match(text, place)
        if match is None:
            raise NotationError(f"{text[place:]!r} cannot be read in the bar {text.strip()!r}")
        place = match.end()
        if match["chord"] is not None:
            chords.append((now, parse_chord(match["chord"])))
        elif match["letter"]:
            end = now + _length(match["times"], match["slash"], match["over"])
            if match["letter"] != "z":
                octave = match["letter"].islower() + match["octave"].count("'") - match["octave"].count(",")
                semitones = _SEMITONES[match["letter"].upper()] + _ACCIDENTALS[match["accidental"]]
                notes.append(Note(now, end, MIDDLE_C + 12 * octave + semitones))
            now = end
    return notes, chords, now


def parse_strain(text: str) -> Strain:
    """Read a strain. Raises NotationError, naming the bar, unless every bar lasts four quarters."""
    pieces = [piece for piece in text.split("|") if piece.strip()]
    bars: list[Bar] = []
    harmonies: list[Harmony] = []
    pickup: Bar = ()
    for index, piece in enumerate(pieces):
        notes, chords, length = _parse_bar(piece)
        if index == 0 and length < BAR:
            shift = BAR - length
            pickup = tuple(Note(n.start + shift, n.end + shift, n.pitch) for n in notes)
            continue
        if length != BAR:
            raise NotationError(
                f"the bar {piece.strip()!r} lasts {Fraction(length, POSITIONS_PER_QUARTER)} quarters, not 4"
            )
        if not chords or chords[0][0] > 0:
            if not harmonies:
                raise NotationError(f"the first bar {piece.strip()!r} has no chord on its first beat")
            chords.insert(0, (0, harmonies[-1][-1][1]))
        bars.append(tuple(notes))
        harmonies.append(tuple(chords))
    if not bars:
        raise NotationError("a strain needs at least one full bar")
    return Strain(tuple(bars), tuple(harmonies), pickup)
