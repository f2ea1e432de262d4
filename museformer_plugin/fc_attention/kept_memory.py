"""Tensors that stay where they are, so that steps which were recorded with them can be played again."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor


def reordered(rows: Tensor, indices: Sequence[int], dim: int) -> Tensor:
    """These of the rows along ``dim``, in this order, with repeats; in the same memory where there are as many.

    For the identity nothing moves.
    """
    count = rows.shape[dim]
    if list(indices) == list(range(count)):
        return rows
    kept = rows.index_select(dim, torch.tensor(indices, device=rows.device))
    return rows.copy_(kept) if len(indices) == count else kept
