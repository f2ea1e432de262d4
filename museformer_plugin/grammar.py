"""The token grammar as bounds on a batch of streams: which dictionary entries may come next.

``data_prep.tokens.grammar.GrammarState`` applies the grammar one token at a time; this is the same
state for B streams in tensors, so that masking a step is a table look-up on the model's device.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from data_prep.tokens.grammar import BAR_END, GrammarState, grammar_table
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
        self._family = on_device(families.family_of_token)  # [V]
        self._value = on_device(families.value_of_token)  # [V]
        self._table = table = grammar_table(families.representation)
        self._follows, self._forgets = on_device(table.follows), on_device(table.forgets)
        self._lowest, self._highest, self._start = map(on_device, (table.lowest, table.highest, table.start))
        self._narrowed = [
            (family, rule.by, on_device(rule.lowest), on_device(rule.highest))
            for family, rule in table.narrowed.items()
        ]
        self._rises = on_device([n in table.rising for n in range(len(table.lowest))])
        self.family = on_device([LETTERS.index(state.family) for state in states])
        self.latest = on_device([state.latest for state in states])
        self.before = on_device([state.before for state in states])

    def at_bar_end(self) -> Tensor:
        """bool [B]: whether a piece may end here."""
        return self.family == BAR_END

    def may_end_bar(self) -> Tensor:
        """bool [B]: whether the bar may end here."""
        return self._follows[self.family, BAR_END]

    def allowed(self) -> Tensor:
        """bool [B, V]: the dictionary entries that may come next, ``</s>`` after a bar's end included."""
        low, high = self._bounds()
        high = torch.where(self._follows[self.family], high, -1)
        allowed = (self._value >= low[:, self._family]) & (self._value <= high[:, self._family])
        allowed[:, self._eos] = self.at_bar_end()
        return allowed

    def repeats_pitch(self) -> Tensor:
        """bool [B, V]: the pitches that the note just written has, which the grammar lets follow without end."""
        pitch, *_, last = self._table.falling
        again = (self._family == pitch) & (self._value == self.before[:, pitch, None])
        return again & (self.family == last)[:, None]

    def _bounds(self) -> tuple[Tensor, Tensor]:
        """Inclusive ranges of ids (ranks for instruments) by family, [B, 9] each."""
        low = torch.where(self._rises, self.latest + 1, self._lowest)
        high = self._highest.repeat(len(low), 1)
        equal = torch.ones_like(low[:, 0], dtype=torch.bool)
        for family in self._table.falling:  # equal so far, a part of a note may not rise
            before = self.before[:, family]
            high[:, family] = torch.where(equal, before, high[:, family])
            equal = equal & (self.latest[:, family] == before)
        for family, by, lowest, highest in self._narrowed:
            latest = self.latest[:, by]
            low[:, family] = torch.maximum(low[:, family], lowest[latest])
            high[:, family] = torch.minimum(high[:, family], highest[latest])
        return low, high

    def advance(self, tokens: Tensor) -> None:
        """Consume one allowed token of every stream, int64 [B]; ``</s>`` is not one."""
        family = self._family[tokens]
        forgets = self._forgets[family]
        latest = self.latest.scatter(1, family[:, None], self._value[tokens][:, None])
        ends_note = family == self._table.falling[-1]
        before = torch.where(ends_note[:, None], latest, torch.where(forgets, self._highest, self.before))
        self.family.copy_(family)
        self.latest.copy_(torch.where(forgets, self._start, latest))
        self.before.copy_(before)

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
