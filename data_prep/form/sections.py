"""Sections of a form, as text and back: ``i4A8A8B8A8o2`` are six sections, each a letter and its length in bars.

Capital letters are sections with a melody, small ones sections without; ``i`` is the intro, ``o`` the outro, ``x`` and
``X`` pass from one section to another. Sections of one letter repeat one another, passing ones do not. (The letters are
those of Dai, Zhang and Dannenberg, Automatic Analysis and Influence of Hierarchical Structure on Melody, Rhythm and
Harmony in Popular Music, 2020.)
"""

from __future__ import annotations

import re
import string
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from data_prep.tokens.encode import MAX_BARS

SECTION_LETTERS = string.ascii_uppercase + string.ascii_lowercase
INTRO, OUTRO, PASSING, PASSING_MELODY = "i", "o", "x", "X"
LETTER, PLACE, LEFT_IN_SECTION, LEFT_IN_PIECE = range(4)  # columns of ``bar_columns``
_SECTION = re.compile(r"([A-Za-z])([0-9]+)")


class FormError(ValueError):
    """A form that cannot be read; the message is a sentence without its full stop."""


@dataclass(frozen=True)
class Section:
    """A section: its letter, its first bar, counted from 0, and its length in bars."""

    letter: str
    first_bar: int
    bars: int


def form_text(sections: Sequence[Section]) -> str:
    """The sections as text: letter and length of each."""
    return "".join(f"{section.letter}{section.bars}" for section in sections)


def parse_form(text: str) -> tuple[Section, ...]:
    """The sections that ``text`` lists, from bar 0 on, without gaps.

    Raises FormError, saying at which place, where it is not a list of letters with their lengths in bars.
    """
    sections: list[Section] = []
    place = first_bar = 0
    if not text:
        raise FormError(
            "the form is empty; write the letter of each section and its length in bars, as in i4A8A8B8A8o2"
        )
    while place < len(text):
        found = _SECTION.match(text, place)
        if not found:
            raise FormError(
                f"this is no form: at place {place + 1} stands {text[place : place + 6]!r}, not a letter with a length "
                "in bars; write it as i4A8A8B8A8o2"
            )
        letter, bars = found[1], int(found[2][:9])
        if not bars:
            raise FormError(f"this is no form: section {len(sections) + 1}, {letter}0, has no bars")
        sections.append(Section(letter, first_bar, bars))
        first_bar += bars
        if first_bar > MAX_BARS:
            raise FormError(f"the form is too long: with section {len(sections)} it has more than {MAX_BARS} bars")
        place = found.end()
    return tuple(sections)


def is_form(text: str) -> bool:
    """Whether ``text`` looks like a form, whatever its lengths."""
    return re.fullmatch(f"({_SECTION.pattern})+", text) is not None


def bar_columns(sections: Sequence[Section]) -> np.ndarray:
    """int64 [bars, 4]: of each bar the index of its letter in SECTION_LETTERS, its place in the section from 0, and how
    many bars follow it in the section and in the piece."""
    lengths = np.array([section.bars for section in sections], dtype=np.int64)
    letters = np.array([SECTION_LETTERS.index(section.letter) for section in sections], dtype=np.int64)
    ends = np.cumsum(lengths)
    bars = np.arange(lengths.sum())
    columns = [
        np.repeat(letters, lengths),
        bars - np.repeat(ends - lengths, lengths),
        np.repeat(ends, lengths) - bars - 1,
    ]
    return np.column_stack([*columns, len(bars) - 1 - bars])
