"""Sparse Transformer (Child et al. 2019, arXiv 1904.10509): attention factorised with a stride l.

``fixed``, in all heads: token i attends to its block, from l b to i where b = (i - 1) // l, and to the last tokens of
the blocks before, from k l - c to k l for k = 1 ... b. This is the mask of fairseq's ``SparseMultiheadAttention``:
heads all see the same tokens of earlier blocks, where the paper (section 4.3) prefers distinct ones for each.

``strided``: in the first half of the heads to the l tokens that end with i, in the others to every l-th one before i.
The paper's window (section 4.3) has l + 1 tokens, from i - l to i; ours leaves i - l to the other heads, which see it.
"""

# No postponed annotations here: fairseq reads the types of dataclass fields as they stand.

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import partial

import numpy as np
from fairseq.data import Dictionary
from fairseq.dataclass import ChoiceEnum
from fairseq.models import register_model

from ..errors import UserError
from ..fc_attention import AttentionPlan
from ..fc_attention.gathering_cache import SeenByHeads
from .options import FFN_WITHOUT_SUMMARIES, BarAwareLanguageModel, WithoutSummariesConfig, register_presets
from .planned_attention import HeadPlan, PlannedDecoder, causal_segments

_ALL = slice(None)
_PATTERNS = ["fixed", "strided"]


@dataclass
class SparseTransformerConfig(WithoutSummariesConfig):
    """Options of the model."""

    sparse_pattern: ChoiceEnum(_PATTERNS) = field(
        default="fixed", metadata={"help": "blocks and the last tokens of each, or a window and every l-th token"}
    )
    sparse_stride: int = field(default=128, metadata={"help": "l, tokens of a block or of the window"})
    sparse_expressivity: int = field(default=8, metadata={"help": "c, tokens at the end of a block that all see"})


def _summaries(stride: int, expressivity: int, block: int) -> list[tuple[int, int]]:
    """What tokens of a block see of those before it, half-open, in order."""
    ends = range(stride, stride * block, stride)
    nearest = [(stride * block - expressivity, stride * block)] if block else []
    return [*((end - expressivity, end + 1) for end in ends), *nearest]


def fixed_plans(stride: int, expressivity: int, lengths: Sequence[int]) -> tuple[HeadPlan, ...]:
    """The same in all heads."""
    segments, start = [], 0
    for length in lengths:
        for block in range(max(1, -(-(length - 1) // stride))):
            end = min(length, stride * (block + 1) + 1)
            ranges = [*_summaries(stride, expressivity, block), (stride * block, end)]
            queries = (start + (stride * block + 1 if block else 0), start + end)
            segments += causal_segments(queries, [(start + a, start + b) for a, b in ranges])
        start += length
    return (HeadPlan(_ALL, AttentionPlan.of(segments, start)),)


def fixed_rows_seen(stride: int, expressivity: int, row: int) -> np.ndarray:
    """What a token of a piece sees, int64."""
    first = max(0, row - 1) // stride * stride  # of its block
    ends = np.arange(stride, first, stride)
    summaries = ends[:, None] + np.arange(-expressivity, 1)
    return np.concatenate([summaries.ravel(), np.arange(first - expressivity if first else 0, row + 1)])


def strided_plans(stride: int, heads: int, lengths: Sequence[int]) -> tuple[HeadPlan, ...]:
    """Of the first half of the heads, and of the others, to which rows that are a stride apart lie together."""
    order, segments, start = [], [], 0
    for length in lengths:
        for first in range(min(stride, length)):
            rows = np.arange(start + first, start + length, stride)
            place = sum(map(len, order))
            segments += causal_segments((place, place + len(rows)), [(place, place + len(rows))])
            order.append(rows)
        start += length
    window, others = slice(0, heads // 2), slice(heads // 2, heads)
    every_lth = HeadPlan(others, AttentionPlan.of(segments, start), np.concatenate(order))
    return HeadPlan(window, AttentionPlan.sliding(lengths, stride)), every_lth


class SparseTransformerDecoder(PlannedDecoder):
    """Raises UserError for options that do not fit together."""

    def __init__(self, cfg: SparseTransformerConfig, dictionary: Dictionary) -> None:
        stride, expressivity, heads = cfg.sparse_stride, cfg.sparse_expressivity, cfg.decoder_attention_heads
        if cfg.sparse_pattern not in _PATTERNS:
            raise UserError(f"--sparse-pattern takes {' or '.join(_PATTERNS)}, not '{cfg.sparse_pattern}'.")
        if stride < 1:
            raise UserError(f"--sparse-stride must be 1 or more, not {stride}.")
        if cfg.sparse_pattern == "fixed" and not 0 < expressivity < stride:
            raise UserError(
                f"--sparse-expressivity {expressivity} must be from 1 to below --sparse-stride {stride}: it counts "
                "tokens of a block."
            )
        if cfg.sparse_pattern == "fixed":
            plans = partial(fixed_plans, stride, expressivity)
            seen = [SeenByHeads(_ALL, partial(fixed_rows_seen, stride, expressivity))]
        elif heads < 2:
            raise UserError("--sparse-pattern strided needs two heads: some have the window, some the stride.")
        else:
            plans = partial(strided_plans, stride, heads)
            window = SeenByHeads(slice(0, heads // 2), partial(_window_seen, stride))
            seen = [window, SeenByHeads(slice(heads // 2, heads), partial(_strided_seen, stride))]
        super().__init__(cfg, dictionary, plans, seen)
        self._facts = {"sparse pattern": cfg.sparse_pattern, "stride": f"{stride} tokens"}
        if cfg.sparse_pattern == "fixed":
            self._facts["expressivity"] = f"{expressivity} tokens"

    def facts(self) -> dict[str, str]:
        """See ``BarAwareModel``."""
        return self._facts


def _window_seen(stride: int, row: int) -> np.ndarray:
    return np.arange(max(0, row - stride + 1), row + 1)


def _strided_seen(stride: int, row: int) -> np.ndarray:
    return np.arange(row % stride, row + 1, stride)


@register_model("sparse_transformer", dataclass=SparseTransformerConfig)
class SparseTransformerLanguageModel(BarAwareLanguageModel):
    """Sparse Transformer as fairseq builds it."""

    decoder_class = SparseTransformerDecoder


register_presets("sparse_transformer", FFN_WITHOUT_SUMMARIES)
