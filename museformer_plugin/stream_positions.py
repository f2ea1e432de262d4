"""Where the next tokens of pieces being written stand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .fc_attention import PieceBars
from .fc_attention.kept_memory import reordered
from .positions import Positions
from .token_families import CARRIES_LATEST, TokenFamilies


class StreamPositions:
    """Of the next token of each of B streams, in tensors that are changed in place.

    Args:
        families: bars and beats of tokens.
        prompts: what has been read, int [n] each, and its ``bars``.
        upcoming: the numbers of the bars behind those of the prompt; then, or without, they go on one by one.
        device: where tokens come from and positions are wanted.
    """

    def __init__(
        self,
        families: TokenFamilies,
        prompts: Sequence[np.ndarray],
        bars: Sequence[PieceBars],
        upcoming: Sequence[Sequence[int]] | None = None,
        device: torch.device | None = None,
    ) -> None:
        self._families = families
        self._own_beats = torch.from_numpy(families.own_beats(np.arange(len(families.family_of_token)))).to(device)
        told = [self._told(piece, numbers) for piece, numbers in zip(bars, upcoming or [()] * len(prompts))]
        standing = [self._standing_after(tokens, piece) for tokens, piece in zip(prompts, bars)]
        # of each stream the numbers of the bar under way at first and of those behind it, int64 [B, N]
        self._numbers = torch.tensor(_of_one_length(told), device=device)
        # how many bars have ended since, then as in Positions, int64 [5, B]
        self._standing = torch.tensor(standing, device=device).view(-1, 5).T.contiguous()

    def __len__(self) -> int:
        return self._standing.shape[1]

    @staticmethod
    def _told(bars: PieceBars, upcoming: Sequence[int]) -> list[int]:
        """The numbers of the bar under way behind a prompt and, as far as they are told, of those behind it."""
        under_way = len(bars.starts) > bars.num_complete
        latest = int(bars.bar_numbers[-1]) if len(bars.starts) else 0
        upcoming = [int(number) for number in upcoming]
        return [latest, *upcoming] if under_way else upcoming or [latest + 1]

    def _standing_after(self, tokens: np.ndarray, bars: PieceBars) -> tuple[int, ...]:
        """What the token after ``tokens`` starts from."""
        beat = self._families.latest_beat(tokens)
        if len(bars.starts) == bars.num_complete:
            return 0, beat, 0, 0, 0
        _, _, onset, in_bar, in_onset = np.stack(self._families.positions(tokens, bars))[:, -1].tolist()
        return 0, beat, onset, in_bar + 1, in_onset + 1

    def _bars_under_way(self, ended: Tensor) -> Tensor:
        """The numbers of bars, int64 [B], behind as many that have ended; behind all told they go on one by one."""
        last = self._numbers.shape[1] - 1
        if not last:
            return self._numbers[:, 0] + ended
        told = ended.clamp(max=last)
        return self._numbers.gather(1, told[:, None])[:, 0] + (ended - told)

    def advance(self, tokens: Tensor) -> Positions:
        """Read one more token of each stream, int64 [B]: where they stand, tensors on the device."""
        own = self._own_beats[tokens]
        ended, beats, onsets, in_bar, in_onset = self._standing.clone()
        at_onset = own > 0
        beats, onsets = torch.where(at_onset, own, beats), torch.where(at_onset, own - 1, onsets)
        in_onset = in_onset.masked_fill(at_onset, 0)
        found = Positions(
            self._bars_under_way(ended), torch.where(own == CARRIES_LATEST, beats, own), onsets, in_bar, in_onset
        )
        ends = tokens == self._families.end_of_bar
        in_next_bar = torch.stack([onsets, in_bar + 1, in_onset + 1]).masked_fill(ends, 0)
        self._standing.copy_(torch.cat([torch.stack([ended + ends, beats]), in_next_bar]))
        return found

    def select(self, indices: Sequence[int]) -> None:
        """Keep these streams in this order."""
        self._standing = reordered(self._standing, indices, 1)
        self._numbers = reordered(self._numbers, indices, 0)

    def put(self, index: int, entering: StreamPositions) -> None:
        """Let the one stream of ``entering`` take the place of ``index``."""
        self._standing[:, index] = entering._standing[:, 0]
        length = max(self._numbers.shape[1], entering._numbers.shape[1])
        self._numbers = _continued(self._numbers, length)
        self._numbers[index] = _continued(entering._numbers, length)[0]

    def changed(self) -> list[Tensor]:
        """What ``advance`` changes, in place."""
        return [self._standing]

    def read(self) -> list[Tensor]:
        """What it reads besides."""
        return [self._numbers]


def _of_one_length(told: Sequence[list[int]]) -> list[list[int]]:
    """Numbers that go on one by one behind those that are told, as many in all rows."""
    longest = max(map(len, told))
    return [[*row, *range(row[-1] + 1, row[-1] + 1 + longest - len(row))] for row in told]


def _continued(numbers: Tensor, length: int) -> Tensor:
    """The same of int64 [B, N] -> [B, length]; the same tensor where N is the length."""
    more = length - numbers.shape[1]
    behind = torch.arange(1, more + 1, device=numbers.device)
    return torch.cat([numbers, numbers[:, -1:] + behind], 1) if more else numbers
