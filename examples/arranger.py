"""Arrange a lead sheet for the six tracks: melody, drums, bass, guitar, piano and strings."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple, Optional

from data_prep.tokens.vocabulary import DRUMS, SIX_TRACK
from data_prep.tokens.vocabulary import POSITIONS_PER_QUARTER as QUARTER

from .forms import LeadSheet, Section
from .notation import BAR, Chord, Harmony
from .patterns import CRASH, FILL_KEYS, FILLS, KICK, Groove, Style

MELODY, BASS, GUITAR, PIANO, STRINGS = (
    SIX_TRACK.instrument_of(name) for name in ("melody", "bass", "guitar", "piano", "strings")
)
_LEVELS = {MELODY: 100, DRUMS: 82, BASS: 88, GUITAR: 70, PIANO: 72, STRINGS: 62}  # MIDI velocities
_HIT_LEVELS = {"X": 14, "x": 0, "o": -26}
_HIT_LENGTH = QUARTER // 4
_LOWEST_BASS = 28  # low E of the double bass; roots lie in the octave above
_LOW_E_STRING = 40
_LEFT_HAND, _STRING_BASS = 40, 36  # lowest roots of the piano's left hand and of the string basses
_RIGHT_HAND_CENTRE, _STRINGS_CENTRE = 62, 60
_MELODY_CENTRE = (69, 80)  # where the melody's middle pitch is put
_FINAL_BAR = {BASS: "R - - -", GUITAR: "v - - -", PIANO: "L* - - -", STRINGS: "R* - - -"}


class PlayedNote(NamedTuple):
    """A note of a song: start and end in positions from its beginning, MIDI pitch and velocity."""

    start: int
    end: int
    pitch: int
    velocity: int


Voicing = Mapping[str, tuple[int, ...]]  # symbol of a pattern -> pitches
Parts = dict[int, list[PlayedNote]]  # instrument (program, or 128 for drums) -> notes


def arrange(sheet: LeadSheet, style: Style, key: int, rng: random.Random) -> Parts:
    """All parts of the song, ``key`` semitones above the tune's own key.

    Each strain keeps its accompaniment when it comes back. The strings wait for the second section
    and the drums play no more than a kick in the intro.
    """
    parts: Parts = {instrument: [] for instrument in (MELODY, DRUMS, BASS, GUITAR, PIANO, STRINGS)}
    parts[MELODY] = _melody(sheet, key)
    harmonies = [tuple((at, chord.transposed(key)) for at, chord in bar) for bar in sheet.harmonies]
    voicings = {
        BASS: _bass_voicings(harmonies),
        GUITAR: [[_guitar(chord) for _, chord in bar] for bar in harmonies],
        PIANO: _keyboard_voicings(harmonies, _RIGHT_HAND_CENTRE, "L", _LEFT_HAND),
        STRINGS: _keyboard_voicings(harmonies, _STRINGS_CENTRE, "R", _STRING_BASS),
    }
    choices: dict[str, tuple[Groove, dict[int, str]]] = {}
    entrance_of_strings = sheet.sections[0].bars + 1
    for section in sheet.sections:
        letter = section.name.rstrip("'")
        if letter not in choices:
            choices[letter] = _choose(style, rng)
        groove, patterns = choices[letter]
        for bar in range(section.first_bar, section.first_bar + section.bars):
            final = bar == len(harmonies)
            for instrument, pattern in (_FINAL_BAR if final else patterns).items():
                if instrument == STRINGS and bar < entrance_of_strings:
                    continue
                parts[instrument] += _play(
                    pattern, harmonies[bar - 1], voicings[instrument][bar - 1], bar, instrument, rng
                )
            parts[DRUMS] += _drums(groove, style, section, bar, final, rng)
    for notes in parts.values():
        notes[:] = sorted(_swung(note) for note in notes) if style.swing else sorted(notes)
    return parts


def _choose(style: Style, rng: random.Random) -> tuple[Groove, dict[int, str]]:
    return rng.choice(style.grooves), {
        BASS: rng.choice(style.bass),
        GUITAR: rng.choice(style.guitar),
        PIANO: rng.choice(style.piano),
        STRINGS: rng.choice(style.strings),
    }


def _swung(note: PlayedNote) -> PlayedNote:
    """Eighths as two thirds and one third of a beat, sixteenths likewise within them."""

    def move(position: int) -> int:
        beat, within = divmod(position, QUARTER)
        half = QUARTER // 2
        late = within * 4 // 3 if within <= half else 8 + (within - half) * 2 // 3
        return beat * QUARTER + late

    return note._replace(start=move(note.start), end=move(note.end))


def _melody(sheet: LeadSheet, key: int) -> list[PlayedNote]:
    """The melody in the octave where it stands above the band; accents follow the metre alone."""
    pitches = sorted(note.pitch + key for bar in sheet.melody for note in bar)
    middle = pitches[len(pitches) // 2]
    octave = next(o for o in (0, 12, 24, -12) if _MELODY_CENTRE[0] <= middle + o <= _MELODY_CENTRE[1])
    return [
        PlayedNote(
            BAR * index + note.start,
            BAR * index + note.end,
            note.pitch + key + octave,
            _LEVELS[MELODY] + _metric_accent(note.start),
        )
        for index, bar in enumerate(sheet.melody)
        for note in bar
    ]


def _metric_accent(position: int) -> int:
    """Velocity to add at a position of the bar: strong, half-strong and weak beats, and between them."""
    if position == 0:
        return 8
    if position == BAR // 2:
        return 4
    return 0 if position % QUARTER == 0 else -6


def _velocity(instrument: int, position: int, rng: random.Random, extra: int = 0) -> int:
    velocity = _LEVELS[instrument] + _metric_accent(position) + extra + rng.randint(-3, 3)
    return min(max(velocity, 1), 127)


def _play(
    pattern: str, harmony: Harmony, voicings: list[Voicing], bar: int, instrument: int, rng: random.Random
) -> Iterator[PlayedNote]:
    """One bar of a pitched pattern; what would ring across a change of chord is struck anew."""
    ends = [at for at, _ in harmony[1:]] + [BAR]
    for start, end, symbols in _steps(pattern):
        for (chord_start, _), chord_end, voicing in zip(harmony, ends, voicings):
            low, high = max(start, chord_start), min(end, chord_end)
            if low >= high:
                continue
            # A bass states the root of a chord that has just come in.
            names = "R" if instrument == BASS and low == chord_start else symbols
            velocity = _velocity(instrument, low, rng)
            for pitch in sorted({pitch for name in names for pitch in voicing[name]}):
                yield PlayedNote(BAR * (bar - 1) + low, BAR * (bar - 1) + high, pitch, velocity)


def _steps(pattern: str) -> Iterator[tuple[int, int, str]]:
    """(start, end, symbols) of each strike of a pattern."""
    steps = pattern.split()
    length = BAR // len(steps)
    for index, symbols in enumerate(steps):
        if symbols in ".-":
            continue
        end = index + 1
        while end < len(steps) and steps[end] == "-":
            end += 1
        yield index * length, end * length, symbols


def _drums(
    groove: Groove, style: Style, section: Section, bar: int, final: bool, rng: random.Random
) -> Iterator[PlayedNote]:
    """One bar of drums: the groove, a crash when a section enters, a fill before the next one."""
    fill_from = BAR
    hits: list[tuple[int, int, str]] = []
    if final:
        hits, groove = [(0, KICK, "X"), (0, CRASH, "x")], ()
    elif section.kind == "intro":
        groove = ((KICK, "x...x..."),)
    elif bar == section.first_bar and style.fills:
        hits.append((0, CRASH, "x"))
    if not final and style.fills and bar == section.first_bar + section.bars - 1:
        fill_from = BAR // 2
        fill = rng.choice(FILLS)
        step = fill_from // len(fill)
        hits += [
            (fill_from + step * n, FILL_KEYS[name], "x" if n % 4 else "X") for n, name in enumerate(fill) if name != "."
        ]
    for key, steps in groove:
        step = BAR // len(steps)
        hits += [(step * n, key, hit) for n, hit in enumerate(steps) if hit != "." and step * n < fill_from]
    for position, key, hit in hits:
        start = BAR * (bar - 1) + position
        velocity = _velocity(DRUMS, position, rng, _HIT_LEVELS[hit])
        yield PlayedNote(start, start + _HIT_LENGTH, key, velocity)


def _at_or_above(lowest: int, pitch_class: int) -> int:
    return lowest + (pitch_class - lowest) % 12


def _bass_voicings(harmonies: list[Harmony]) -> list[list[Voicing]]:
    """Root, third and fifth of each chord, and the leading note to the next bar's root."""
    voicings: list[list[Voicing]] = []
    for bar, following in zip(harmonies, harmonies[1:] + [harmonies[-1]]):
        next_root = _at_or_above(_LOWEST_BASS, following[0][1].root)
        voicings.append([_bass(chord, next_root) for _, chord in bar])
    return voicings


def _bass(chord: Chord, next_root: int) -> Voicing:
    root = _at_or_above(_LOWEST_BASS, chord.root)
    fifth = root + 7 if root < _LOWEST_BASS + 6 else root - 5
    # Where the harmony stays there is nothing to lead to; the fifth below prepares the root as well.
    leading = next_root - 1 if next_root != root else fifth
    return {"R": (root,), "3": (root + chord.intervals[1],), "5": (fifth,), "L": (leading,)}


def _guitar(chord: Chord) -> Voicing:
    """The barré shapes of E and A on the five strings they have in common."""
    root = _at_or_above(_LOW_E_STRING, chord.root)
    third, _, octave = (*chord.intervals[1:], 12)[:3]  # a seventh takes the place of the octave
    strings = (root, root + 7, root + octave, root + 12 + third, root + 19)
    single = {str(number): (pitch,) for number, pitch in enumerate(strings, start=1)}
    return {**single, "v": strings, "^": strings[-3:]}


def _keyboard_voicings(harmonies: list[Harmony], centre: int, root_name: str, lowest_root: int) -> list[list[Voicing]]:
    """Three close voices that move as little as they can, and the root below them."""
    voices: Optional[tuple[int, ...]] = None
    voicings: list[list[Voicing]] = []
    for bar in harmonies:
        voicings.append([])
        for _, chord in bar:
            voices = min(_inversions(chord, centre), key=lambda new: _cost(new, voices, centre))
            single = {str(number): (pitch,) for number, pitch in enumerate(voices, start=1)}
            root = (_at_or_above(lowest_root, chord.root),)
            voicings[-1].append({**single, "*": voices, root_name: root})
    return voicings


def _inversions(chord: Chord, centre: int) -> Iterable[tuple[int, ...]]:
    """Close positions around ``centre``; a seventh chord leaves out its fifth."""
    third, fifth = chord.intervals[1:3]
    tones = (0, third, chord.intervals[3] if len(chord.intervals) > 3 else fifth)
    for lowest in range(centre - 10, centre + 2):
        pitches = sorted(_at_or_above(lowest, chord.root + tone) for tone in tones)
        if pitches[0] == lowest:
            yield tuple(pitches)


def _cost(voices: tuple[int, ...], previous: Optional[tuple[int, ...]], centre: int) -> float:
    """Semitones moved from the previous chord, and a pull back to the centre of the register."""
    moved = sum(abs(a - b) for a, b in zip(voices, previous)) if previous else 0
    return moved + abs(sum(voices) / len(voices) - centre)
