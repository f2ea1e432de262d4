"""The one home of the vocabulary: how tokens are spelled, their ranges and units.

A token is ``family-id``; a piece is one line of tokens separated by spaces and ends with ``b-1``. ``FAMILIES`` says
what tokens there are and what a piece must obey; positions and durations count twelfths of a quarter note. Two
representations exist::

    six_track   ( t (o (i (p d v)+)+)* b-1 )+      4/4 only, six instruments
    general     ( s (o t (i (p d v)+)+)* b-1 )+    any metre, any instrument

(REMIGEN2 and REMIGEN of the original system.) ``grammar`` holds pieces to them.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cached_property
from itertools import zip_longest

POSITIONS_PER_QUARTER = 12
POSITIONS_PER_WHOLE = 4 * POSITIONS_PER_QUARTER
END_OF_BAR = "b-1"

DRUMS = 128  # the instrument id of every drum track; 0-127 are General MIDI programs
DRUM_PITCH_OFFSET = 128  # pitch ids 128-255 are drum sounds
VELOCITY_STEP = 4  # MIDI velocities per velocity id
TEMPO_MIN_BPM, TEMPO_MAX_BPM, TEMPO_STEPS_PER_OCTAVE = 16, 256, 12
DURATION_CELLS, DURATION_OCTAVES = 12, 8
MAX_DURATION_ID = DURATION_CELLS * DURATION_OCTAVES - 1
MAX_VELOCITY_ID = 31
MAX_TEMPO_ID = 48
MAX_PITCH_ID = 255
METRE_DENOMINATORS = (1, 2, 4, 8, 16, 32, 64)

DEFAULT_TEMPO_BPM = 120.0
DEFAULT_METRE = (4, 4)


class TokenError(ValueError):
    """A token line that is misspelled or breaks the grammar; the message is a whole sentence."""


METRES = tuple((n, d) for d in METRE_DENOMINATORS for n in range(1, 2 * d + 1))
_METRE_IDS = {metre: index for index, metre in enumerate(METRES)}


def metre_id(numerator: int, denominator: int) -> int:
    """Id of a metre: denominators 1, 2, 4 ... 64, numerators 1 ... 2*denominator (4/4 is 9).

    Raises KeyError when the metre is not representable.
    """
    return _METRE_IDS[numerator, denominator]


def bar_length(numerator: int, denominator: int) -> int:
    """Length of a bar in positions (twelfths of a quarter), rounded down."""
    return numerator * POSITIONS_PER_WHOLE // denominator


def duration_id(duration: int) -> int:
    """Id of a duration in positions: 8 octaves of 12 cells, octave i from 12*(2^i - 1) with cells 2^i wide.

    Durations past the last cell take its id.
    """
    octave = (duration // DURATION_CELLS + 1).bit_length() - 1
    if octave >= DURATION_OCTAVES:
        return MAX_DURATION_ID
    cell = (duration - DURATION_CELLS * (2**octave - 1)) >> octave
    return DURATION_CELLS * octave + cell


def duration_of(id_: int) -> int:
    """Left edge of a duration cell in positions, at least 1; ids past the last cell (95) take its edge."""
    octave, cell = divmod(min(id_, MAX_DURATION_ID), DURATION_CELLS)
    return max(1, DURATION_CELLS * (2**octave - 1) + (cell << octave))


def tempo_id(bpm: float) -> int:
    """round(12 * log2(bpm / 16)), with bpm clipped to 16-256."""
    bpm = min(max(bpm, TEMPO_MIN_BPM), TEMPO_MAX_BPM)
    return round(TEMPO_STEPS_PER_OCTAVE * math.log2(bpm / TEMPO_MIN_BPM))


def tempo_of(id_: int) -> float:
    """Beats per minute of a tempo id."""
    return TEMPO_MIN_BPM * 2 ** (id_ / TEMPO_STEPS_PER_OCTAVE)


def velocity_id(velocity: int) -> int:
    """Id of a MIDI velocity 0-127."""
    return velocity // VELOCITY_STEP


def velocity_of(id_: int) -> int:
    """MIDI velocity at the middle of a velocity cell."""
    return VELOCITY_STEP * id_ + VELOCITY_STEP // 2


class Order(Enum):
    """How the tokens of a family follow each other, ``Family.since`` others."""

    FREE = "free"
    RISES = "rises"  # each above the one before
    FALLS = "falls"  # the falling families together, as a tuple in their order, are no higher than before


@dataclass(frozen=True)
class Narrowing:
    """The latest token of ``family`` leaves the ids from the first to the second of ``ids_under`` of its own id.

    ``before`` is the id that counts until there is one; with None all ids are left.
    """

    family: str
    ids_under: Callable[[int], tuple[int, int]]
    before: int | None = None


@dataclass(frozen=True)
class Family:
    """What the tokens of one letter say and where they may stand: the grammar, but for what follows what.

    ``ids``: those that pieces hold; dictionaries have more. ``order`` is that of ids (of instruments that of the
    representation), and begins anew after a token of each family in ``since``, which come before it in every chain
    and in that order.
    """

    letter: str
    name: str
    ids: Collection[int]
    order: Order = Order.FREE
    since: str = ""
    narrowing: Narrowing | None = None


def _onsets_in(metre: int) -> tuple[int, int]:
    return 0, bar_length(*METRES[metre]) - 1


def _pitches_of(instrument: int) -> tuple[int, int]:
    return (DRUM_PITCH_OFFSET, MAX_PITCH_ID) if instrument == DRUMS else (0, DRUM_PITCH_OFFSET - 1)


# In a bar shorter than one position, that of 1/64, nothing can sound.
_PLAYABLE = frozenset(id_ for id_, metre in enumerate(METRES) if bar_length(*metre))
_IN_4_4 = metre_id(*DEFAULT_METRE)

FAMILIES = (
    Family("b", "bar end", (1,)),
    Family("s", "metre", _PLAYABLE),
    Family("o", "onset", range(128), Order.RISES, since="b", narrowing=Narrowing("s", _onsets_in, before=_IN_4_4)),
    Family("t", "tempo", range(MAX_TEMPO_ID + 1)),
    Family("i", "instrument", range(DRUMS + 1), Order.RISES, since="bo"),
    Family("p", "pitch", range(MAX_PITCH_ID + 1), Order.FALLS, since="boi", narrowing=Narrowing("i", _pitches_of)),
    Family("d", "duration", range(MAX_DURATION_ID + 1), Order.FALLS, since="boi"),
    Family("v", "velocity", range(MAX_VELOCITY_ID + 1), Order.FALLS, since="boi"),
)
LETTERS = "".join(family.letter for family in FAMILIES)


@dataclass(frozen=True)
class TrackRole:
    """A track that songs are merged into: its name, its instrument, and the programs whose notes join it.

    ``instrument`` is a General MIDI program or ``DRUMS``. Of two tracks that take one program the more particular has
    it, the one that takes fewer.
    """

    name: str
    instrument: int
    takes: tuple[int, ...] = ()


@dataclass(frozen=True, eq=False)
class Representation:
    """One of the two token representations.

    ``entries`` gives the dictionary in order, as (family, ids); ``<c>`` and the like stand as (symbol, ()).
    ``chain`` lists the families from the one that opens every bar to velocity. ``instruments`` is the order of
    instruments at one onset; ``tracks`` says what they are, where each has a role of its own.
    """

    name: str
    entries: tuple[tuple[str, tuple[int, ...]], ...]
    chain: str
    instruments: tuple[int, ...]
    tracks: tuple[TrackRole, ...] = ()

    @cached_property
    def successors(self) -> Mapping[str, frozenset[str]]:
        """The families that may follow each: in the chain, after a velocity back up it, or the bar's end."""
        follows = {a: {b} for a, b in zip(self.chain, self.chain[1:])}
        follows["v"] = {"p", "i", "o", "b"}
        follows[self.bar_start].add("b")
        follows["b"] = {self.bar_start}
        return {family: frozenset(after) for family, after in follows.items()}

    @property
    def bar_start(self) -> str:
        """The family that opens every bar."""
        return self.chain[0]

    def track_names(self) -> dict[int, str]:
        """The name of the track of each instrument, in order; empty without roles."""
        return {track.instrument: track.name for track in self.tracks}

    def instrument_of(self, track_name: str) -> int:
        """The instrument of a track. Raises KeyError when there is no such track."""
        return {track.name: track.instrument for track in self.tracks}[track_name]

    def taken_by(self) -> dict[int, int]:
        """By program the instrument of the track that takes it, in representations whose tracks have roles."""
        particular_last = sorted(self.tracks, key=lambda track: -len(track.takes))
        return {program: track.instrument for track in particular_last for program in track.takes}

    def name_of(self, instrument: int) -> str:
        """What a track of ``instrument`` is called: its role, ``drums``, or its program as a number."""
        return self.track_names().get(instrument, "drums" if instrument == DRUMS else str(instrument))

    @property
    def has_metre(self) -> bool:
        """Whether bars open with their metre; without it every bar is 4/4."""
        return "s" in self.chain

    def symbols(self) -> list[str]:
        """All dictionary entries in order, without fairseq's own four."""
        return [
            symbol for family, ids in self.entries for symbol in ([f"{family}-{i}" for i in ids] if ids else [family])
        ]

    def dict_txt(self) -> str:
        """The text of ``dict.txt``: one ``symbol count`` line per entry (fairseq ignores the counts)."""
        return "".join(f"{symbol} 0\n" for symbol in self.symbols())


def _ids(count: int) -> tuple[int, ...]:
    return tuple(range(count))


# The six tracks, in the order of their tokens at one onset. The melody is found by what it plays; percussion and
# sound effects (113, 115-127) join no track, since their pitches mean nothing on another instrument; and
# synthesisers (80-87, 96-103) join one by how they play.
_TRACKS = (
    TrackRole("melody", 80),
    TrackRole("drums", DRUMS),
    TrackRole("bass", 43, takes=(*range(32, 40), 43, 58)),
    TrackRole("guitar", 25, takes=(15, *range(24, 32), 46, *range(104, 108))),
    TrackRole("piano", 0, takes=(*range(15), *range(16, 21), 108, 112, 114)),
    TrackRole(
        "strings",
        48,
        takes=(21, 22, 23, 40, 41, 42, 44, 45, *range(47, 58), *range(59, 80), *range(88, 96), 109, 110, 111),
    ),
)
SIX_TRACK = Representation(
    name="six_track",
    entries=(
        ("b", _ids(2)),
        ("o", _ids(64)),
        ("i", tuple(sorted(track.instrument for track in _TRACKS))),
        ("p", _ids(256)),
        ("d", _ids(128)),
        ("v", _ids(32)),
        ("t", _ids(49)),
        ("<c>", ()),
        ("</c>", ()),
        ("u", _ids(17)),
    ),
    chain="toipdv",
    instruments=tuple(track.instrument for track in _TRACKS),
    tracks=_TRACKS,
)
GENERAL = Representation(
    name="general",
    entries=(
        ("b", _ids(2)),
        ("o", _ids(128)),
        ("i", _ids(129)),
        ("p", _ids(256)),
        ("d", _ids(128)),
        ("v", _ids(32)),
        ("s", _ids(254)),
        ("t", _ids(49)),
        ("e", _ids(2)),
        ("u", _ids(40)),
    ),
    chain="sotipdv",
    instruments=_ids(129),
)
REPRESENTATIONS = {r.name: r for r in (SIX_TRACK, GENERAL)}


def detect_representation(tokens: Iterable[str]) -> Representation:
    """``general`` when there is a metre token, else ``six_track``."""
    return GENERAL if any(token.startswith("s-") for token in tokens) else SIX_TRACK


def representation_of(symbols: Iterable[str]) -> Representation:
    """The representation whose dictionary is exactly ``symbols``, in order.

    Raises TokenError naming the first difference to the closer of the two.
    """
    symbols = list(symbols)

    def first_difference(representation: Representation) -> int:
        pairs = zip_longest(symbols, representation.symbols())
        return next((n for n, (a, b) in enumerate(pairs) if a != b), len(symbols))

    closest = max(REPRESENTATIONS.values(), key=first_difference)
    expected, same = closest.symbols(), first_difference(closest)
    if symbols == expected:
        return closest
    found = repr(symbols[same]) if same < len(symbols) else "the end of the dictionary"
    wanted = repr(expected[same]) if same < len(expected) else "the end of the dictionary"
    raise TokenError(
        f"the dictionary is neither six_track nor general: entry {same + 1} is {found} where "
        f"{closest.name} has {wanted}; use the dict.txt that data_prep.make_splits writes"
    )


def split_token(token: str) -> tuple[str, int]:
    """``"p-64"`` -> ``("p", 64)``. Raises TokenError when it is not spelled ``family-id``."""
    family, dash, number = token.partition("-")
    if not dash or not number.isascii() or not number.isdigit():
        raise TokenError(f"{token!r} is not a token of the form family-id")
    return family, int(number)
