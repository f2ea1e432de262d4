"""A form, and which bars repeat which besides what its letters say, as text and back: ``A8B8A8 5-8=1-4,24=new``.

Bars 5 to 8 repeat bars 1 to 4, bar 24 repeats none. Every other bar repeats the one at its place in the latest section
of its letter, where there is one and the section is none that passes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import repeat
from pathlib import Path

import numpy as np

from data_prep.bar_ranges import BarRangeError, parse_bar_ranges
from data_prep.form.repeats import NEW
from data_prep.form.sections import PASSING, PASSING_MELODY, FormError, Section, form_text, parse_form
from data_prep.tokens.encode import MAX_BARS

_NEW = "new"
_EXAMPLE = "9-12=1-4, or 16=new"
_LONGEST_PART = 32  # characters of such an example, so that sentences which quote one stay short

# Bars, each once, and what they repeat, both from 0; ``data_prep.form.repeats.NEW`` is nothing.
Repeats = tuple[tuple[int, int], ...]


@dataclass(frozen=True)
class Outline:
    """``sections``, and ``repeats`` of bars that repeat others than their letters say."""

    sections: tuple[Section, ...] = ()
    repeats: Repeats = ()

    @property
    def num_bars(self) -> int:
        """Of all sections."""
        return sum(section.bars for section in self.sections)

    def repeated_bars(self) -> np.ndarray:
        """int64 [bars]: what each bar repeats, ``NEW`` for nothing."""
        repeated = repeats_by_letter(self.sections)
        for bar, other in self.repeats:
            repeated[bar] = other
        return repeated


def repeats_by_letter(sections: Sequence[Section]) -> np.ndarray:
    """int64 [bars]: the bar at the same place of the latest section before of the same letter, ``NEW`` where there is
    none; passing sections repeat nothing."""
    repeated = np.full(sum(section.bars for section in sections), NEW)
    latest: dict[tuple[str, int], int] = {}
    for section in sections:
        if section.letter in (PASSING, PASSING_MELODY):
            continue
        for place in range(section.bars):
            bar = section.first_bar + place
            repeated[bar] = latest.get((section.letter, place), NEW)
            latest[section.letter, place] = bar
    return repeated


def outline_of(sections: tuple[Section, ...], repeats: np.ndarray) -> Outline:
    """The outline of a piece whose bars repeat ``repeats``, int64 [bars]."""
    others = np.flatnonzero(repeats != repeats_by_letter(sections))
    return Outline(sections, tuple((int(bar), int(repeats[bar])) for bar in others))


def outline_text(outline: Outline) -> str:
    """The outline as ``parse_outline`` reads it."""
    runs: list[list[int]] = []  # first bar, last bar, and what the first repeats
    for bar, repeated in outline.repeats:
        if runs and bar == runs[-1][1] + 1:
            first, _, of_first = runs[-1]
            if repeated == (NEW if of_first == NEW else of_first + bar - first):
                runs[-1][1] = bar
                continue
        runs.append([bar, bar, repeated])
    texts = [
        f"{_bars(first, last)}={_NEW if repeated == NEW else _bars(repeated, repeated + last - first)}"
        for first, last, repeated in runs
    ]
    return " ".join([form_text(outline.sections), *([",".join(texts)] if texts else [])])


def _bars(first: int, last: int) -> str:
    return f"{first + 1}" if first == last else f"{first + 1}-{last + 1}"


def parse_outline(text: str) -> Outline:
    """The outline that a text such as ``A8B8A8 5-8=1-4`` describes; without repeats it is a form.

    Raises FormError as ``parse_form`` and ``parse_repeats`` do, and for bars behind the last section.
    """
    form, repeats = [*text.split(None, 1), "", ""][:2]
    outline = Outline(parse_form(form), parse_repeats(repeats) if repeats else ())
    beyond = next((bar for bar, _ in outline.repeats if bar >= outline.num_bars), None)
    if beyond is not None:
        raise FormError(f"what is to repeat names bar {beyond + 1}, and the form has {outline.num_bars} bars")
    return outline


def parse_repeats(text: str) -> Repeats:
    """``9-12=1-4,16=new`` -> what bars repeat, in the order of the bars; empty parts are passed over.

    Raises FormError for what cannot be read, and where a bar is to repeat itself, a later one, or two.
    """
    found: dict[int, int] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        for bar, repeated in _repeats_of(part):
            if bar in found:
                raise FormError(f"bar {bar + 1} is said twice to repeat a bar, or none")
            found[bar] = repeated
    if not found:
        raise FormError(f"no bar is said to repeat another; write it as {_EXAMPLE}")
    return tuple(sorted(found.items()))


def _repeats_of(part: str) -> Iterator[tuple[int, int]]:
    """Of ``9-12=1-4`` or ``16=new`` the bars and what they repeat, from 0. Raises FormError as ``parse_repeats``."""
    if "=" not in part or len(part) > _LONGEST_PART:
        raise FormError(f"{part[:_LONGEST_PART]!r} does not say which bars repeat which; write it as {_EXAMPLE}")
    bars, others = (side.strip() for side in part.split("=", 1))
    new = others == _NEW
    try:
        ranges = [*parse_bar_ranges(bars, _EXAMPLE), *([] if new else parse_bar_ranges(others, _EXAMPLE))]
    except BarRangeError as error:
        raise FormError(f"{part!r} does not say which bars repeat which: {error}") from None
    if len(ranges) != (1 if new else 2):
        raise FormError(f"{part!r} does not say which bars repeat which; write it as {_EXAMPLE}")
    (first, last), (repeated, last_repeated) = ranges[0], ranges[-1]
    if last > MAX_BARS:
        raise FormError(f"{part!r} names bars behind bar {MAX_BARS}, the last that a piece can have")
    if last - first != last_repeated - repeated:
        raise FormError(f"{part!r} names more bars on one side than on the other")
    if repeated >= first and not new:
        raise FormError(f"{part!r} lets bar {first} repeat itself or a later bar; bars repeat earlier ones")
    return zip(range(first - 1, last), repeat(NEW) if new else range(repeated - 1, last_repeated))


def read_outlines(path: Path) -> list[Outline]:
    """The outlines in a file, one a line, as ``python -m data_prep.song_forms`` lists them; empty lines are left out.

    Raises FormError, naming the line, for what is none, and where there is none; OSError when it cannot be read.
    """
    outlines = []
    for number, line in enumerate(path.read_text(encoding="utf-8-sig", errors="replace").splitlines(), start=1):
        if line.strip():
            try:
                outlines.append(parse_outline(line))
            except FormError as error:
                raise FormError(f"{path}, line {number}: {error}") from None
    if not outlines:
        raise FormError(f"{path} holds no form; write one a line, such as i4A8A8B8A8o2")
    return outlines
