"""The token grammar as bounds on a batch of streams: which dictionary entries may come next.

``data_prep.grammar.GrammarState`` defines the grammar one token at a time; this is the same
state for B streams in tensors, so that masking a step is a table look-up on the model's device.
"""

from __future__ import annotations

import copy
from collections.abc import Sequence

import torch
from torch import Tensor

from data_prep.grammar import FAMILIES, GrammarState, successions
from data_prep.vocabulary import (
    DRUM_PITCH_OFFSET,
    DRUMS,
    MAX_DURATION_ID,
    MAX_PITCH_ID,
    MAX_TEMPO_ID,
    MAX_VELOCITY_ID,
    METRES,
    bar_length,
)

from .token_families import TokenFamilies

_STATE = ("family", "bar_length", "onset", "rank", "note", "pitch", "duration")
_BAR_END = FAMILIES.index("b")


class StreamGrammar:
    """Grammar states of B streams.

    Args:
        families: the dictionary.
        states: where each stream stands, after its prompt.
        device: where masks are wanted.
    """

    def __init__(self, families: TokenFamilies, states: Sequence[GrammarState], device: torch.device) -> None:
        self._families = families
        representation = families.representation
        self._eos = families.dictionary.eos()
        self._family = torch.from_numpy(families.family_of_token).to(device)  # [V]
        self._value = torch.from_numpy(families.value_of_token).to(device)  # [V]
        self._follows = torch.from_numpy(successions(representation)).to(device)
        self._is_drums = torch.tensor([i == DRUMS for i in representation.instruments], device=device)
        self._bar_lengths = torch.tensor([bar_length(*metre) for metre in METRES], device=device)
        self._highest = torch.tensor([MAX_PITCH_ID, MAX_DURATION_ID, MAX_VELOCITY_ID], device=device)

        def column(values: list[int]) -> Tensor:
            return torch.tensor(values, device=device)

        self.family = column([FAMILIES.index(state.family) for state in states])
        self.bar_length = column([state.bar_length for state in states])
        self.onset = column([state.onset for state in states])
        self.rank = column([state.rank for state in states])
        self.note = column([list(state.note) for state in states])
        self.pitch = column([state.pitch for state in states])
        self.duration = column([state.duration for state in states])

    def at_bar_end(self) -> Tensor:
        """bool [B]: whether a piece may end here."""
        return self.family == _BAR_END

    def may_end_bar(self) -> Tensor:
        """bool [B]: whether the bar may end here."""
        return self._follows[self.family, _BAR_END]

    def allowed(self) -> Tensor:
        """bool [B, V]: the dictionary entries that may come next, ``</s>`` after a bar's end included."""
        low, high = self._bounds()
        follows = self._follows[self.family]
        low, high = torch.where(follows, low, 1), torch.where(follows, high, 0)
        allowed = (self._value >= low[:, self._family]) & (self._value <= high[:, self._family])
        allowed[:, self._eos] = self.at_bar_end()
        return allowed

    def _bounds(self) -> tuple[Tensor, Tensor]:
        """Inclusive ranges of ids (ranks for instruments) by family, [B, 9] each."""
        drums = self._is_drums[self.rank.clamp(min=0)]
        zero = torch.zeros_like(self.onset)
        same_pitch = self.pitch == self.note[:, 0]
        same_note = same_pitch & (self.duration == self.note[:, 1])
        pitch_low = torch.where(drums, DRUM_PITCH_OFFSET, zero)
        pitch_high = torch.where(drums, MAX_PITCH_ID, zero + DRUM_PITCH_OFFSET - 1)
        bounds = {
            "b": (zero + 1, zero + 1),
            "s": (zero, zero + len(METRES) - 1),
            "o": (self.onset + 1, self.bar_length - 1),
            "t": (zero, zero + MAX_TEMPO_ID),
            "i": (self.rank + 1, zero + len(self._is_drums) - 1),
            "p": (pitch_low, torch.minimum(self.note[:, 0], pitch_high)),
            "d": (zero, torch.where(same_pitch, self.note[:, 1], MAX_DURATION_ID)),
            "v": (zero, torch.where(same_note, self.note[:, 2], MAX_VELOCITY_ID)),
        }
        # one more family, never allowed, of entries that are in no piece
        low, high = zip(*(bounds[family] for family in FAMILIES), (zero + 1, zero))
        return torch.stack(low, dim=1), torch.stack(high, dim=1)

    def advance(self, tokens: Tensor) -> None:
        """Consume one allowed token of every stream, int64 [B]; ``</s>`` is not one."""
        family, value = self._family[tokens], self._value[tokens]
        is_ = {name: family == number for number, name in enumerate(FAMILIES)}
        self.family = family
        self.bar_length = torch.where(is_["s"], self._bar_lengths[torch.where(is_["s"], value, 0)], self.bar_length)
        self.onset = torch.where(is_["o"], value, torch.where(is_["b"], -1, self.onset))
        self.rank = torch.where(is_["i"], value, torch.where(is_["o"], -1, self.rank))
        self.pitch = torch.where(is_["p"], value, self.pitch)
        self.duration = torch.where(is_["d"], value, self.duration)
        spelled = torch.stack([self.pitch, self.duration, value], dim=1)
        self.note = torch.where(is_["v"][:, None], spelled, torch.where(is_["i"][:, None], self._highest, self.note))

    def select(self, numbers: Tensor) -> None:
        """Keep these streams, int64 [B'], in this order."""
        for name in _STATE:
            setattr(self, name, getattr(self, name)[numbers])

    def only(self, number: int) -> StreamGrammar:
        """Stream ``number`` alone."""
        alone = copy.copy(self)
        alone.select(torch.tensor([number], device=self.family.device))
        return alone

    def put(self, number: int, state: GrammarState) -> None:
        """Let a stream that stands at ``state`` take the place of ``number``."""
        entering = StreamGrammar(self._families, [state], self.family.device)
        for name in _STATE:
            getattr(self, name)[number] = getattr(entering, name)[0]
