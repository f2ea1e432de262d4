"""Key, tempo and metre as people write them: ``E minor``, ``96``, ``3/4``."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal

from data_prep.tokens.vocabulary import (
    METRE_DENOMINATORS,
    METRES,
    TEMPO_MAX_BPM,
    TEMPO_MIN_BPM,
    TokenError,
    bar_length,
    metre_id,
    tempo_id,
)

_PITCH_CLASSES = {"C": 0, "D": 2, "E": 4, "F": 5, "G": 7, "A": 9, "B": 11}
_ACCIDENTALS = {"": 0, "#": 1, "♯": 1, "b": -1, "♭": -1}
_KEY = re.compile(r"([A-Ga-g])([#♯b♭]?)[\s-]*(|m|M|(?i:major|maj|minor|min))")
_MINOR = re.compile(r"m|(?i:minor|min)")
_TEMPO = re.compile(r"(\d{1,4}(?:\.\d+)?)(?:\s*(?i:bpm))?", re.ASCII)
_METRE = re.compile(r"(\d{1,4})\s*/\s*(\d{1,4})", re.ASCII)
_A = _PITCH_CLASSES["A"]


@dataclass(frozen=True)
class Key:
    """A key: ``semitones`` (-5 ... 6) bring C major, or A minor, to it."""

    semitones: int
    mode: Literal["major", "minor"]


def parse_key(text: str) -> Key:
    """The key that ``text`` names: ``E minor``, ``F# major``, ``Bb``, ``Cm``.

    A letter, a sharp or a flat, then major (or nothing) or minor. Models write in C major or A minor, and which of the
    two is theirs to choose; of a key only the shift is certain. Raises TokenError for other text.
    """
    match = _KEY.fullmatch(text.strip())
    if not match:
        raise TokenError(f"{text!r} is not a key; write one as E minor, F# major, Bb or Cm")
    letter, accidental, mode = match.groups()
    is_minor = bool(_MINOR.fullmatch(mode))
    tonic = _PITCH_CLASSES[letter.upper()] + _ACCIDENTALS[accidental] - (_A if is_minor else 0)
    return Key((tonic + 5) % 12 - 5, "minor" if is_minor else "major")


def parse_tempo(text: str) -> int:
    """The tempo id nearest to ``text``; raises TokenError as ``parse_bpm`` does."""
    return tempo_id(parse_bpm(text))


def parse_bpm(text: str) -> float:
    """A tempo in quarter notes a minute: ``96``, ``92.5``, ``120 bpm``.

    Raises TokenError for other text and for tempos without a token.
    """
    match = _TEMPO.fullmatch(text.strip())
    if not match:
        raise TokenError(f"{text!r} is not a tempo; write the quarter notes a minute, such as 96")
    bpm = float(match[1])
    if not TEMPO_MIN_BPM <= bpm <= TEMPO_MAX_BPM:
        raise TokenError(f"{text!r} is not a tempo that songs have: {TEMPO_MIN_BPM} to {TEMPO_MAX_BPM} are")
    return bpm


def parse_metre(text: str) -> int:
    """The metre id of ``text``, such as ``3/4``. Raises TokenError for other text and metres without a token."""
    match = _METRE.fullmatch(text.strip())
    if not match:
        raise TokenError(f"{text!r} is not a metre; write it as 3/4")
    metre = int(match[1]), int(match[2])
    if metre not in METRES or not bar_length(*metre):
        below = ", ".join(map(str, METRE_DENOMINATORS))
        raise TokenError(
            f"{text!r} is not a metre that songs have: below the line stands {below}, above it 1 to twice as many, "
            "and a bar holds a twelfth of a quarter note at least"
        )
    return metre_id(*metre)
