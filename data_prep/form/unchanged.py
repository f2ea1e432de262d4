"""Which tracks of a bar play just what they play in the bar that it repeats, as numbers and as text.

As text: ``all`` of them, ``none``, those that do, ``melody+bass``, or those that do not, ``-piano-guitar``.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

import numpy as np

from data_prep.form.repeats import NEW
from data_prep.form.sections import FormError
from data_prep.tokens.coded_notes import BAR, INSTRUMENT
from data_prep.tokens.note_table import NOTE_CODES, note_codes

_ALL, _NONE = "all", "none"
_NAME = r"\s*[a-z0-9_][a-z0-9_ ]*"
_NAMES = re.compile(rf"{_NAME}(\+{_NAME})*|(-{_NAME})+", re.IGNORECASE)
_LONGEST_QUOTED = 32  # characters
_FEW = 16  # names that a sentence may list


def unchanged_tracks(notes: np.ndarray, repeated: np.ndarray, instruments: Sequence[int]) -> np.ndarray:
    """bool [bars, instruments]: which of them play in a bar just what they play in the one that it repeats.

    ``notes``: int64 [N, 6], as ``data_prep.tokens.coded_notes`` gives them, bars below that of ``repeated``, int64
    [bars]. Onsets, pitches and durations count, as sets; who plays in neither bar is unchanged too. Nothing is in bars
    that repeat none.
    """
    distinct, first = np.unique(notes[:, BAR] * NOTE_CODES + note_codes(notes), return_index=True)
    bars, codes = distinct // NOTE_CODES, distinct % NOTE_CODES
    kept = np.isin(repeated[bars] * NOTE_CODES + codes, distinct)
    ranks = np.argmax(notes[first, INSTRUMENT][:, None] == np.array(instruments), axis=1)
    sizes, common = np.zeros((2, len(repeated), len(instruments)), dtype=np.int64)
    np.add.at(sizes, (bars, ranks), 1)
    np.add.at(common, (bars, ranks), kept)
    return (repeated != NEW)[:, None] & (sizes == common) & (sizes == sizes[repeated])


def unchanged_text(unchanged: Sequence[bool], names: Sequence[str]) -> str:
    """The text of fewest names for tracks of these ``names``, of which ``unchanged`` says which are."""
    kept = [name for name, same in zip(names, unchanged) if same]
    others = [name for name, same in zip(names, unchanged) if not same]
    if not others:
        return _ALL
    if not kept:
        return _NONE
    return "+".join(kept) if len(kept) < len(others) else "".join(f"-{name}" for name in others)


def unchanged_syntax(text: str) -> str:
    """Such a text without blanks around it. Raises FormError for what is none; names may be any."""
    stripped = text.strip()
    if not _NAMES.fullmatch(stripped):
        raise FormError(
            f"{text[:_LONGEST_QUOTED]!r} does not say which tracks stay to the note; write all, none, those that stay "
            "as melody+bass, or those that do not as -piano-guitar"
        )
    return stripped


def parse_unchanged(text: str, names: Sequence[str]) -> frozenset[int]:
    """The places in ``names`` of the tracks that a text says to be unchanged.

    Raises FormError as ``unchanged_syntax`` does, and for a name that is none of them.
    """
    stripped = unchanged_syntax(text).lower()
    everything = frozenset(range(len(names)))
    if stripped in (_ALL, _NONE):
        return everything if stripped == _ALL else frozenset()
    known = {name.lower(): place for place, name in enumerate(names)}
    said = [name.strip() for name in re.split(r"[+-]", stripped.removeprefix("-"))]
    said = [str(int(name)) if name.isdecimal() else name for name in said]  # programs
    unknown = next((name for name in said if name not in known), None)
    if unknown is not None:
        there_are = ", ".join(names) if len(names) <= _FEW else "General MIDI programs, 0 to 127, and drums"
        raise FormError(f"there is no track {unknown[:_LONGEST_QUOTED]!r}; there are {there_are}")
    places = frozenset(known[name] for name in said)
    return everything - places if stripped.startswith("-") else places
