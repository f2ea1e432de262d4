"""What a request is without what it tells: the other side of guided sampling."""

from __future__ import annotations

import numpy as np

from ..fc_attention import NO_BAR
from .conditions import BarConditions, ConditionColumns, Role
from .guide import BarGuide
from .sequence_bars import cut_bars

_LIKE_WRITTEN = (Role.VARIED, Role.PART)


def tells(guide: BarGuide, columns: ConditionColumns) -> bool:
    """Whether anything is told that ``untold`` leaves out."""
    roles = columns.roles(guide.features)
    return bool(np.isin(roles, _LIKE_WRITTEN).any() or (guide.features != _roles_alone(roles, columns)).any())


def untold(
    tokens: np.ndarray, guide: BarGuide, columns: ConditionColumns, end_of_bar: int
) -> tuple[np.ndarray, BarGuide]:
    """The prompt, int64 [n] with the begin token first, and the guide of the same bars, of which nothing is said.

    Nothing is known either of bars that are to be written, so that the given ones that are like them, or parts of
    them, are left out; given bars beside them stay.
    """
    bars = cut_bars(tokens[1:], end_of_bar)
    rest = tokens[1 + sum(map(len, bars)) :]
    roles = columns.roles(guide.features)
    kept = ~np.isin(roles, _LIKE_WRITTEN)
    prompt = np.concatenate([tokens[:1], *(bar for bar, keep in zip(bars, kept) if keep), rest])
    nothing = np.full(int(kept.sum()), NO_BAR)
    return prompt, BarGuide(guide.numbers[kept], nothing, _roles_alone(roles[kept], columns))


def _roles_alone(roles: np.ndarray, columns: ConditionColumns) -> np.ndarray:
    return columns.features(BarConditions.nothing(roles, columns.num_instruments))
