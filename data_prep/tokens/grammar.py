"""The grammar of tokens: what may follow what, one token at a time and for whole pieces at once.

The rules are those of ``vocabulary.FAMILIES`` and ``Representation.chain``; ``GrammarTable`` has them as arrays.
``GrammarState`` applies them a token at a time, and says why; ``obeys_grammar`` decides whole pieces in NumPy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np

from data_prep.tokens.vocabulary import (
    END_OF_BAR,
    FAMILIES,
    LETTERS,
    Order,
    Representation,
    TokenError,
    split_token,
)

NO_FAMILY = len(FAMILIES)  # of symbols that are in no piece
BAR_END = LETTERS.index("b")


@dataclass(frozen=True)
class NarrowedIds:
    """``vocabulary.Narrowing`` by the family ``by``, an index: int64 [ids of ``by``], the ids that each leaves."""

    by: int
    lowest: np.ndarray
    highest: np.ndarray


class GrammarTable:
    """The grammar of one representation; families are indices of ``FAMILIES``, ids of instruments their ranks.

    ``follows``: bool [9, 9], whether the second family may follow the first; nothing follows NO_FAMILY.
    ``forgets``: bool [9, 9], whether the order of the second begins anew after a token of the first; ``forgotten``
    lists the second ones of each.
    ``lowest``, ``highest``: of each family's ids, a tuple of 9. ``start``: what counts as the latest id of each
    before there is one, -1 for none. ``rising``, ``falling``: families by order. ``narrowed``: those that another
    one narrows.
    ``parted_by``: the family whose tokens part those of a rising or falling one into groups in which the order holds,
    of ``Family.since`` the last, which comes again after each of the others.
    ``counted``: the families of this representation that part or narrow others; ``ruled``: these, and those they do
    it to, of notes the first part.
    """

    def __init__(self, representation: Representation) -> None:
        instruments = representation.instruments
        ids = [range(len(instruments)) if family.letter == "i" else family.ids for family in FAMILIES]
        self.follows = _pairs(representation.successors)
        self.forgets = _pairs({letter: {f.letter for f in FAMILIES if letter in f.since} for letter in LETTERS})
        self.forgotten = [np.flatnonzero(row).tolist() for row in self.forgets]
        self.lowest = (*map(min, ids), 1)
        self.highest = (*map(max, ids), 0)  # NO_FAMILY has no ids
        self.rising = [n for n, family in enumerate(FAMILIES) if family.order is Order.RISES]
        self.falling = [n for n, family in enumerate(FAMILIES) if family.order is Order.FALLS]
        self.parted_by = {n: LETTERS.index(FAMILIES[n].since[-1]) for n in (*self.rising, *self.falling)}
        self.narrowed: dict[int, NarrowedIds] = {}
        start = [-1 if n in self.rising else 0 for n in range(NO_FAMILY + 1)]
        for n, family in enumerate(FAMILIES):
            if rule := family.narrowing:
                by = LETTERS.index(rule.family)
                under = instruments if rule.family == "i" else range(self.highest[by] + 1)
                lowest, highest = np.array([rule.ids_under(id_) for id_ in under]).T
                self.narrowed[n] = NarrowedIds(by, lowest, highest)
                start[by] = -1 if rule.before is None else rule.before
        self.start = tuple(start)
        counted = {*self.parted_by.values(), *(rule.by for rule in self.narrowed.values())}
        self.counted = [family for family in counted if self.follows[family].any()]
        self.ruled = sorted({*self.counted, *self.rising, self.falling[0], *self.narrowed})


@cache
def grammar_table(representation: Representation) -> GrammarTable:
    """The table of ``representation``, made once."""
    return GrammarTable(representation)


def _pairs(after: Mapping[str, Iterable[str]]) -> np.ndarray:
    found = np.zeros((NO_FAMILY + 1, NO_FAMILY + 1), dtype=bool)
    for letter, others in after.items():
        for other in others:
            found[LETTERS.index(letter), LETTERS.index(other)] = True
    return found


class GrammarState:
    """Where a piece stands in its grammar: which tokens may come next.

    ``bounds()`` maps each family that may come next to the inclusive range of its allowed ids (``i``
    counts in ranks of ``representation.instruments``, every other family in ids); ``advance``
    consumes one token. A bar is never left without a way to go on.

    ``latest`` holds the latest id of each family, by index; ``before`` the ids of the falling families in the note
    before, the highest where there is none.
    """

    def __init__(self, representation: Representation) -> None:
        self.representation = representation
        self.family = "b"  # a piece begins as if a bar had just ended
        self._table = grammar_table(representation)
        self.latest = list(self._table.start)
        self.before = list(self._table.highest)
        self._ranks = {instrument: rank for rank, instrument in enumerate(representation.instruments)}

    @property
    def may_end(self) -> bool:
        """Whether the piece may end here: only between bars."""
        return self.family == "b"

    def bounds(self) -> dict[str, tuple[int, int]]:
        """Allowed ids of every family that may come next, as inclusive (low, high)."""
        found = {letter: self._range(letter) for letter in self.representation.successors[self.family]}
        return {letter: (low, high) for letter, (low, high) in found.items() if low <= high}

    def _range(self, letter: str) -> tuple[int, int]:
        table, family = self._table, LETTERS.index(letter)
        low, high = table.lowest[family], table.highest[family]
        if family in table.rising:
            low = self.latest[family] + 1
        elif family in table.falling:
            spelled = table.falling[: table.falling.index(family)]
            if all(self.latest[part] == self.before[part] for part in spelled):  # equal so far: this part may not rise
                high = self.before[family]
        if rule := table.narrowed.get(family):
            latest = self.latest[rule.by]
            low, high = max(low, int(rule.lowest[latest])), min(high, int(rule.highest[latest]))
        return low, high

    def advance(self, token: str) -> None:
        """Consume ``token``. Raises TokenError, saying what may come instead, when it is not allowed."""
        letter, id_ = split_token(token)
        follows = letter in self.representation.successors[self.family]
        low, high = self._range(letter) if follows else (0, -1)
        value = self._ranks.get(id_, -1) if letter == "i" else id_
        if not low <= value <= high or id_ not in FAMILIES[LETTERS.index(letter)].ids:
            raise TokenError(f"{token} may not come here; allowed are {self._describe()}")
        table, family = self._table, LETTERS.index(letter)
        self.family = letter
        self.latest[family] = value
        if family == table.falling[-1]:
            self.before = list(self.latest)
        for other in table.forgotten[family]:
            self.latest[other], self.before[other] = table.start[other], table.highest[other]

    def _describe(self) -> str:
        described = []
        bounds = self.bounds()
        for family in sorted(bounds, key=(self.representation.chain + "b").index):
            low, high = bounds[family]
            if family == "i":
                names = (f"i-{i}" for i in self.representation.instruments[low : high + 1])
                described.append(" ".join(names) if high - low < 6 else f"i-{low} to i-{high}")
            else:
                described.append(f"{family}-{low}" if low == high else f"{family}-{low} to {family}-{high}")
        return ", ".join(described)


def check_piece(tokens: Iterable[str], representation: Representation, complete: bool = True) -> None:
    """Raise TokenError, naming the position, when ``tokens`` break the grammar.

    With ``complete=False`` the piece may stop anywhere, as a prompt does.
    """
    state = GrammarState(representation)
    position = 0
    for position, token in enumerate(tokens, start=1):
        try:
            state.advance(token)
        except TokenError as error:
            raise TokenError(f"token {position}: {error}") from None
    if complete and not (position and state.may_end):
        raise TokenError(f"the piece stops after token {position} without {END_OF_BAR}")


def tokens_to_end_bar(representation: Representation) -> int:
    """From any state of the grammar a bar can be ended within this many tokens, ``b-1`` included."""
    reached, count = {"b"}, 0
    while len(reached) < len(representation.successors):
        reached |= {family for family, after in representation.successors.items() if after & reached}
        count += 1
    return count


def coded_symbols(symbols: Iterable[str], representation: Representation) -> tuple[np.ndarray, np.ndarray]:
    """Index of the family in ``FAMILIES`` and id (rank for instruments) of each symbol, int64 [V] each.

    Symbols that are in no piece have ``NO_FAMILY``.
    """
    ids = {family.letter: {id_: id_ for id_ in family.ids} for family in FAMILIES}
    ids["i"] = {instrument: rank for rank, instrument in enumerate(representation.instruments)}
    coded = []
    for symbol in symbols:
        try:
            letter, id_ = split_token(symbol)
        except TokenError:
            letter, id_ = "", 0
        if letter in representation.successors and id_ in ids[letter]:
            coded.append((LETTERS.index(letter), ids[letter][id_]))
        else:
            coded.append((NO_FAMILY, 0))
    families, values = np.array(coded, dtype=np.int64).reshape(-1, 2).T
    return families, values


def coded_piece_obeys(families: np.ndarray, values: np.ndarray, representation: Representation) -> bool:
    """``obeys_grammar`` for int64 [n] ``families`` and ``values`` of a piece's tokens, from ``coded_symbols``."""
    if not len(families) or families[-1] != BAR_END:
        return False
    table = grammar_table(representation)
    pairs = families[:-1] * len(table.follows) + families[1:]  # taking of a flat array takes half the time
    follow = table.follows[BAR_END, families[0]] and table.follows.ravel().take(pairs).all()
    return bool(follow and _orders_hold(families, values, table))


def _orders_hold(families: np.ndarray, values: np.ndarray, table: GrammarTable) -> bool:
    """Whether tokens whose families follow each other as they must keep the orders and the narrowed ids."""
    first = table.falling[0]
    ruled = np.zeros(NO_FAMILY + 1, dtype=bool)
    ruled[table.ruled] = True
    indices = np.flatnonzero(ruled[families])
    kept = families[indices]
    # of the family's tokens up to each; sums of 32 bits take half the time
    counts = {family: np.cumsum(kept == family, dtype=np.int32) for family in table.counted}
    at = {family: np.flatnonzero(kept == family) for family in table.ruled}
    ordered = {family: values[indices[own]] for family, own in at.items()}

    def steps(family: int, ids: np.ndarray) -> np.ndarray:
        """Differences of neighbours that belong to the same group."""
        return np.diff(ids)[np.diff(counts[table.parted_by[family]][at[family]]) == 0]

    def is_narrow(family: int, rule: NarrowedIds) -> bool:
        ids, deciding = ordered[family], np.array(table.start[rule.by])
        if rule.by in counts:  # each of the family comes after one that decides
            deciding = ordered[rule.by][counts[rule.by][at[family]] - 1]
        return bool((ids >= rule.lowest[deciding]).all() and (ids <= rule.highest[deciding]).all())

    notes = ordered[first]
    for part, family in enumerate(table.falling[1:], start=1):  # that follow one another
        notes = notes * (table.highest[family] + 1) + values[indices[at[first]] + part]
    return (
        all(steps(family, ordered[family]).min(initial=1) > 0 for family in table.rising)
        and steps(first, notes).max(initial=-1) <= 0
        and all(is_narrow(family, rule) for family, rule in table.narrowed.items())
    )


@cache
def _coded_dictionary(representation: Representation) -> dict[str, tuple[int, int]]:
    symbols = representation.symbols()
    return dict(zip(symbols, zip(*(column.tolist() for column in coded_symbols(symbols, representation)))))


def coded_tokens(tokens: Sequence[str], representation: Representation) -> np.ndarray:
    """int64 [n, 2]: families and values of ``tokens`` as ``coded_symbols`` has them."""
    dictionary = _coded_dictionary(representation)
    return np.array([dictionary.get(token, (NO_FAMILY, 0)) for token in tokens], dtype=np.int64).reshape(-1, 2)


def obeys_grammar(tokens: Sequence[str], representation: Representation) -> bool:
    """Whether ``tokens`` are a complete piece of ``representation``: what ``check_piece`` says, much faster."""
    families, values = coded_tokens(tokens, representation).T
    return coded_piece_obeys(families, values, representation)


def require_grammar(tokens: Sequence[str], representation: Representation) -> None:
    """Raise TokenError where ``check_piece`` does, without its cost for pieces that are right."""
    if not obeys_grammar(tokens, representation):
        check_piece(tokens, representation)
