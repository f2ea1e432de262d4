"""The token grammar as bounds on a batch of streams: which dictionary entries may come next.

``data_prep.tokens.grammar.GrammarState`` applies the grammar one token at a time; this is the same
state for B streams in tensors, so that masking a step is a table look-up on the model's device.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from data_prep.tokens.grammar import BAR_END, GrammarState, GrammarTable, grammar_table
from data_prep.tokens.vocabulary import LETTERS

from .fc_attention.kept_memory import reordered
from .token_families import TokenFamilies

_STATE = ("family", "latest", "before")


class StreamGrammar:
    """Grammar states of B streams: ``family`` int64 [B], ``latest`` and ``before`` int64 [B, 9] as GrammarState's.

    They are changed in place, so that a step which was recorded goes on with them.

    Args:
        families: the dictionary.
        states: where each stream stands, after its prompt.
        device: where masks are wanted.
    """

    def __init__(self, families: TokenFamilies, states: Sequence[GrammarState], device: torch.device) -> None:
        def on_device(values: object) -> Tensor:
            return torch.as_tensor(values, device=device)

        self._eos = families.dictionary.eos()
        entries = np.arange(len(families.dictionary))
        self.end_alone = on_device(entries == self._eos)  # bool [V], as masks of one entry
        self.end_of_bar_alone = on_device(entries == families.end_of_bar)
        self._family = on_device(families.family_of_token)  # [V]
        self._value = on_device(families.value_of_token)  # [V]
        self._table = table = grammar_table(families.representation)
        every = np.arange(len(table.lowest))
        self._follows, self._forgets = on_device(table.follows), on_device(table.forgets)
        self._lowest, self._highest, self._start = map(on_device, (table.lowest, table.highest, table.start))
        self._rises, self._falls = (on_device(np.isin(every, some)) for some in (table.rising, table.falling))
        self._spelled_before = on_device(_spelled_before(table))
        self._all_families = on_device(every)
        # a family that nothing narrows has the same bounds under every id of the family named here
        self._narrowed_by = on_device([table.narrowed[n].by if n in table.narrowed else 0 for n in every.tolist()])
        self._narrowed = on_device(_narrowed(table))
        self.family = on_device([LETTERS.index(state.family) for state in states])
        self.latest = on_device([state.latest for state in states])
        self.before = on_device([state.before for state in states])

    def at_bar_end(self) -> Tensor:
        """bool [B]: whether a piece may end here."""
        return self.family == BAR_END

    def may_end_bar(self) -> Tensor:
        """bool [B]: whether the bar may end here."""
        return self._follows[self.family, BAR_END]

    def has_note(self) -> Tensor:
        """bool [B]: whether a note has just been written, whose pitch the grammar lets follow without end."""
        return self.family == self._table.falling[-1]

    def allowed(self, once: Tensor | None = None) -> Tensor:
        """bool [B, V]: the dictionary entries that may come next, ``</s>`` after a bar's end included.

        ``once`` bool [B]: where the pitch of the note just written may not come again.
        """
        low, high = self._bounds(once)
        high = torch.where(self._follows[self.family], high, -1)
        allowed = (self._value >= low[:, self._family]) & (self._value <= high[:, self._family])
        allowed[:, self._eos] = self.at_bar_end()
        return allowed

    def _bounds(self, once: Tensor | None) -> tuple[Tensor, Tensor]:
        """Inclusive ranges of ids (ranks for instruments) by family, [B, 9] each; all families at once."""
        low = torch.where(self._rises, self.latest + 1, self._lowest)
        unequal = ((self.latest != self.before)[:, None] & self._spelled_before).any(2)
        # equal so far, a part of a note may not rise
        high = torch.where(unequal, self._highest, torch.where(self._falls, self.before, self._highest))
        if once is not None:
            high[:, self._table.falling[0]].add_(once, alpha=-1)
        narrowed = self._narrowed[self._all_families, self.latest[:, self._narrowed_by]]
        return torch.maximum(low, narrowed[..., 0]), torch.minimum(high, narrowed[..., 1])

    def advance(self, tokens: Tensor) -> None:
        """Consume one allowed token of every stream, int64 [B]; ``</s>`` is not one."""
        self.family.copy_(self._family[tokens])
        forgets = self._forgets[self.family]
        latest = self.latest.scatter(1, self.family[:, None], self._value[tokens][:, None])
        before = torch.where(forgets, self._highest, self.before)
        torch.where(self.has_note()[:, None], latest, before, out=self.before)
        torch.where(forgets, self._start, latest, out=self.latest)

    def select(self, indices: Sequence[int]) -> None:
        """Keep these streams, in this order."""
        for name in _STATE:
            setattr(self, name, reordered(getattr(self, name), indices, 0))

    def put(self, index: int, entering: StreamGrammar) -> None:
        """Let the one stream of ``entering`` take the place of ``index``."""
        for name in _STATE:
            getattr(self, name)[index] = getattr(entering, name)[0]

    def changed(self) -> list[Tensor]:
        """What ``advance`` changes, in place."""
        return [getattr(self, name) for name in _STATE]


def _spelled_before(table: GrammarTable) -> np.ndarray:
    """bool [9, 9]: whether the second family is a part of notes that is spelled before the first."""
    found = np.zeros((len(table.lowest), len(table.lowest)), dtype=bool)
    for place, family in enumerate(table.falling):
        found[family, table.falling[:place]] = True
    return found


def _narrowed(table: GrammarTable) -> np.ndarray:
    """int64 [9, ids, 2]: by the latest id of the family that narrows it, the least and the greatest id of each family.

    Behind those that there are stands the last again, to the length of the longest; so it does for -1, which no family
    meets that may come next.
    """
    rules = [
        np.stack([table.narrowed[n].lowest, table.narrowed[n].highest], axis=1)
        if n in table.narrowed
        else np.array([[table.lowest[n], table.highest[n]]])
        for n in range(len(table.lowest))
    ]
    longest = max(map(len, rules))
    return np.stack([np.pad(rule, ((0, longest - len(rule)), (0, 0)), mode="edge") for rule in rules])
