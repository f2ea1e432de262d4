"""What architectures share whose logits depend on the distance in tokens: layer and decoder."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

import torch
from fairseq.data import Dictionary
from torch import Tensor

from ..fc_attention import PieceBars, UpcomingBar
from ..fc_attention.relative import Segments, relative_attention
from ..fc_attention.relative_cache import RelativeCache
from ..layer import BarAwareLayer
from ..rotary import Turn, turn
from .decoder import BarAwareDecoder, Keep
from .full_attention import make_inputs
from .options import BarAwareConfig


class RelativeLayer(BarAwareLayer):
    """Relative attention, piece by piece, and feed-forward; subclasses say what r is.

    Where queries and keys are turned by their positions in the music, what r is multiplied by is not turned, so that
    logits depend on differences alone; normalised it is.
    """

    def __init__(self, *sizes: Any, segments: Segments) -> None:
        """``sizes`` as of ``BarAwareLayer``."""
        super().__init__(*sizes)
        self.segments = segments

    @abstractmethod
    def table(self, count: int) -> Tensor:
        """r of the distances 0 to ``count - 1`` or fewer, [H, distances, Dh]; the last stands for greater ones."""

    def queries(self, q: Tensor) -> tuple[Tensor, Tensor]:
        """Queries [n, H, Dh] -> what keys are multiplied by, and what r."""
        return q, q

    def qkv(self, rows: Tensor, bias: Tensor, by: Turn | None) -> tuple[Tensor, Tensor, Tensor]:
        """As of ``BarAwareLayer``, but queries are [2, n, H, Dh]: for keys, placed, and for r."""
        q, k, v = super().qkv(rows, bias, None)
        content, relative = self.queries(q)
        if by is not None:
            content, k = turn(content, by.queries), turn(k, by.keys)
        return torch.stack([content, relative]), k, v

    def forward(self, x: Tensor, lengths: list[int], by: Turn | None = None, keep: Keep | None = None) -> Tensor:
        """Tokens x [T, D] of pieces of ``lengths`` -> [T, D]; ``keep`` receives keys and values [T, 2, H, Dh]."""
        bias, longest = self.projections.token_bias, max(lengths)
        q, k, v = self.qkv(x, bias, by)
        if keep is not None:
            keep(torch.stack([k, v], 1), None)
        memory = k.detach(), v.detach()
        if torch.is_grad_enabled() and self.segments.memory and longest > self.segments.tokens:
            memory = self.qkv(x.detach(), bias, by)[1:]
        r = self.table(min(longest, self.segments.longest))
        dropout = self.attention_dropout if self.training else 0.0
        of_pieces = zip(q.split(lengths, 1), *(rows.split(lengths) for rows in (k, v, *memory)))
        attended = [
            relative_attention(queries, (k, v), (old_k, old_v), r, self.segments, dropout)
            for queries, k, v, old_k, old_v in of_pieces
        ]
        return self.finish(x, torch.cat(attended))


class RelativeDecoder(BarAwareDecoder):
    """Raises UserError for options that do not fit together.

    Args:
        make_layer: with ``segments``, which says what a token sees, as its only keyword.
    """

    def __init__(
        self,
        cfg: BarAwareConfig,
        dictionary: Dictionary,
        make_layer: Callable[..., RelativeLayer],
        segments: Segments,
    ) -> None:
        super().__init__(cfg, dictionary, partial(make_layer, segments=segments), make_inputs)
        self._segments = segments

    def empty_cache(self, on_gpu: bool, expected: int) -> RelativeCache:
        """See ``BarAwareDecoder``."""
        return RelativeCache(self._segments, lambda count: [layer.table(count).detach() for layer in self.layers])

    def add_stream(
        self,
        cache: RelativeCache,
        bars: PieceBars,
        token_rows: Tensor,
        summary_rows: None,
        upcoming: Sequence[UpcomingBar],
    ) -> None:
        """See ``BarAwareDecoder``."""
        cache.add_stream(token_rows)
