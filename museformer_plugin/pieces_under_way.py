"""Pieces that are being written, and the bar that shows how far they are."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import torch
from tqdm import tqdm

from .steering.bars_to_write import BarsToWrite


@dataclass
class PieceUnderWay:
    """One stream's tokens, without the begin token."""

    example: int
    tokens: list[int]
    order: BarsToWrite | None = None
    scores: list[float] = field(default_factory=list)  # of the tokens written, not of the prompt

    def append(self, token: int, score: float) -> None:
        """The token has been written."""
        self.tokens.append(token)
        self.scores.append(score)
        if self.order is not None and self.order.has_given_notes:
            self.order.advance(token)

    def hypothesis(self, end_of_bar: int) -> dict[str, Any]:
        """In fairseq's form; the prompt's tokens score 0. The bars of a request come in their order in the piece."""
        positional = torch.zeros(len(self.tokens))
        if self.scores:
            positional[-len(self.scores) :] = torch.tensor(self.scores)
        tokens = torch.tensor(self.tokens)
        if self.order is not None:
            own = torch.from_numpy(self.order.request.assembled(self.tokens, end_of_bar))
            places = torch.cat([own, own.new_tensor([len(tokens) - 1])])  # and </s>
            tokens, positional = tokens[places], positional[places]
        return {
            "tokens": tokens,
            "score": positional.sum() / max(1, len(self.scores)),
            "attention": None,
            "alignment": torch.empty(0),
            "positional_scores": positional,
        }


class Progress:
    """Counts the bars to be written where it is said how many, else the tokens still to be written at most."""

    def __init__(self, pieces: Sequence[PieceUnderWay], max_len: int, end_of_bar: int, shown: bool = True) -> None:
        self._max_len, self._end_of_bar = max_len, end_of_bar
        self._written = {"token": 0, "bar": 0}
        asked = [0 if piece.order is None else piece.order.num_bars for piece in pieces]
        self._unit, total = "bar", sum(asked)
        if not all(asked):
            self._unit, total = "token", sum(max_len - len(piece.tokens) for piece in pieces)
        self._shown = tqdm(
            total=total, unit=self._unit, desc="writing", mininterval=1.0, dynamic_ncols=True, disable=not shown
        )

    def wrote(self, pieces: Sequence[PieceUnderWay], ended: Sequence[bool], streams: int) -> None:
        """Each of ``pieces``, which are among ``streams``, has got a token; which of them it ended."""
        now = {"token": len(pieces), "bar": sum(piece.tokens[-1] == self._end_of_bar for piece in pieces)}
        self._written = {unit: self._written[unit] + now[unit] for unit in now}
        if self._unit == "token":
            self._shown.total -= sum(self._max_len - len(piece.tokens) for piece, last in zip(pieces, ended) if last)
        other = {f"{unit}s": count for unit, count in self._written.items() if unit != self._unit}
        self._shown.set_postfix(**other, streams=streams, refresh=False)
        self._shown.update(now[self._unit])

    def close(self) -> None:
        """Leave the bar as it stands."""
        self._shown.close()
