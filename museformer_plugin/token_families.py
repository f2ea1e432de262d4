"""What the model needs to know of a token: whether it ends a bar, and its beat.

Read off the fairseq dictionary once; the spelling and the families come from
``data_prep.vocabulary``.
"""

from __future__ import annotations

import numpy as np
from fairseq.data import Dictionary

from data_prep.vocabulary import (
    DEFAULT_METRE,
    DRUM_PITCH_OFFSET,
    DRUMS,
    END_OF_BAR,
    MAX_DURATION_ID,
    METRES,
    UNPLAYABLE,
    Representation,
    TokenError,
    bar_length,
    representation_of,
    split_token,
)

from .errors import UserError
from .fc_attention import PieceBars

_CARRIES_LATEST = -1
_FAMILIES = "bsotipdv"
_BAR_LENGTHS = np.array([bar_length(*metre) for metre in METRES])


class TokenFamilies:
    """Bars and beats of token sequences of one dictionary.

    A sequence is int [n] with the begin token first (the prefix, bar 0, beat 0).
    """

    def __init__(self, dictionary: Dictionary) -> None:
        self.dictionary = dictionary
        self.representation = _representation_of(dictionary)
        self.end_of_bar = dictionary.index(END_OF_BAR)
        self._follows, self._family = self._succession()
        self._value_of_token = np.array([self._value_of(s) for s in dictionary.symbols], dtype=np.int64)
        self._beat_of_token = np.array([self._beat_of(s) for s in dictionary.symbols], dtype=np.int64)

    def _beat_of(self, symbol: str) -> int:
        """0 for specials, bar ends and the token that opens a bar; position + 1 for onsets."""
        try:
            family, number = split_token(symbol)
        except TokenError:
            return 0
        if family == "o":
            return number + 1
        return 0 if family in ("b", self.representation.bar_start) else _CARRIES_LATEST

    def _succession(self) -> tuple[np.ndarray, np.ndarray]:
        """bool [F, F], whether a family may follow another, and the family of each token, int64 [V]."""
        successors = self.representation.successors
        follows = np.zeros((len(_FAMILIES) + 1, len(_FAMILIES) + 1), dtype=bool)  # the last: not in the grammar
        for first, after in successors.items():
            follows[_FAMILIES.index(first), [_FAMILIES.index(second) for second in after]] = True
        family = [_FAMILIES.index(name) if name in successors else -1 for name in map(_family, self.dictionary.symbols)]
        for symbol in ("b-0", *UNPLAYABLE, *(f"d-{id_}" for id_ in range(MAX_DURATION_ID + 1, 128))):
            if symbol in self.dictionary:
                family[self.dictionary.index(symbol)] = -1
        return follows, np.array(family)

    def _value_of(self, symbol: str) -> int:
        """The id; the rank of an instrument."""
        try:
            family, number = split_token(symbol)
        except TokenError:
            return 0
        return self.representation.instruments.index(number) if family == "i" else number

    def is_piece(self, tokens: np.ndarray) -> bool:
        """Whether ``tokens`` (without ``</s>``) are a complete piece: what ``check_piece`` says, for a whole corpus."""
        if not len(tokens) or tokens[-1] != self.end_of_bar:
            return False
        family = self._family[np.concatenate([[self.end_of_bar], tokens])]
        return bool(self._follows[family[:-1], family[1:]].all()) and self._orders_hold(family[1:], tokens)

    def _orders_hold(self, family: np.ndarray, tokens: np.ndarray) -> bool:
        """Onsets rise within their bar, instruments within their onset, notes fall; drums have pitches of their own."""
        value = self._value_of_token[tokens]
        is_ = {name: family == number for number, name in enumerate(_FAMILIES)}
        bar, onset, track = (np.cumsum(is_[name]) for name in "boi")
        lengths = np.full(len(tokens), bar_length(*DEFAULT_METRE))
        if self.representation.has_metre:
            lengths = _BAR_LENGTHS[value[is_["s"]]][np.minimum(bar, is_["s"].sum() - 1)]
        # each p is followed by its d and v, and each follows an i
        pitch_at = np.flatnonzero(is_["p"])
        note = (value[pitch_at] * 128 + value[pitch_at + 1]) * 128 + value[pitch_at + 2]
        drums = (value[is_["i"]] == self.representation.instruments.index(DRUMS))[track[pitch_at] - 1]
        return bool(
            (value[is_["o"]] < lengths[is_["o"]]).all()
            and (_steps(value[is_["o"]], bar[is_["o"]]) > 0).all()
            and (_steps(value[is_["i"]], onset[is_["i"]]) > 0).all()
            and (_steps(note, track[pitch_at]) <= 0).all()
            and ((value[pitch_at] >= DRUM_PITCH_OFFSET) == drums).all()
        )

    def piece_bars(self, tokens: np.ndarray) -> PieceBars:
        """Where the bars of ``tokens`` start, and how many are complete."""
        ends = np.flatnonzero(tokens == self.end_of_bar)
        starts = np.concatenate([[1], ends + 1]) if len(tokens) > 1 else np.empty(0, dtype=np.int64)
        return PieceBars(len(tokens), starts[starts < len(tokens)], len(ends))

    def beat_ids(self, tokens: np.ndarray) -> np.ndarray:
        """Beat id of each token: its own, or the latest before it (not reset at bars)."""
        own = self._beat_of_token[tokens]
        last_onset = np.maximum.accumulate(np.where(own > 0, np.arange(len(tokens)), 0))
        # where no onset has been yet, place 0 is the begin token, whose beat is 0
        return np.where(own == _CARRIES_LATEST, own[last_onset], own)

    def latest_beat(self, tokens: np.ndarray) -> int:
        """The beat in force after ``tokens``."""
        onsets = self._beat_of_token[tokens]
        onsets = onsets[onsets > 0]
        return int(onsets[-1]) if len(onsets) else 0

    def next_beats(self, tokens: np.ndarray, latest: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Beat ids of one more token of each stream, and the beats in force after it; int64 [B] each."""
        own = self._beat_of_token[tokens]
        return np.where(own == _CARRIES_LATEST, latest, own), np.where(own > 0, own, latest)


def _steps(values: np.ndarray, group: np.ndarray) -> np.ndarray:
    """Differences of neighbours that belong to the same group."""
    return np.diff(values)[np.diff(group) == 0]


def _family(symbol: str) -> str:
    return symbol.partition("-")[0]


def _representation_of(dictionary: Dictionary) -> Representation:
    try:
        return representation_of(dictionary.symbols[dictionary.nspecial :])
    except TokenError as error:
        raise UserError(f"{str(error)[0].upper()}{str(error)[1:]}.") from None
