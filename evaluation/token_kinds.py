"""What kind of token each token of a piece is, so that a loss can be told apart by kinds.

A piece's tokens and its end are divided in four ways; each token is of one kind in each of them:

- ``family``: what the token says. A token that no piece of the representation holds is ``other``.
- ``track``: the instrument in force at an instrument, pitch, duration or velocity token (an instrument token
  is of the track that it opens). ``shared`` are bar ends, metres, tempos, onsets and the end of the piece.
  ``six_track`` has its six tracks; ``general`` has the drums, and all other instruments as one.
- ``bar``: whether the token's bar, taking the notes of all tracks, repeats an earlier bar of the piece,
  varies one, is new or is empty, as ``evaluation.bar_repeats`` defines it. A bar's end belongs to the bar;
  ``outside`` is the end of the piece.
- ``track_bar`` (``six_track`` only): the tokens of each track, by whether the track's own notes of the bar
  repeat those of an earlier bar, vary them or are new.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_prep.tokens.grammar import NO_FAMILY, coded_tokens
from data_prep.tokens.note_table import latest
from data_prep.tokens.vocabulary import DRUMS, END_OF_BAR, FAMILIES, LETTERS, Representation
from evaluation.bar_repeats import BAR_KINDS, bar_kinds

_INSTRUMENT = LETTERS.index("i")
_OF_TRACKS = [LETTERS.index(letter) for letter in "ipdv"]
_END = NO_FAMILY + 1  # the end of the piece, as a family
_SHARED = "shared"
_EMPTY = BAR_KINDS.index("empty")


class TokenKinds:
    """Tells the kinds of the tokens of one representation; ``names`` lists the kinds of each division."""

    def __init__(self, representation: Representation) -> None:
        self._representation = representation
        self._own = {track.name: track.instrument for track in representation.tracks}  # with bars of their own
        if self._own:
            tracks = list(self._own)
            self._track_of_rank = 1 + np.arange(len(tracks))  # both are in the order of instruments
        else:
            tracks = ["drums", "other instruments"]
            self._track_of_rank = np.array([1 if program == DRUMS else 2 for program in representation.instruments])
        self.names: dict[str, tuple[str, ...]] = {
            "family": (*(family.name for family in FAMILIES), "other", "end of piece"),
            "track": (_SHARED, *tracks),
            "bar": (*BAR_KINDS, "outside"),
        }
        if self._own:
            self.names["track_bar"] = (_SHARED, *(f"{track}, {kind}" for track in self._own for kind in BAR_KINDS))

    def kinds(self, tokens: Sequence[str], length: int) -> dict[str, np.ndarray]:
        """int64 [n] for each division: the indices in ``names`` of the kinds of the first n tokens.

        n is ``length``, or for shorter pieces one more than they have tokens: the last is the end of the
        piece. Bars count whole, also the one that ``length`` cuts.
        """
        tokens = _whole_bars(tokens, length)
        families, ranks = np.append(coded_tokens(tokens, self._representation), [[_END, 0]], axis=0).T
        bars = np.cumsum([0, *(token.startswith("b-") for token in tokens)])  # that of each token
        line = " ".join(tokens)
        found = {"family": families, "track": self._tracks(families, ranks)}
        found["bar"] = np.where(families == _END, len(BAR_KINDS), _at(bar_kinds(line), bars))
        if self._own:
            found["track_bar"] = self._track_bars(line, found["track"], bars)
        return {division: indices[:length] for division, indices in found.items()}

    def _tracks(self, families: np.ndarray, ranks: np.ndarray) -> np.ndarray:
        opened = latest(families == _INSTRUMENT)
        of_track = np.isin(families, _OF_TRACKS) & (opened >= 0)
        return np.where(of_track, self._track_of_rank[ranks[np.maximum(opened, 0)] * of_track], 0)

    def _track_bars(self, line: str, tracks: np.ndarray, bars: np.ndarray) -> np.ndarray:
        indices = np.zeros(len(tracks), dtype=np.int64)
        for index, instrument in enumerate(self._own.values()):
            kinds = _at(bar_kinds(line, instrument), bars)
            indices = np.where(tracks == index + 1, 1 + index * len(BAR_KINDS) + kinds, indices)
        return indices


def _whole_bars(tokens: Sequence[str], length: int) -> Sequence[str]:
    """As many bars as hold the first ``length`` tokens."""
    end = next((end for end in range(max(length, 1), len(tokens)) if tokens[end - 1] == END_OF_BAR), len(tokens))
    return tokens[:end]


def _at(kinds: np.ndarray, bars: np.ndarray) -> np.ndarray:
    """The kinds of the bars of tokens; past the last one a bar is empty."""
    return np.append(kinds, _EMPTY)[np.minimum(bars, len(kinds))]
