"""What architectures share whose attention is fixed by where tokens lie in their piece: plans of our operator."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from fairseq.data import Dictionary
from torch import Tensor

from ..fc_attention import AttentionPlan, PieceBars, Segment, UpcomingBar, attention
from ..fc_attention.backends import prepare_for_kernels
from ..fc_attention.gathering_cache import GatheringCache, SeenByHeads
from ..fc_attention.layout import LONGEST_SEGMENT
from ..feeding import FedInputs
from ..layer import BarAwareLayer
from ..positions import Positions
from ..rotary import Turn
from ..token_families import TokenFamilies
from .decoder import BarAwareDecoder, Keep
from .options import BarAwareConfig


class HeadPlan(NamedTuple):
    """Who sees whom in ``heads``; where there is an ``order``, int64 [T], the plan's rows are the tokens in it.

    It is NumPy's as it is made, and a tensor on the model's device in its layers.
    """

    heads: slice
    plan: AttentionPlan
    order: np.ndarray | Tensor | None = None


@dataclass(frozen=True)
class PlannedInputs(FedInputs):
    """``plans`` of the heads in their order; ``positions`` NumPy [T]; ``lengths`` of the pieces."""

    plans: tuple[HeadPlan, ...]
    positions: Positions
    lengths: list[int]

    def arrays(self) -> dict[str, np.ndarray]:
        """Also each ``order``, by the number of its heads among the plans."""
        orders = {f"order {number}": plan.order for number, plan in enumerate(self.plans)}
        return {**super().arrays(), **{name: order for name, order in orders.items() if order is not None}}

    def attention_plans(self) -> Sequence[AttentionPlan]:
        """See ``FedInputs``."""
        return [of_heads.plan for of_heads in self.plans]


# From the lengths of pieces laid end to end.
MakePlans = Callable[[Sequence[int]], tuple[HeadPlan, ...]]


def make_inputs(
    families: TokenFamilies,
    pieces: Sequence[np.ndarray],
    bars: Sequence[PieceBars],
    make_plans: MakePlans,
    for_gpu: bool,
) -> PlannedInputs:
    """``MakeInputs`` between what is bound already; ``for_gpu`` makes the index lists of the kernels too."""
    lengths = [len(piece) for piece in pieces]
    plans = make_plans(lengths)
    if for_gpu:
        prepare_for_kernels(*(of_heads.plan for of_heads in plans))
    return PlannedInputs(plans, Positions.joined([families.positions(*piece) for piece in zip(pieces, bars)]), lengths)


def causal_segments(queries: tuple[int, int], keys: Sequence[tuple[int, int]]) -> list[Segment]:
    """Queries that see ``keys`` up to their own row, 512 at a time, so that what is computed at once is bounded."""
    first, end = queries
    found = []
    for start in range(first, end, LONGEST_SEGMENT):
        stop = min(start + LONGEST_SEGMENT, end)
        found.append(Segment((start, stop), [*keys[:-1], (keys[-1][0], stop)], causal=True))
    return found


class PlannedLayer(BarAwareLayer):
    """Attention by plans, and feed-forward."""

    def forward(
        self, x: Tensor, plans: tuple[HeadPlan, ...], by: Turn | None = None, keep: Keep | None = None
    ) -> Tensor:
        """Tokens x [T, D] -> [T, D]; ``keep`` receives keys and values [T, 2, H, Dh]."""
        qkv = self.qkv(x, self.projections.token_bias, by)
        if keep is not None:
            keep(torch.stack(qkv[1:], 1), None)
        dropout = self.attention_dropout if self.training else 0.0
        attended = []
        for heads, plan, order in plans:
            rows = [part[:, heads] for part in qkv]
            if order is None:
                attended.append(attention(*rows, plan, dropout))
                continue
            found = attention(*(part[order] for part in rows), plan, dropout)
            attended.append(torch.empty_like(found).index_copy(0, order, found))
        return self.finish(x, torch.cat(attended, dim=1))


class PlannedDecoder(BarAwareDecoder):
    """Raises UserError for options that do not fit together.

    Args:
        make_plans: it goes to the data workers, so that it is to be pickled.
        seen: what the query of one row sees by the same plans.
    """

    has_kernels = True

    def __init__(
        self, cfg: BarAwareConfig, dictionary: Dictionary, make_plans: MakePlans, seen: Sequence[SeenByHeads]
    ) -> None:
        inputs = partial(make_inputs, make_plans=make_plans, for_gpu=torch.cuda.is_available())
        super().__init__(cfg, dictionary, PlannedLayer, inputs)
        self._seen = seen

    def run_layers(self, x: Tensor, inputs: PlannedInputs, by: Turn | None, keep: Keep | None) -> Tensor:
        """See ``BarAwareDecoder``."""
        fed = inputs.feed.on(x.device)
        plans = tuple(plan._replace(order=fed.get(f"order {number}")) for number, plan in enumerate(inputs.plans))
        for layer in self.layers:
            x = self.run_layer(layer, x, plans, by, keep)
        return x

    def empty_cache(self, on_gpu: bool, expected: int) -> GatheringCache:
        """See ``BarAwareDecoder``."""
        return GatheringCache(self._seen)

    def add_stream(
        self,
        cache: GatheringCache,
        bars: PieceBars,
        token_rows: Tensor,
        summary_rows: None,
        upcoming: Sequence[UpcomingBar],
    ) -> None:
        """See ``BarAwareDecoder``."""
        cache.add_stream(token_rows)
