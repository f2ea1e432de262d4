"""A form, and which bars repeat which besides what its letters say, as text and back:
``A8B8A8 5-8=1-4:melody+bass,24=new``.

Bars 5 to 8 repeat bars 1 to 4, melody and bass to the note, bar 24 repeats none. Every other bar repeats the one at its
place in the latest section of its letter, where there is one and the section is none that passes. Where no tracks stand
(``data_prep.form.unchanged``) nothing is said of how exactly.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np

from data_prep.bar_ranges import BarRangeError, parse_bar_ranges
from data_prep.form.repeats import NEW
from data_prep.form.sections import PASSING, PASSING_MELODY, FormError, Section, form_text, parse_form
from data_prep.form.unchanged import unchanged_syntax
from data_prep.tokens.encode import MAX_BARS

_NEW = "new"
_EXAMPLE = "9-12=1-4, 9-12=1-4:melody+bass, or 16=new"
_LONGEST_PART = 32  # characters that say which bars, so that sentences which quote them stay short


class Repeat(NamedTuple):
    """Bar ``bar`` repeats ``repeated``, from 0 both; ``NEW`` is nothing.

    ``unchanged``: which tracks do so to the note, as ``data_prep.form.unchanged`` has it, or empty where that is not
    said.
    """

    bar: int
    repeated: int
    unchanged: str = ""


Repeats = tuple[Repeat, ...]  # of bars in their order, each once


@dataclass(frozen=True)
class Outline:
    """``sections``, and ``repeats`` of bars of which more is said than by their letters."""

    sections: tuple[Section, ...] = ()
    repeats: Repeats = ()

    @property
    def num_bars(self) -> int:
        """Of all sections."""
        return sum(section.bars for section in self.sections)

    def of_all_bars(self) -> list[Repeat]:
        """What each bar repeats."""
        found = [Repeat(bar, int(repeated)) for bar, repeated in enumerate(repeats_by_letter(self.sections))]
        for repeat in self.repeats:
            found[repeat.bar] = repeat
        return found


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


def outline_of(sections: tuple[Section, ...], repeats: np.ndarray, unchanged: Sequence[str]) -> Outline:
    """The outline of a piece whose bars repeat ``repeats``, int64 [bars]; ``unchanged``: of each bar, as ``Repeat``
    has it."""
    told = zip(repeats.tolist(), unchanged, strict=True)
    heard = [Repeat(bar, repeated, text if repeated != NEW else "") for bar, (repeated, text) in enumerate(told)]
    by_letter = Outline(sections).of_all_bars()
    return Outline(sections, tuple(repeat for repeat, known in zip(heard, by_letter, strict=True) if repeat != known))


def outline_text(outline: Outline) -> str:
    """The outline as ``parse_outline`` reads it."""
    runs: list[tuple[Repeat, int]] = []  # the first bar of each, and the number of the last
    for repeat in outline.repeats:
        if runs and repeat == _further(runs[-1][0], runs[-1][1] + 1):
            runs[-1] = runs[-1][0], repeat.bar
        else:
            runs.append((repeat, repeat.bar))
    texts = ",".join(_text_of_run(first, last) for first, last in runs)
    return " ".join(filter(None, [form_text(outline.sections), texts]))


def _further(first: Repeat, bar: int) -> Repeat:
    """What ``bar`` repeats where bars go on as the ``first`` began."""
    return first._replace(bar=bar, repeated=NEW if first.repeated == NEW else first.repeated + bar - first.bar)


def _text_of_run(first: Repeat, last: int) -> str:
    repeated = _NEW if first.repeated == NEW else _bars(first.repeated, _further(first, last).repeated)
    return f"{_bars(first.bar, last)}={repeated}{f':{first.unchanged}' if first.unchanged else ''}"


def _bars(first: int, last: int) -> str:
    return f"{first + 1}" if first == last else f"{first + 1}-{last + 1}"


def parse_outline(text: str) -> Outline:
    """The outline that a text such as ``A8B8A8 5-8=1-4`` describes; without repeats it is a form.

    Raises FormError as ``parse_form`` and ``parse_repeats`` do, and for bars behind the last section.
    """
    form, repeats = [*text.split(None, 1), "", ""][:2]
    outline = Outline(parse_form(form), parse_repeats(repeats) if repeats else ())
    beyond = next((repeat.bar for repeat in outline.repeats if repeat.bar >= outline.num_bars), None)
    if beyond is not None:
        raise FormError(f"what is to repeat names bar {beyond + 1}, and the form has {outline.num_bars} bars")
    return outline


def parse_repeats(text: str) -> Repeats:
    """``9-12=1-4:melody,16=new`` -> what bars repeat, in the order of the bars; empty parts are passed over.

    Raises FormError for what cannot be read, and where a bar is to repeat itself, a later one, or two.
    """
    found: dict[int, Repeat] = {}
    for part in filter(None, (piece.strip() for piece in text.split(","))):
        bars, colon, tracks = part.partition(":")
        unchanged = unchanged_syntax(tracks) if colon else ""
        for bar, repeated in _bars_of(bars.strip()):
            if bar in found:
                raise FormError(f"bar {bar + 1} is said twice to repeat a bar, or none")
            if unchanged and repeated == NEW:
                raise FormError(f"bar {bar + 1} is new, so that no track of it can stay or change")
            found[bar] = Repeat(bar, repeated, unchanged)
    if not found:
        raise FormError(f"no bar is said to repeat another; write it as {_EXAMPLE}")
    return tuple(found[bar] for bar in sorted(found))


def _bars_of(part: str) -> Iterator[tuple[int, int]]:
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
    return zip(range(first - 1, last), [NEW] * (last - first + 1) if new else range(repeated - 1, last_repeated))


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
