"""songs.json: what is known of songs beside their MIDI files, read with every part checked.

    {"controls": {"seed": "1"},
     "songs": [{"file": "generated_0.mid", "given_bars": [[1, 8]], "sections": [["A", 1, 8]], "first_bar": 1}]}

``given_bars`` are ranges of bar numbers, both ends included; ``sections`` have a name, the number of their first bar
and their length in bars; ``first_bar`` is the number of the file's first bar. Every key may be left out.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

FILE_NAME = "songs.json"


@dataclass(frozen=True)
class SongDetails:
    """What is known of one song; bars are numbers as in songs.json."""

    given_bars: list[tuple[int, int]] = field(default_factory=list)
    sections: list[tuple[str, int, int]] = field(default_factory=list)
    first_bar: int = 1


@dataclass(frozen=True)
class Details:
    """``controls`` as pairs of name and value, ``songs`` by file name, and a sentence for each part left out."""

    controls: list[tuple[str, str]] = field(default_factory=list)
    songs: dict[str, SongDetails] = field(default_factory=dict)
    faults: list[str] = field(default_factory=list)


class _WrongPartError(ValueError):
    """A part that is not as it should be; the message says what it should be."""


def read_details(folder: Path) -> Details:
    """Read ``folder``/songs.json; without it there are no details. What is wrong in it is left out and told."""
    path = folder / FILE_NAME
    if not path.exists():
        return Details()
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else str(error)
        return Details(faults=[f"{FILE_NAME} cannot be read and was left out: {reason}."])
    details = Details()
    if not isinstance(content, dict):
        details.faults.append(f"{FILE_NAME} was left out: it must be an object with controls and songs.")
        return details
    details.controls.extend(_part(content, "controls", _controls, [], FILE_NAME, details.faults))
    for entry in _part(content, "songs", _list, [], FILE_NAME, details.faults):
        if not isinstance(entry, dict) or not isinstance(entry.get("file"), str):
            details.faults.append(f"{FILE_NAME}: a song was left out: it must be an object that names its file.")
            continue
        where = f"{FILE_NAME}, {entry['file']}"
        details.songs[entry["file"]] = SongDetails(
            _part(entry, "given_bars", _ranges, [], where, details.faults),
            _part(entry, "sections", _sections, [], where, details.faults),
            _part(entry, "first_bar", _whole, 1, where, details.faults),
        )
    return details


def _part(
    whole: dict[str, Any], key: str, read: Callable[[Any], Any], default: Any, where: str, faults: list[str]
) -> Any:
    """``whole[key]`` as ``read`` takes it, or ``default`` when it is missing or wrong, which is told."""
    if key not in whole:
        return default
    try:
        return read(whole[key])
    except _WrongPartError as fault:
        faults.append(f"{where}: {key} was left out: it must be {fault}.")
        return default


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _WrongPartError("a list")
    return value


def _whole(value: Any) -> int:
    # JSON has whole numbers of any size; the page counts in floating point.
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > 1_000_000:
        raise _WrongPartError("a whole number of bars")
    return value


def _controls(value: Any) -> list[tuple[str, str]]:
    if not isinstance(value, dict) or not all(isinstance(text, (str, int, float)) for text in value.values()):
        raise _WrongPartError("an object of texts")
    return [(name, str(text)) for name, text in value.items()]


def _ranges(value: Any) -> list[tuple[int, int]]:
    wanted = "a list of pairs, the first and the last bar, such as [[1, 8]]"
    if not isinstance(value, list) or not all(isinstance(pair, list) and len(pair) == 2 for pair in value):
        raise _WrongPartError(wanted)
    ranges = [(_whole(first), _whole(last)) for first, last in value]
    if any(first > last for first, last in ranges):
        raise _WrongPartError(wanted)
    return ranges


def _sections(value: Any) -> list[tuple[str, int, int]]:
    wanted = 'a list of a name, a first bar and a length each, such as [["A", 1, 8]]'
    if not isinstance(value, list) or not all(isinstance(entry, list) and len(entry) == 3 for entry in value):
        raise _WrongPartError(wanted)
    if not all(isinstance(name, str) for name, _, _ in value):
        raise _WrongPartError(wanted)
    sections = [(name, _whole(first), _whole(length)) for name, first, length in value]
    if any(length < 1 for _, _, length in sections):
        raise _WrongPartError(wanted)
    return sections
