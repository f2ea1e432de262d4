"""What can be said of a bar: its part in a request, its place in the form, what it repeats, its tracks, its density.

Everything is optional. It becomes a row of numbers, mostly zeros and ones, which the model multiplies with a matrix
and adds to the embeddings of the bar's tokens and of its summary.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from enum import IntEnum

import numpy as np

from ..token_families import TokenFamilies

UNKNOWN = -1
NEW = 0  # as what a bar repeats: nothing
UNTOLD = -(1 << 20)  # as the distance of what it repeats, which may lie behind it: not said

# Sections as people write them down: an intro, an outro, passing ones, those with a melody, those without.
LETTER_CLASSES = "ioxXABCDEFGHabcdefgh"

_LONGEST_COUNTED = 16  # bars of a section that are told apart one by one, and last bars of a piece
_BARS_LEFT = (16, 24, 32, 48, 64, 96, 128)  # lower edges of the classes behind those
_NOTES_A_BAR = (0, 1, 4, 6, 8, 12, 16, 23, 32, 45, 64, 91, 128)  # lower edges of the classes of density
_REPEAT_ANGLES = 8  # of a distance in bars, from a half to a 64th of half a turn, as rotary positions turn bars


class Role(IntEnum):
    """What a bar is in a sequence."""

    WRITTEN = 0  # or read as if it were
    GIVEN = 1  # as it is in the piece
    VARIED = 2  # like the bar of the same number that is to be written
    PART = 3  # some tracks of the bar of the same number that is to be written


@dataclass(frozen=True)
class BarConditions:
    """What is said of n bars, int64 [n] each, ``UNKNOWN`` where nothing is, of distances ``UNTOLD``.

    ``roles`` are known. ``letters``: indices in ``LETTER_CLASSES``. ``places``: how many bars of the section came
    before; ``left_in_section`` and ``left_in_piece``: how many follow. ``distances``: how many bars before lies the one
    that is repeated, negative where it lies behind, or ``NEW``. ``notes``: how many the bar has. ``tracks`` bool [n,
    I]: which instruments play, in the order of the representation, where ``tracks_known`` bool [n].
    """

    roles: np.ndarray
    letters: np.ndarray
    places: np.ndarray
    left_in_section: np.ndarray
    left_in_piece: np.ndarray
    distances: np.ndarray
    notes: np.ndarray
    tracks: np.ndarray
    tracks_known: np.ndarray

    @staticmethod
    def nothing(roles: Sequence[int] | np.ndarray, num_instruments: int) -> BarConditions:
        """Of bars of these ``roles``."""
        roles = np.asarray(roles, dtype=np.int64)
        unknown = np.full(len(roles), UNKNOWN)
        tracks = np.zeros((len(roles), num_instruments), dtype=bool)
        untold = np.full(len(roles), UNTOLD)
        return BarConditions(roles, *[unknown] * 4, untold, unknown, tracks, np.zeros(len(roles), dtype=bool))

    def __len__(self) -> int:
        return len(self.roles)

    def at(self, bars: np.ndarray) -> BarConditions:
        """Of these bars, int64 [m]."""
        return BarConditions(*(getattr(self, name)[bars] for name in self.__dataclass_fields__))

    def told(self, **fields: np.ndarray) -> BarConditions:
        """The same, and what these say."""
        return replace(self, **fields)

    def without(self, kinds: Sequence[str], where: np.ndarray) -> BarConditions:
        """Nothing said of ``kinds`` (see ``KINDS``) where bool [n]."""
        changed: dict[str, np.ndarray] = {}
        for kind in kinds:
            for name in KINDS[kind]:
                values = getattr(self, name)
                nothing = {"tracks_known": False, "distances": UNTOLD}.get(name, UNKNOWN)
                changed[name] = np.where(where, nothing, values)
        return replace(self, **changed)


# what is told or left out together
KINDS = {
    "form": ("letters", "places", "left_in_section"),
    "length": ("left_in_piece",),
    "repeats": ("distances",),
    "tracks": ("tracks_known",),
    "density": ("notes",),
}


def letter_class(letter: str) -> int:
    """The index of a section's letter in ``LETTER_CLASSES``; letters behind H count as H, small or capital."""
    if letter in LETTER_CLASSES:
        return LETTER_CLASSES.index(letter)
    return LETTER_CLASSES.index("H" if letter.isupper() else "h")


class ConditionColumns:
    """Lays conditions out in columns; ``num_instruments``: of the representation."""

    @staticmethod
    def of(families: TokenFamilies) -> ConditionColumns:
        """For tokens of this kind."""
        return ConditionColumns(len(families.representation.instruments))

    def __init__(self, num_instruments: int) -> None:
        self.num_instruments = num_instruments
        self._classes = {  # by field: how many classes it has
            "roles": len(Role) - 1,  # a bar that is written is the plain case
            "letters": len(LETTER_CLASSES),
            "places": _LONGEST_COUNTED + 1,
            "left_in_section": _LONGEST_COUNTED + 1,
            "left_in_piece": _LONGEST_COUNTED + len(_BARS_LEFT),
            "notes": len(_NOTES_A_BAR),
        }
        before = sum(self._classes.values())
        self._repeats = slice(before, before + 2 + 2 * _REPEAT_ANGLES)
        self.width = self._repeats.stop + 1 + num_instruments
        self.instruments = slice(self.width - num_instruments, self.width)  # whether each plays

    def roles(self, features: np.ndarray) -> np.ndarray:
        """Of features [n, width] the roles, int64 [n]."""
        of_roles = features[:, : self._classes["roles"]]
        return np.where(of_roles.any(axis=1), of_roles.argmax(axis=1) + 1, Role.WRITTEN)

    def roles_and_repeats(self, features: np.ndarray) -> np.ndarray:
        """Features, float32 [n, width], that say of each bar its role and what it repeats, and nothing else."""
        found = np.zeros_like(features)
        for columns in (slice(self._classes["roles"]), self._repeats):
            found[:, columns] = features[:, columns]
        return found

    def features(self, conditions: BarConditions) -> np.ndarray:
        """float32 [n, width]."""
        classes = {
            "roles": conditions.roles - 1,
            "letters": conditions.letters,
            "places": np.minimum(conditions.places, _LONGEST_COUNTED),
            "left_in_section": np.minimum(conditions.left_in_section, _LONGEST_COUNTED),
            "left_in_piece": _class_of_bars_left(conditions.left_in_piece),
            "notes": class_of_density(conditions.notes),
        }
        parts = [_one_hot(classes[name], count) for name, count in self._classes.items()]
        known = conditions.tracks_known[:, None]
        parts += [_repeat_features(conditions.distances), known, conditions.tracks & known]
        return np.concatenate(parts, axis=1, dtype=np.float32)


def class_of_density(notes: np.ndarray) -> np.ndarray:
    """Of notes a bar, int64 [n], the class, ``UNKNOWN`` where they are."""
    return np.searchsorted(_NOTES_A_BAR, notes, side="right") - 1


def _class_of_bars_left(bars: np.ndarray) -> np.ndarray:
    far = _LONGEST_COUNTED - 1 + np.searchsorted(_BARS_LEFT, bars, side="right")
    return np.where(bars < _LONGEST_COUNTED, bars, far)


def _one_hot(classes: np.ndarray, count: int) -> np.ndarray:
    """bool [n, count]; a class below 0 has none."""
    return classes[:, None] == np.arange(count)


def _repeat_features(distances: np.ndarray) -> np.ndarray:
    """float64 [n, 2 + 2 angles]: whether a bar is new, whether it repeats one, and cosines and sines of how far off.

    A linear map of these can turn a query by the distance, so that it finds the bar.
    """
    angles = math.pi / np.geomspace(2, 64, _REPEAT_ANGLES) * distances[:, None]
    repeats = (distances != UNTOLD) & (distances != NEW)
    columns = [np.cos(angles) * repeats[:, None], np.sin(angles) * repeats[:, None]]
    return np.concatenate([(distances == NEW)[:, None], repeats[:, None], *columns], axis=1)
