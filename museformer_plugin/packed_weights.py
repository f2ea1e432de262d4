"""Weights laid out for products of a few rows in bfloat16 on a CPU, which else lays them out anew at every product."""

from __future__ import annotations

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .fc_attention.cpu.bfloat16 import multiplies_bfloat16


class Packable(nn.Module):
    """A module whose ``weight`` [n, m] multiplies rows: by ``product``, also where it is packed."""

    weight: nn.Parameter
    _packed: Tensor | None = None  # no buffer: it is in no checkpoint

    def product(self, rows: Tensor, bias: Tensor | None) -> Tensor:
        """rows [..., m] -> [..., n]."""
        if self._packed is None or torch.is_grad_enabled():
            return F.linear(rows, self.weight, bias)
        return torch.ops.mkldnn._linear_pointwise(rows, self._packed, bias, "none", [], "")

    def pack(self) -> None:
        """Keep a copy of the weight, which may not change any more, in the order in which the CPU multiplies it."""
        self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), None)


class PackableLinear(Packable, nn.Linear):
    """``nn.Linear`` that can be packed."""

    def forward(self, rows: Tensor) -> Tensor:
        """Rows [..., in] -> [..., out]."""
        return self.product(rows, self.bias)


def pack_weights(model: nn.Module) -> None:
    """Pack all weights in bfloat16 on a CPU with instructions for it, before writing; others stay as they are."""
    if not torch.backends.mkldnn.is_available():
        return
    for module in model.modules():
        if isinstance(module, Packable) and _pays(module.weight):
            module.pack()


def _pays(weight: Tensor) -> bool:
    return weight.dtype == torch.bfloat16 and multiplies_bfloat16(weight.device)
