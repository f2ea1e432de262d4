"""What a request is without what it tells, but for what bars repeat: the other side of guided sampling.

A repeat is known on both sides. Where both are sure of a token their logits differ by chance, and to go beyond the told
one changes notes of bars that are to stay as they were.
"""

from __future__ import annotations

import numpy as np

from ..fc_attention import NO_BAR
from .conditions import ConditionColumns, Role
from .guide import BarGuide
from .sequence_bars import cut_bars

_LIKE_WRITTEN = (Role.VARIED, Role.PART)


def tells(guide: BarGuide, columns: ConditionColumns) -> bool:
    """Whether anything is told that ``untold`` leaves out."""
    roles = columns.roles(guide.features)
    rest = columns.roles_and_repeats(guide.features)
    return bool(np.isin(roles, _LIKE_WRITTEN).any() or (guide.features != rest).any())


def untold(
    tokens: np.ndarray, guide: BarGuide, columns: ConditionColumns, end_of_bar: int
) -> tuple[np.ndarray, BarGuide]:
    """The prompt, int64 [n] with the begin token first, and the guide of the same bars, of which nothing is said but
    which of them they repeat.

    Nothing is known either of bars that are to be written, so that the given ones that are like them, or parts of
    them, are left out; given bars beside them stay.
    """
    bars = cut_bars(tokens[1:], end_of_bar)
    rest = tokens[1 + sum(map(len, bars)) :]
    roles = columns.roles(guide.features)
    kept = ~np.isin(roles, _LIKE_WRITTEN)
    prompt = np.concatenate([tokens[:1], *(bar for bar, keep in zip(bars, kept) if keep), rest])
    place = np.cumsum(kept) - 1  # among those kept, as all are that others repeat
    repeats = np.where(guide.repeats == NO_BAR, NO_BAR, place[guide.repeats])[kept]
    return prompt, BarGuide(guide.numbers[kept], repeats, columns.roles_and_repeats(guide.features[kept]))
