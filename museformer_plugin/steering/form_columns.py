"""A form as conditions of its bars."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import chain

import numpy as np

from data_prep.form import repeats
from data_prep.form.outlines import Repeat
from data_prep.form.sections import (
    LEFT_IN_SECTION,
    LETTER,
    PASSING_MELODY,
    PLACE,
    SECTION_LETTERS,
    Section,
    bar_columns,
)

from .conditions import NEW, letter_class


def bars_without_melody(sections: Sequence[Section]) -> frozenset[int]:
    """The numbers, from 1, of the bars of sections under small letters, where the melody is silent.

    But for the last of such a section, in which the melody of the next may begin: in a third of people's songs it does.
    """
    silent: set[int] = set()
    for section, following in zip(sections, [*sections[1:], None]):
        if section.letter.islower():
            upbeat = following is not None and following.letter.isupper()
            silent.update(range(section.first_bar + 1, section.first_bar + section.bars + 1 - upbeat))
    return frozenset(silent)


def bars_where_melody_enters(sections: Sequence[Section]) -> frozenset[int]:
    """The numbers, from 1, of the first bars of sections with a melody that may come again: capital letters but X."""
    return frozenset(section.first_bar + 1 for section in _melodic(sections))


def bars_with_melody(sections: Sequence[Section]) -> frozenset[int]:
    """The numbers, from 1, of all bars of such sections."""
    bars = (range(section.first_bar + 1, section.first_bar + section.bars + 1) for section in _melodic(sections))
    return frozenset(chain.from_iterable(bars))


def _melodic(sections: Sequence[Section]) -> list[Section]:
    return [section for section in sections if section.letter.isupper() and section.letter != PASSING_MELODY]


def columns_of_form(sections: Sequence[Section]) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Of each bar of a form the class of its letter, its place in the section, and how many follow in it."""
    columns = bar_columns(sections)
    classes = np.array([letter_class(letter) for letter in SECTION_LETTERS])
    return classes[columns[:, LETTER]], columns[:, PLACE], columns[:, LEFT_IN_SECTION]


def distances_of(repeated: np.ndarray) -> np.ndarray:
    """How many bars before each bar of a piece lies the one that it repeats, ``conditions.NEW`` for none.

    int64 [bars] each, bars counted from 0. A bar that repeats none has ``data_prep.form.repeats.NEW``.
    """
    return np.where(repeated == repeats.NEW, NEW, np.arange(len(repeated)) - repeated)


def distance_of(repeat: Repeat) -> int:
    """How many bars before a bar lies the one that it repeats, ``conditions.NEW`` for none."""
    return NEW if repeat.repeated == repeats.NEW else repeat.bar - repeat.repeated
