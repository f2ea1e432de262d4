"""Lay a tune out as a song: which strain comes when, literally or varied, and what repeats what."""

from __future__ import annotations

import random
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from typing import Literal, Optional

from data_prep.tokens.vocabulary import POSITIONS_PER_QUARTER as QUARTER

from .notation import BAR, Bar, Harmony, Note, parse_strain
from .tunes import Tune

INTRO_BARS = 4
_WHITE_KEYS = (0, 2, 4, 5, 7, 9, 11)  # the scale of every tune: C major, or A minor
Kind = Literal["intro", "new", "exact", "varied"]
# A note and the one that follows without a gap -> what replaces them, nothing where it does not apply.
Ornament = Callable[[Note, Optional[Note]], list[Note]]


@dataclass(frozen=True)
class Section:
    """A section of a song. Bars and sections are numbered from 1.

    ``kind`` says how it relates to section ``repeats``: "exact" (all bars but perhaps the last, which
    may carry another pickup) or "varied"; "new" and "intro" repeat nothing.
    """

    name: str
    first_bar: int
    bars: int
    kind: Kind
    repeats: Optional[int]


@dataclass(frozen=True)
class LeadSheet:
    """Melody and chords of a whole song, bar by bar, in the tune's own key."""

    sections: tuple[Section, ...]
    melody: tuple[Bar, ...]
    harmonies: tuple[Harmony, ...]

    def same_as(self) -> list[Optional[int]]:
        """For each bar, the number of the first bar with the same melody; its own when it is new.

        None for a bar without melody. "Same" means equal in onset, pitch and duration.
        """
        first: dict[Bar, int] = {}
        return [first.setdefault(bar, number) if bar else None for number, bar in enumerate(self.melody, 1)]


def lay_out(tune: Tune, form: str, intro: bool, rng: random.Random) -> LeadSheet:
    """The lead sheet of ``tune`` in ``form``, a list of strains such as ``"A B A' B"``.

    A pickup sounds in the bar before its section, so a song whose first strain has one always gets
    the intro: the last four bars' chords without melody.
    """
    ornaments: list[Ornament] = [_passing_note, _neighbour_note, _dotted_pair, _turn]
    rng.shuffle(ornaments)
    strains = {letter: parse_strain(text) for letter, text in tune.strains.items()}
    names = form.split()
    varied: dict[str, tuple[Bar, ...]] = {}
    first_section: dict[str, int] = {}
    sections: list[Section] = []
    melody: list[Bar] = []
    harmonies: list[Harmony] = []

    opening = strains[names[0]]
    if intro or opening.pickup:
        sections.append(Section("intro", 1, INTRO_BARS, "intro", None))
        melody += [()] * INTRO_BARS
        harmonies += opening.harmonies[-INTRO_BARS:]
    for name in names:
        letter = name.rstrip("'")
        strain = strains[letter]
        if name not in varied:
            varied[name] = strain.bars
            if name != letter:
                varied[name] = vary(strain.bars, ornaments, varied.values())
                ornaments = ornaments[2:] + ornaments[:2]
        kind: Kind = "exact" if name in first_section else "varied" if letter in first_section else "new"
        repeats = first_section.get(name, first_section.get(letter))
        sections.append(Section(name, len(melody) + 1, len(strain.bars), kind, repeats))
        first_section.setdefault(name, len(sections))
        if strain.pickup:
            melody[-1] = _with_pickup(melody[-1], strain.pickup)
        melody += varied[name]
        harmonies += strain.harmonies
    return LeadSheet(tuple(sections), tuple(melody), tuple(harmonies))


def _with_pickup(bar: Bar, pickup: Bar) -> Bar:
    """``bar``, its notes giving way where the next section's pickup begins."""
    start = pickup[0].start
    return tuple(note._replace(end=min(note.end, start)) for note in bar if note.start < start) + pickup


def vary(bars: tuple[Bar, ...], ornaments: Sequence[Ornament], taken: Collection[tuple[Bar, ...]]) -> tuple[Bar, ...]:
    """``bars`` with ornaments; the first and the last bar stay, so theme and cadence remain clear.

    Takes the first two ornaments, and more while less than a quarter of the bars has changed or the
    result is one of those already ``taken``.
    """
    result = bars
    for count, ornament in enumerate(ornaments, start=1):
        result = (bars[0], *(_ornamented(bar, ornament) for bar in result[1:-1]), bars[-1])
        changed = sum(new != old for new, old in zip(result, bars))
        if count >= 2 and 4 * changed >= len(bars) and result not in taken:
            break
    return result


def _ornamented(bar: Bar, ornament: Ornament) -> Bar:
    """Apply ``ornament`` from left to right; a note it may have moved is not touched again."""
    notes: list[Note] = []
    waiting = list(bar)
    while waiting:
        note = waiting.pop(0)
        following = waiting[0] if waiting and waiting[0].start == note.end else None
        replaced = ornament(note, following)
        if following is not None and replaced and replaced[-1].end > note.end:
            waiting.pop(0)
        notes += replaced or [note]
    return tuple(notes)


def _length(note: Note) -> int:
    return note.end - note.start


def _step_up(pitch: int) -> int:
    """The next white key above."""
    return next(p for p in range(pitch + 1, pitch + 3) if p % 12 in _WHITE_KEYS)


def _passing_note(note: Note, following: Optional[Note]) -> list[Note]:
    """Fill a leap of a third: C E -> C/ D/ E."""
    if following is None or _length(note) not in (QUARTER, 2 * QUARTER):
        return []
    low, high = sorted((note.pitch, following.pitch))
    between = [p for p in range(low + 1, high) if p % 12 in _WHITE_KEYS]
    if high - low not in (3, 4) or len(between) != 1:
        return []
    half = note.start + _length(note) // 2
    return [note._replace(end=half), Note(half, note.end, between[0])]


def _neighbour_note(note: Note, following: Optional[Note]) -> list[Note]:
    """Between two equal notes: C C -> C/ D/ C."""
    if following is None or note.pitch != following.pitch or _length(note) != QUARTER:
        return []
    half = note.start + QUARTER // 2
    return [note._replace(end=half), Note(half, note.end, _step_up(note.pitch))]


def _dotted_pair(note: Note, following: Optional[Note]) -> list[Note]:
    """Two quarters on a strong beat: C D -> C3/2 D/."""
    if following is None or note.start % (BAR // 2) or not _length(note) == _length(following) == QUARTER:
        return []
    middle = note.end + QUARTER // 2
    return [note._replace(end=middle), following._replace(start=middle)]


def _turn(note: Note, following: Optional[Note]) -> list[Note]:
    """A long note moves: C2 -> C D/ C/."""
    if _length(note) not in (2 * QUARTER, 4 * QUARTER):
        return []
    half, quarter = note.start + _length(note) // 2, note.end - _length(note) // 4
    return [
        note._replace(end=half),
        Note(half, quarter, _step_up(note.pitch)),
        Note(quarter, note.end, note.pitch),
    ]
