"""Count the tokens that break the grammar, so that models sampled without its constraint can be compared.

A token is an error when it may not follow the token before it, or when it breaks an order inside its bar
(onsets rise and stay inside the bar, instruments rise, notes fall, drums have pitches of their own), given
the tokens as they stand. A symbol that is in no piece is one error and is then overlooked; so is an end of
the piece elsewhere than after ``b-1``. Pieces without errors are those of ``data_prep.tokens.grammar``.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from data_prep.tokens.grammar import BAR_END, NO_FAMILY, coded_tokens, grammar_table
from data_prep.tokens.note_table import latest
from data_prep.tokens.vocabulary import Representation


class GrammarErrors:
    """Finds errors in pieces of one representation."""

    def __init__(self, representation: Representation) -> None:
        self._representation = representation
        self._table = grammar_table(representation)

    def indices(self, tokens: Sequence[str]) -> np.ndarray:
        """int64, rising: which tokens are errors, from 0; the count of tokens stands for a missing end."""
        coded = coded_tokens(tokens, self._representation)
        known = np.flatnonzero(coded[:, 0] != NO_FAMILY)
        families, values = coded[known].T
        wrong = ~self._table.follows[np.append(BAR_END, families)[:-1], families]
        wrong |= self._out_of_order(families, values)
        found = np.concatenate([known[wrong], np.flatnonzero(coded[:, 0] == NO_FAMILY)])
        if not len(families) or families[-1] != BAR_END:
            found = np.append(found, len(tokens))
        return np.sort(found)

    def _out_of_order(self, families: np.ndarray, values: np.ndarray) -> np.ndarray:
        """bool [n]: tokens that break an order inside their bar, or that the token in force of a family rules out."""
        table = self._table
        wrong = np.zeros(len(families), dtype=bool)
        for family in table.rising:
            own, barrier = families == family, table.forgets[families, family]
            wrong |= own & (values <= _earlier(own, barrier, values))
        for family, rule in table.narrowed.items():
            own = np.flatnonzero(families == family)
            deciding = latest(families == rule.by)[own]
            by = np.where(deciding >= 0, values[deciding], table.start[rule.by])
            outside = (values[own] < rule.lowest[by]) | (values[own] > rule.highest[by])
            wrong[own] |= outside & (by >= 0)
        self._find_rising_notes(families, values, wrong)
        return wrong

    def _find_rising_notes(self, families: np.ndarray, values: np.ndarray, wrong: np.ndarray) -> None:
        """Mark in ``wrong`` the first part of each note that rises over the note before.

        That is the last note spelled in full that no other instrument, onset or bar parts from it.
        """
        falling = self._table.falling
        begins = np.flatnonzero(families == falling[0])
        padded = np.append(families, [BAR_END] * len(falling))
        spelled = np.all([padded[begins + part] == family for part, family in enumerate(falling)], axis=0)
        previous = np.append(-1, latest(spelled))[:-1]
        after, before = begins[previous >= 0], begins[previous[previous >= 0]]
        group = np.cumsum(self._table.forgets[families, falling[0]])
        together = group[after] == group[before]
        after, before = after[together], before[together]
        for part, family in enumerate(falling):
            begun = padded[after + part] == family
            after, before = after[begun], before[begun]
            wrong[after[values[after + part] > values[before + part]] + part] = True
            equal = values[after + part] == values[before + part]
            after, before = after[equal], before[equal]


def _earlier(marked: np.ndarray, barrier: np.ndarray, values: np.ndarray) -> np.ndarray:
    """int64: for each token the value of the latest marked token before it and after the latest barrier, or -1."""
    index = np.append(-1, latest(marked))[:-1]
    return np.where(index > latest(barrier), values[index], -1)
