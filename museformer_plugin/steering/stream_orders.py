"""What streams may write to keep to their requests, in tensors on the model's device."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..fc_attention.kept_memory import reordered
from ..token_families import TokenFamilies
from .bars_to_write import BarsToWrite

ENTERS = 4.0  # how far the logit of an instrument is raised that is to enter


class StreamOrders:
    """Of B streams the bars to write and where each stands, changed in place.

    Notes that are given (``GivenNotes``) are followed on the host, which must then read every token before the next is
    chosen, and says by ``hold`` what they refuse. All else is done on the device.

    Args:
        orders: of each stream.
        families: of the dictionary.
        device: where masks are wanted.
        repeat_temperature: of the choice in bars that are told to repeat one, on top of that of all bars.
    """

    def __init__(
        self,
        orders: Sequence[BarsToWrite],
        families: TokenFamilies,
        device: torch.device,
        repeat_temperature: float,
    ) -> None:
        self._repeat_temperature = repeat_temperature
        self._end_of_bar = families.end_of_bar
        self.has_given_notes = any(order.has_given_notes for order in orders)
        longest = max(len(order.request.written) for order in orders)
        self._places: dict[bytes, int] = {bytes(len(families.family_of_token)): 0}  # of masks; nothing, behind all bars
        rows = [[self._place(mask.tobytes()) for mask in order.masks()] for order in orders]
        self._masks = _stacked(self._places).to(device)  # bool [M, V]
        self._mask_of_bar = torch.tensor(_of_one_length(rows, longest + 1), device=device)  # [B, bars + 1]
        # of each bar the token of an instrument that is to enter, plus 1, or 0, [B, bars + 1]; whether it has, [B]
        entering = [[token + 1 for token in order.entering()] for order in orders]
        self._entering = torch.tensor(_of_one_length(entering, longest + 1), device=device)
        # of each bar whether the melody goes on in it, [B, bars + 1]; whether it has sounded in the bar under way,
        # and was silent in the one before, [B]
        going_on = [[limits.goes_on for limits in order.request.limits] for order in orders]
        self._goes_on = torch.tensor(_of_one_length(going_on, longest + 1), dtype=torch.bool, device=device)
        self._melody = next(map(families.instrument_token, families.melody_ranks), None)
        repeating = [order.repeating() for order in orders]
        self._repeats = torch.tensor(_of_one_length(repeating, longest + 1), dtype=torch.bool, device=device)
        behind = [order.least_behind for order in orders]
        self._least_behind = torch.tensor(_of_one_length(behind, longest + 1), device=device)
        self._bars = torch.tensor([len(order.request.written) for order in orders], device=device)  # [B]
        self.may_end_early = torch.tensor([order.request.open_ended for order in orders], device=device)  # [B]
        self._under_way = torch.zeros_like(self._bars)
        self._has_entered = torch.zeros_like(self.may_end_early)
        self._melody_sounds = torch.zeros_like(self.may_end_early)
        self._melody_paused = torch.zeros_like(self.may_end_early)
        self._refused = torch.zeros(len(orders), self._masks.shape[1], dtype=torch.bool, device=device)
        self._notes_left = torch.zeros_like(self._bars)
        self.in_given_track = torch.zeros_like(self.may_end_early)  # whether the latest instrument's notes are given

    def _place(self, mask: bytes) -> int:
        return self._places.setdefault(mask, len(self._places))

    def are_written(self) -> Tensor:
        """bool [B]: whether all bars are."""
        return self._under_way == self._bars

    def tokens_left(self) -> Tensor:
        """int64 [B]: as ``BarsToWrite`` has it."""
        return self._least_behind.gather(1, self._under_way[:, None])[:, 0] + self._notes_left

    def allowed(self) -> Tensor:
        """bool [B, V]: what the requests leave in the bars under way."""
        rows = self._mask_of_bar.gather(1, self._under_way[:, None])[:, 0]
        return self._masks[rows] & ~self._refused

    def _enters(self) -> Tensor:
        """Of each stream the token of the instrument that is to enter in the bar under way, plus 1, int64 [B]."""
        return self._entering.gather(1, self._under_way[:, None])[:, 0]

    def lean(self, logits: Tensor) -> Tensor:
        """Logits [B, V], at the temperature of bars that repeat one, raised for instruments that are to be heard in the
        bar under way (see ``favoured``), as long as they are not.

        Chance changes some note of nearly every bar, however sure a model is of each, and the bars that repeat it
        carry the slip on: they get less of it, while new bars keep theirs.
        """
        bar = self._under_way[:, None]
        logits = torch.where(self._repeats.gather(1, bar), logits / self._repeat_temperature, logits)
        enters = self._enters()
        raised = ((enters > 0) & ~self._has_entered) * ENTERS
        logits = logits.scatter_add(1, (enters - 1).clamp(min=0)[:, None], raised.to(logits.dtype)[:, None])
        if self._melody is None:
            return logits
        paused = self._goes_on.gather(1, bar)[:, 0] & self._melody_paused & ~self._melody_sounds
        melody = torch.full_like(bar, self._melody)
        return logits.scatter_add(1, melody, (paused * ENTERS).to(logits.dtype)[:, None])

    def hold(self, orders: Sequence[BarsToWrite], closing: Sequence[bool]) -> None:
        """What given notes refuse of the next token, where ``orders`` stand now.

        ``closing``: of which streams no more than must be is to be written.
        """
        followed = [(row, order) for row, order in enumerate(orders) if order.notes is not None]
        refused = np.zeros(self._refused.shape, dtype=bool)
        given = np.zeros(len(orders), dtype=bool)
        for row, order in followed:
            assert order.notes is not None
            refused[row] = order.notes.refused(closing[row])
            given[row] = order.notes.in_given_track
        self._refused.copy_(torch.from_numpy(refused))
        self.in_given_track.copy_(torch.from_numpy(given))
        self._notes_left.copy_(torch.tensor([order.notes_left() for order in orders]))

    def advance(self, tokens: Tensor) -> None:
        """The streams have written these tokens, int64 [B]."""
        ends = tokens == self._end_of_bar
        self._has_entered |= tokens == self._enters() - 1
        self._has_entered &= ~ends
        if self._melody is not None:
            self._melody_paused.copy_(torch.where(ends, ~self._melody_sounds, self._melody_paused))
            self._melody_sounds |= tokens == self._melody
            self._melody_sounds &= ~ends
        self._under_way += ends

    def select(self, indices: Sequence[int]) -> None:
        """Keep these streams, in this order."""
        for name in (*_OF_BARS, *_OF_STREAMS):
            setattr(self, name, reordered(getattr(self, name), indices, 0))

    def put(self, index: int, entering: StreamOrders) -> None:
        """Let the one stream of ``entering`` take the place of ``index``."""
        places = torch.tensor([self._place(mask) for mask in entering._places], device=self._masks.device)
        if len(self._places) > len(self._masks):
            self._masks = _stacked(self._places).to(places.device)
        length = max(self._mask_of_bar.shape[1], entering._mask_of_bar.shape[1])
        for name in _OF_BARS:
            rows, entered = getattr(self, name), getattr(entering, name)
            setattr(self, name, rows := _longer(rows, length))
            rows[index] = _longer(places[entered] if name == "_mask_of_bar" else entered, length)[0]
        for name in _OF_STREAMS:
            getattr(self, name)[index] = getattr(entering, name)[0]
        self.has_given_notes = self.has_given_notes or entering.has_given_notes

    def changed(self) -> list[Tensor]:
        """What ``advance`` changes, in place."""
        return [self._under_way, self._has_entered, self._melody_sounds, self._melody_paused]

    def read(self) -> list[Tensor]:
        """What is read besides."""
        return [self._masks, *(getattr(self, name) for name in (*_OF_BARS, *_OF_STREAMS))]


_OF_BARS = ("_mask_of_bar", "_least_behind", "_entering", "_goes_on", "_repeats")  # [B, bars + 1]
_OF_STREAMS = (  # [B, ...]
    "_bars",
    "may_end_early",
    "_under_way",
    "_has_entered",
    "_melody_sounds",
    "_melody_paused",
    "_refused",
    "_notes_left",
    "in_given_track",
)


def _stacked(masks: Iterable[bytes]) -> Tensor:
    """bool [M, V] of arrays as bytes."""
    return torch.from_numpy(np.stack([np.frombuffer(mask, dtype=bool) for mask in masks]))


def _of_one_length(rows: Sequence[Sequence[int]], length: int) -> list[list[int]]:
    return [[*row, *[0] * (length - len(row))] for row in rows]


def _longer(rows: Tensor, length: int) -> Tensor:
    """[B, n] -> [B, length], with zeros behind; the same tensor where n is the length."""
    more = length - rows.shape[1]
    return torch.nn.functional.pad(rows, (0, more)) if more else rows
