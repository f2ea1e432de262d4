"""Longformer (Beltagy et al. 2020, arXiv 2004.05150), causal: a sliding window, and the begin token for all.

A token t attends to the begin token and to the tokens t - w + 1 ... t. The begin token, which is global there, has no
projections of its own and, as later tokens may not reach earlier ones, sees itself alone; windows are not dilated.
"""

# No postponed annotations here: fairseq reads the types of dataclass fields as they stand.

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from fairseq.data import Dictionary
from fairseq.models import register_model

from ..errors import UserError
from ..fc_attention import AttentionPlan
from ..fc_attention.gathering_cache import SeenByHeads
from .options import FFN_WITHOUT_SUMMARIES, BarAwareLanguageModel, WithoutSummariesConfig, register_presets
from .planned_attention import HeadPlan, PlannedDecoder

_ALL = slice(None)


@dataclass
class LongformerConfig(WithoutSummariesConfig):
    """Options of the model."""

    window: int = field(default=512, metadata={"help": "how many tokens, its own too, a token attends to"})


def make_plans(window: int, lengths: Sequence[int]) -> tuple[HeadPlan, ...]:
    """The same in all heads."""
    return (HeadPlan(_ALL, AttentionPlan.sliding(lengths, window, prefix=1)),)


def rows_seen(window: int, row: int) -> np.ndarray:
    """What a token of a piece sees, int64."""
    if row == 0:
        return np.zeros(1, dtype=np.int64)
    return np.concatenate([[0], np.arange(max(1, row - window + 1), row + 1)])


class LongformerDecoder(PlannedDecoder):
    """Raises UserError for options that do not fit together."""

    def __init__(self, cfg: LongformerConfig, dictionary: Dictionary) -> None:
        if cfg.window < 1:
            raise UserError(f"--window must be 1 or more, not {cfg.window}.")
        seen = [SeenByHeads(_ALL, partial(rows_seen, cfg.window))]
        super().__init__(cfg, dictionary, partial(make_plans, cfg.window), seen)
        self._window = cfg.window

    def facts(self) -> dict[str, str]:
        """See ``BarAwareModel``."""
        return {"sliding window": f"{self._window:,} tokens"}


@register_model("longformer", dataclass=LongformerConfig)
class LongformerLanguageModel(BarAwareLanguageModel):
    """Longformer as fairseq builds it."""

    decoder_class = LongformerDecoder


register_presets("longformer", FFN_WITHOUT_SUMMARIES)
