"""Which sections repeat one another: the letters."""

from __future__ import annotations

import string
from collections.abc import Sequence

import numpy as np

from data_prep.form.sections import INTRO, OUTRO, PASSING, PASSING_MELODY, Section

ALIKE = 0.5  # the least mean likeness of a section to those of its letter
SUNG = 0.5  # the least share of its bars in which a section with a melody has one
_SMALL = "".join(letter for letter in string.ascii_lowercase if letter not in (INTRO, OUTRO, PASSING, "a"))
_CAPITAL = "".join(letter for letter in string.ascii_uppercase if letter != PASSING_MELODY)


def lettered(lines: np.ndarray, sums: np.ndarray, has_melody: np.ndarray) -> tuple[Section, ...]:
    """The sections between ``lines``, int64 [sections + 1], with their letters.

    ``sums``, float64 [lags, bars + 1], are ``running_sums`` of the likeness by lag; ``has_melody`` bool [bars]. Two
    sections are as alike as their bars are on average, one by one from their beginnings as far as the shorter one goes.
    Each section joins the group of earlier ones which it is most like on average, if that is ALIKE at least; sections
    with melody never join those without. A group of one passes (x, X), and
    neighbours that do are one section. The first section without melody is the intro,
    the last in which no melody begins the outro. Past the last letter the last one is used.
    """
    firsts, lengths = lines[:-1], np.diff(lines)
    shares = np.add.reduceat(has_melody.astype(float), firsts) / lengths
    sung = shares >= SUNG
    letters = [""] * len(firsts)
    if len(firsts) > 1 and not shares[-1]:
        letters[-1] = OUTRO
    if not sung[0]:
        letters[0] = INTRO
    grouped = np.array([index for index, letter in enumerate(letters) if not letter], dtype=np.int64)
    groups = _groups(firsts[grouped], lengths[grouped], sung[grouped], sums)
    for index, letter in zip(grouped, _names(groups, sung[grouped])):
        letters[index] = letter
    return _joined(letters, lengths.tolist())


def _joined(letters: Sequence[str], lengths: Sequence[int]) -> tuple[Section, ...]:
    """The sections, with neighbours that pass alike as one."""
    sections: list[Section] = []
    first_bar = 0
    for letter, bars in zip(letters, lengths):
        if sections and letter == sections[-1].letter and letter in (PASSING, PASSING_MELODY):
            before = sections.pop()
            sections.append(Section(letter, before.first_bar, before.bars + bars))
        else:
            sections.append(Section(letter, first_bar, bars))
        first_bar += bars
    return tuple(sections)


def _groups(firsts: np.ndarray, lengths: np.ndarray, sung: np.ndarray, sums: np.ndarray) -> np.ndarray:
    """int64 [sections]: the group of each, numbered in order of their first sections."""
    groups = np.zeros(len(firsts), dtype=np.int64)
    count = 0
    for index in range(len(firsts)):
        earlier = np.flatnonzero((firsts[index] - firsts[:index] <= len(sums)) & (sung[:index] == sung[index]))
        lags = firsts[index] - firsts[earlier]
        shared = np.minimum(lengths[index], lengths[earlier])
        alike = (sums[lags - 1, firsts[index] + shared] - sums[lags - 1, firsts[index]]) / shared
        members = np.bincount(groups[earlier], minlength=count)
        means = np.bincount(groups[earlier], alike, minlength=count) / np.maximum(members, 1)
        if len(earlier) and means.max() >= ALIKE:
            groups[index] = means.argmax()
        else:
            groups[index] = count
            count += 1
    return groups


def _names(groups: np.ndarray, sung: np.ndarray) -> Sequence[str]:
    sizes = np.bincount(groups)
    names: dict[int, str] = {}
    used = [0, 0]
    letters = []
    for group, with_melody in zip(groups.tolist(), sung.tolist()):
        if sizes[group] == 1:
            letters.append(PASSING_MELODY if with_melody else PASSING)
            continue
        if group not in names:
            alphabet = _CAPITAL if with_melody else _SMALL
            names[group] = alphabet[min(used[with_melody], len(alphabet) - 1)]
            used[with_melody] += 1
        letters.append(names[group])
    return letters
