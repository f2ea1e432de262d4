"""Where the next tokens of pieces being written stand."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from .fc_attention import PieceBars
from .positions import Positions
from .token_families import CARRIES_LATEST, TokenFamilies


class StreamPositions:
    """Of the next token of each of B streams.

    Args:
        families: bars and beats of tokens.
        prompts: what has been read, int [n] each, and its ``bars``.
        upcoming: the numbers of the bars behind those of the prompt; then, or without, they go on one by one.
    """

    def __init__(
        self,
        families: TokenFamilies,
        prompts: Sequence[np.ndarray],
        bars: Sequence[PieceBars],
        upcoming: Sequence[Sequence[int]] | None = None,
    ) -> None:
        self._families = families
        self._upcoming = [tuple(map(int, numbers)) for numbers in upcoming or [()] * len(prompts)]
        standing = [self._standing_after(n, tokens, piece) for n, (tokens, piece) in enumerate(zip(prompts, bars))]
        self._standing = np.array(standing, dtype=np.int64).reshape(-1, 5).T.copy()  # as in Positions

    def __len__(self) -> int:
        return self._standing.shape[1]

    def _standing_after(self, stream: int, tokens: np.ndarray, bars: PieceBars) -> tuple[int, ...]:
        """What the token after ``tokens`` starts from."""
        beat = self._families.latest_beat(tokens)
        if len(bars.starts) == bars.num_complete:
            return self._next_bar(stream, int(bars.bar_numbers[-1]) if len(bars.starts) else 0), beat, 0, 0, 0
        bar, _, onset, in_bar, in_onset = np.stack(self._families.positions(tokens, bars))[:, -1].tolist()
        return bar, beat, onset, in_bar + 1, in_onset + 1

    def _next_bar(self, stream: int, number: int) -> int:
        """The number of the bar behind ``number``."""
        told, self._upcoming[stream] = self._upcoming[stream][:1], self._upcoming[stream][1:]
        return told[0] if told else number + 1

    def advance(self, tokens: np.ndarray) -> Positions:
        """Read one more token of each stream, int64 [B]: where they stand."""
        own = self._families.own_beats(tokens)
        bars, beats, onsets, in_bar, in_onset = self._standing
        beats, onsets = np.where(own > 0, own, beats), np.where(own > 0, own - 1, onsets)
        in_onset = np.where(own > 0, 0, in_onset)
        ended = tokens == self._families.end_of_bar
        after = bars.copy()
        for stream in np.flatnonzero(ended).tolist():
            after[stream] = self._next_bar(stream, int(bars[stream]))
        begun = (np.where(ended, 0, rows) for rows in (onsets, in_bar + 1, in_onset + 1))
        self._standing = np.stack([after, beats, *begun])
        return Positions(bars, np.where(own == CARRIES_LATEST, beats, own), onsets, in_bar, in_onset)

    def select(self, indices: Sequence[int]) -> None:
        """Keep these streams in this order."""
        self._standing = self._standing[:, indices]
        self._upcoming = [self._upcoming[index] for index in indices]

    def put(self, index: int, entering: StreamPositions) -> None:
        """Let the one stream of ``entering`` take the place of ``index``."""
        self._standing[:, index] = entering._standing[:, 0]
        self._upcoming[index] = entering._upcoming[0]
