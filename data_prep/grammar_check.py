"""The grammar of ``vocabulary`` checked for a whole piece at once: the fast path beside ``check_piece``."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache

import numpy as np

from data_prep.vocabulary import (
    DEFAULT_METRE,
    DRUM_PITCH_OFFSET,
    DRUMS,
    MAX_DURATION_ID,
    METRES,
    REPRESENTATIONS,
    UNPLAYABLE,
    Representation,
    bar_length,
    check_piece,
)

_FAMILIES = "bsotipdv"
_IDS = 256  # more than any family has
_B, _S, _O, _, _I, _P, _D, _V = range(len(_FAMILIES))
_BAR_LENGTHS = np.array([bar_length(*metre) for metre in METRES])


def require_grammar(tokens: Sequence[str], representation: Representation) -> None:
    """Raise TokenError where ``check_piece`` does; some fifteen times faster on pieces that are right."""
    if not obeys_grammar(tokens, representation):
        check_piece(tokens, representation)


def obeys_grammar(tokens: Sequence[str], representation: Representation) -> bool:
    """Whether ``tokens`` are a complete piece of ``representation``."""
    codes = _codes(representation.name)
    try:
        coded = np.array([codes[token] for token in tokens], dtype=np.int64)
    except KeyError:
        return False
    if not len(coded):
        return False
    families, ids = np.divmod(coded, _IDS)
    follows = _follows(representation.name)
    if families[0] != _FAMILIES.index(representation.bar_start) or families[-1] != _B:
        return False
    if not follows[families[:-1], families[1:]].all():
        return False
    return _orders_hold(families, ids, representation)


def _orders_hold(families: np.ndarray, ids: np.ndarray, representation: Representation) -> bool:
    """Onsets rise within their bar and stay inside it, instruments rise, notes fall; pitches fit drums."""
    bar = np.cumsum(families == _B)
    onset = np.cumsum(families == _O)
    track = np.cumsum(families == _I)
    at_onsets, at_tracks = np.flatnonzero(families == _O), np.flatnonzero(families == _I)
    at_pitches = np.flatnonzero(families == _P)
    lengths = bar_length(*DEFAULT_METRE)
    if representation.has_metre:
        lengths = _BAR_LENGTHS[ids[families == _S]][bar[at_onsets]]
    pitches = ids[at_pitches]
    # By the order of families each p is followed by its d and v, and each follows an i.
    notes = (pitches * 128 + ids[at_pitches + 1]) * 128 + ids[at_pitches + 2]
    drums = (ids[at_tracks] == representation.instruments.index(DRUMS))[track[at_pitches] - 1]
    return bool(
        (ids[at_onsets] < lengths).all()
        and _steps(ids[at_onsets], bar[at_onsets]).min(initial=1) > 0
        and _steps(ids[at_tracks], onset[at_tracks]).min(initial=1) > 0
        and _steps(notes, track[at_pitches]).max(initial=-1) <= 0
        and ((pitches >= DRUM_PITCH_OFFSET) == drums).all()
    )


def _steps(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Differences of neighbours that belong to the same group."""
    return np.diff(values)[np.diff(group) == 0]


@cache
def _codes(name: str) -> dict[str, int]:
    """Every token that can be in a piece, as family index * _IDS + id; instruments count in ranks."""
    representation = REPRESENTATIONS[name]
    ranks = {instrument: rank for rank, instrument in enumerate(representation.instruments)}
    codes = {}
    for family, ids in representation.families:
        if family not in _FAMILIES:
            continue
        for id_ in ids:
            code = ranks.get(id_, id_) if family == "i" else id_
            codes[f"{family}-{id_}"] = _IDS * _FAMILIES.index(family) + code
    for token in ("b-0", *(f"d-{id_}" for id_ in range(MAX_DURATION_ID + 1, 128)), *UNPLAYABLE):
        codes.pop(token, None)
    return codes


@cache
def _follows(name: str) -> np.ndarray:
    """bool [8, 8]: whether the second family may follow the first."""
    follows = np.zeros((len(_FAMILIES), len(_FAMILIES)), dtype=bool)
    for family, successors in REPRESENTATIONS[name].successors.items():
        for successor in successors:
            follows[_FAMILIES.index(family), _FAMILIES.index(successor)] = True
    return follows
