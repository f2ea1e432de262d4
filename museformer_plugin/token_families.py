"""What the model needs to know of a token: whether it ends a bar, and where it stands.

Read off the fairseq dictionary once; the spelling and the families come from
``data_prep.tokens.vocabulary``.
"""

from __future__ import annotations

import numpy as np
from fairseq.data import Dictionary

from data_prep.tokens.grammar import coded_piece_obeys, coded_symbols
from data_prep.tokens.vocabulary import END_OF_BAR, Representation, TokenError, representation_of, split_token

from .errors import UserError
from .fc_attention import PieceBars
from .positions import Positions

CARRIES_LATEST = -1


class TokenFamilies:
    """Bars and beats of token sequences of one dictionary.

    A sequence is int [n] with the begin token first (the prefix, bar 0, beat 0). ``family_of_token`` and
    ``value_of_token``, int64 [V], are the dictionary as ``data_prep.tokens.grammar.coded_symbols`` codes it.
    ``melody_ranks``: where the melody stands among the instruments; empty where no track is known for it.
    """

    def __init__(self, dictionary: Dictionary) -> None:
        self.dictionary = dictionary
        self.representation = _representation_of(dictionary)
        instruments, names = self.representation.instruments, self.representation.track_names()
        self.melody_ranks = frozenset(rank for rank, of in enumerate(instruments) if names.get(of) == "melody")
        self.end_of_bar = dictionary.index(END_OF_BAR)
        self.family_of_token, self.value_of_token = coded_symbols(dictionary.symbols, self.representation)
        self._beat_of_token = np.array([self._beat_of(s) for s in dictionary.symbols], dtype=np.int64)

    def instrument_token(self, rank: int) -> int:
        """The token by which the instrument of this rank begins to play."""
        return self.dictionary.index(f"i-{self.representation.instruments[rank]}")

    def _beat_of(self, symbol: str) -> int:
        """0 for specials, bar ends and the token that opens a bar; position + 1 for onsets."""
        try:
            family, number = split_token(symbol)
        except TokenError:
            return 0
        if family == "o":
            return number + 1
        return 0 if family in ("b", self.representation.bar_start) else CARRIES_LATEST

    def is_piece(self, tokens: np.ndarray) -> bool:
        """Whether ``tokens`` (int [n], without begin token and ``</s>``) are a complete piece by the grammar."""
        return coded_piece_obeys(self.family_of_token[tokens], self.value_of_token[tokens], self.representation)

    def piece_bars(self, tokens: np.ndarray, first_bar: int = 1) -> PieceBars:
        """Where the bars of ``tokens`` start, and how many are complete; the first has number ``first_bar``."""
        ends = np.flatnonzero(tokens == self.end_of_bar)
        starts = np.concatenate([[1], ends + 1]) if len(tokens) > 1 else np.empty(0, dtype=np.int64)
        starts = starts[starts < len(tokens)]
        return PieceBars(len(tokens), starts, len(ends), first_bar + np.arange(len(starts)))

    def beat_ids(self, tokens: np.ndarray) -> np.ndarray:
        """Beat id of each token: its own, or the latest before it (not reset at bars)."""
        own = self._beat_of_token[tokens]
        last_onset = np.maximum.accumulate(np.where(own > 0, np.arange(len(tokens)), 0))
        # where no onset has been yet, place 0 is the begin token, whose beat is 0
        return np.where(own == CARRIES_LATEST, own[last_onset], own)

    def positions(self, tokens: np.ndarray, bars: PieceBars) -> Positions:
        """Where the tokens of one piece stand.

        The onset is the latest of the bar, 0 before there is one; it is that of a token which has a beat id of its own
        by formula too, such as a tempo. The prefix and the first token of a bar have indices of 0.
        """
        places = np.arange(len(tokens))
        begins = places == 0
        begins[bars.starts] = True
        own = self._beat_of_token[tokens]
        last_onset = np.maximum.accumulate(np.where((own > 0) | begins, places, 0))
        onsets = np.maximum(own[last_onset] - 1, 0)
        in_bar = places - np.maximum.accumulate(np.where(begins, places, 0))
        return Positions(bars.bar_ids, self.beat_ids(tokens), onsets, in_bar, places - last_onset)

    def latest_beat(self, tokens: np.ndarray) -> int:
        """The beat in force after ``tokens``."""
        onsets = self._beat_of_token[tokens]
        onsets = onsets[onsets > 0]
        return int(onsets[-1]) if len(onsets) else 0

    def own_beats(self, tokens: np.ndarray) -> np.ndarray:
        """The beat id that each token has by itself, ``CARRIES_LATEST`` where it is that of the latest onset."""
        return self._beat_of_token[tokens]


def _representation_of(dictionary: Dictionary) -> Representation:
    try:
        return representation_of(dictionary.symbols[dictionary.nspecial :])
    except TokenError as error:
        raise UserError(f"{str(error)[0].upper()}{str(error)[1:]}.") from None
