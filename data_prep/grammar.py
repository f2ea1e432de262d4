"""The grammar of tokens: what may follow what, one token at a time and for whole pieces at once.

Families follow each other as ``Representation.successors`` says; beyond that, within a bar onsets rise,
within an onset instruments come in the representation's order, the notes of one instrument at one onset
fall in (pitch, duration, velocity), onsets stay inside their bar, and drums have pitches of their own.
``GrammarState`` says so a token at a time, and why; ``obeys_grammar`` decides whole pieces in NumPy.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from functools import cache

import numpy as np

from data_prep.vocabulary import (
    DEFAULT_METRE,
    DRUM_PITCH_OFFSET,
    DRUMS,
    END_OF_BAR,
    MAX_DURATION_ID,
    MAX_PITCH_ID,
    MAX_TEMPO_ID,
    MAX_VELOCITY_ID,
    METRES,
    POSITIONS_PER_WHOLE,
    REPRESENTATIONS,
    UNPLAYABLE,
    Representation,
    TokenError,
    bar_length,
    split_token,
)

FAMILY_NAMES = {
    "bar end": "b",
    "metre": "s",
    "onset": "o",
    "tempo": "t",
    "instrument": "i",
    "pitch": "p",
    "duration": "d",
    "velocity": "v",
}
FAMILIES = "".join(FAMILY_NAMES.values())
NO_FAMILY = len(FAMILIES)  # of symbols that are in no piece
_B, _S, _O, _, _I, _P, _, _ = range(len(FAMILIES))
_HIGHEST_NOTE = (MAX_PITCH_ID, MAX_DURATION_ID, MAX_VELOCITY_ID)
_BAR_LENGTHS = np.array([bar_length(*metre) for metre in METRES])


class GrammarState:
    """Where a piece stands in its grammar: which tokens may come next.

    ``bounds()`` maps each family that may come next to the inclusive range of its allowed ids (``i``
    counts in ranks of ``representation.instruments``, every other family in ids); ``advance``
    consumes one token. A bar is never left without a way to go on.
    """

    def __init__(self, representation: Representation) -> None:
        self.representation = representation
        self.family = "b"  # a piece begins as if a bar had just ended
        self.bar_length = POSITIONS_PER_WHOLE  # of the metre in force
        self.onset = -1  # the last onset position of this bar
        self.rank = -1  # the last instrument of this onset
        self.note = _HIGHEST_NOTE  # the last (pitch, duration, velocity) of this instrument
        self.pitch = self.duration = 0  # of the note being spelled
        self._ranks = {instrument: rank for rank, instrument in enumerate(representation.instruments)}

    @property
    def may_end(self) -> bool:
        """Whether the piece may end here: only between bars."""
        return self.family == "b"

    def bounds(self) -> dict[str, tuple[int, int]]:
        """Allowed ids of every family that may come next, as inclusive (low, high)."""
        candidates = {
            "s": (0, len(METRES) - 1),
            "t": (0, MAX_TEMPO_ID),
            "o": (self.onset + 1, self.bar_length - 1),
            "i": (self.rank + 1, len(self._ranks) - 1),
            "p": self._pitch_bounds(),
            "d": (0, self._limit(1, (self.pitch,), MAX_DURATION_ID)),
            "v": (0, self._limit(2, (self.pitch, self.duration), MAX_VELOCITY_ID)),
            "b": (1, 1),
        }
        following = self.representation.successors[self.family]
        return {
            family: (low, high) for family, (low, high) in candidates.items() if family in following and low <= high
        }

    def _pitch_bounds(self) -> tuple[int, int]:
        drums = self.representation.instruments[self.rank] == DRUMS
        low, high = (DRUM_PITCH_OFFSET, MAX_PITCH_ID) if drums else (0, DRUM_PITCH_OFFSET - 1)
        return low, min(high, self.note[0])

    def _limit(self, part: int, spelled: tuple[int, ...], highest: int) -> int:
        """Notes fall in (pitch, duration, velocity): equal so far, this part may not rise."""
        return min(highest, self.note[part]) if self.note[:part] == spelled else highest

    def advance(self, token: str) -> None:
        """Consume ``token``. Raises TokenError, saying what may come instead, when it is not allowed."""
        family, id_ = split_token(token)
        value = self._ranks.get(id_, -1) if family == "i" else id_
        low, high = self.bounds().get(family, (0, -1))
        if not low <= value <= high or token in UNPLAYABLE:
            raise TokenError(f"{token} may not come here; allowed are {self._describe()}")
        self.family = family
        if family == "b":
            self.onset = -1
        elif family == "s":
            self.bar_length = bar_length(*METRES[id_])
        elif family == "o":
            self.onset, self.rank = id_, -1
        elif family == "i":
            self.rank, self.note = value, _HIGHEST_NOTE
        elif family == "p":
            self.pitch = id_
        elif family == "d":
            self.duration = id_
        elif family == "v":
            self.note = (self.pitch, self.duration, id_)

    def _describe(self) -> str:
        described = []
        for family, (low, high) in self.bounds().items():
            if family == "i":
                names = (f"i-{i}" for i in self.representation.instruments[low : high + 1])
                described.append(" ".join(names) if high - low < 6 else f"i-{low} to i-{high}")
            else:
                described.append(f"{family}-{low}" if low == high else f"{family}-{low} to {family}-{high}")
        return ", ".join(described)


def check_piece(tokens: Iterable[str], representation: Representation, complete: bool = True) -> None:
    """Raise TokenError, naming the place, when ``tokens`` break the grammar.

    With ``complete=False`` the piece may stop anywhere, as a prompt does.
    """
    state = GrammarState(representation)
    number = 0
    for number, token in enumerate(tokens, start=1):
        try:
            state.advance(token)
        except TokenError as error:
            raise TokenError(f"token {number}: {error}") from None
    if complete and not (number and state.may_end):
        raise TokenError(f"the piece stops after token {number} without {END_OF_BAR}")


def coded_symbols(symbols: Iterable[str], representation: Representation) -> tuple[np.ndarray, np.ndarray]:
    """Place of the family in ``FAMILIES`` and id (rank for instruments) of each symbol, int64 [V] each.

    Symbols that are in no piece have ``NO_FAMILY``.
    """
    ranks = {instrument: rank for rank, instrument in enumerate(representation.instruments)}
    coded = []
    for symbol in symbols:
        try:
            family, number = split_token(symbol)
        except TokenError:
            family, number = "", 0
        never = symbol in UNPLAYABLE or symbol == "b-0" or (family == "d" and number > MAX_DURATION_ID)
        if never or family not in representation.successors:
            coded.append((NO_FAMILY, 0))
        else:
            coded.append((FAMILIES.index(family), ranks[number] if family == "i" else number))
    families, values = np.array(coded, dtype=np.int64).reshape(-1, 2).T
    return families, values


def successions(representation: Representation) -> np.ndarray:
    """bool [9, 9]: whether the second of ``FAMILIES`` may follow the first; nothing follows ``NO_FAMILY``."""
    follows = np.zeros((len(FAMILIES) + 1, len(FAMILIES) + 1), dtype=bool)
    for family, successors in representation.successors.items():
        for successor in successors:
            follows[FAMILIES.index(family), FAMILIES.index(successor)] = True
    return follows


def coded_piece_obeys(families: np.ndarray, values: np.ndarray, representation: Representation) -> bool:
    """``obeys_grammar`` for int64 [n] ``families`` and ``values`` of a piece's tokens, from ``coded_symbols``."""
    if not len(families) or families[-1] != _B:
        return False
    before = np.concatenate([[_B], families[:-1]])
    if not successions(representation)[before, families].all():
        return False
    return _orders_hold(families, values, representation)


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
def _coded_dictionary(name: str) -> dict[str, tuple[int, int]]:
    representation = REPRESENTATIONS[name]
    symbols = representation.symbols()
    return dict(zip(symbols, zip(*(column.tolist() for column in coded_symbols(symbols, representation)))))


def obeys_grammar(tokens: Sequence[str], representation: Representation) -> bool:
    """Whether ``tokens`` are a complete piece of ``representation``: what ``check_piece`` says, much faster."""
    dictionary = _coded_dictionary(representation.name)
    coded = [dictionary.get(token, (NO_FAMILY, 0)) for token in tokens]
    families, values = np.array(coded, dtype=np.int64).reshape(-1, 2).T
    return coded_piece_obeys(families, values, representation)


def require_grammar(tokens: Sequence[str], representation: Representation) -> None:
    """Raise TokenError where ``check_piece`` does, without its cost for pieces that are right."""
    if not obeys_grammar(tokens, representation):
        check_piece(tokens, representation)
