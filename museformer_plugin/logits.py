"""From rows to logits: a product with as many rows of weights as the dictionary has entries."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor

from .packed_weights import PackableLinear

_ALIGNED = 8  # entries: matrix units of GPUs take rows of 16 bytes, and others slower by a way round


class LogitsProjection(PackableLinear):
    """``nn.Linear`` without a bias, whose product in training on a GPU has a width that its matrix units take."""

    def forward(self, rows: Tensor) -> Tensor:
        """Rows [..., D] -> logits [..., V]."""
        if rows.device.type == "cuda" and torch.is_grad_enabled():
            return padded_product(rows, self.weight)
        return super().forward(rows)


def padded_product(rows: Tensor, weight: Tensor) -> Tensor:
    """Rows [..., D] times weight [V, D] -> [..., V]: the product, and its gradients, are of V rounded up to 8."""
    missing = -len(weight) % _ALIGNED
    return F.linear(rows, F.pad(weight, (0, 0, 0, missing)))[..., : len(weight)]
