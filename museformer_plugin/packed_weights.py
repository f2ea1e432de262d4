"""Weights laid out for products of a few rows in bfloat16 on a CPU, which else lays them out anew at every product."""

from __future__ import annotations

import logging
from typing import Any

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .fc_attention.cpu.bfloat16 import multiplies_bfloat16

logger = logging.getLogger(__name__)


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
        """Keep a copy of the weight in the order in which the CPU multiplies it, until the weight is set anew.

        Raises AttributeError or RuntimeError where PyTorch, of which this is no public part, does not offer it.
        """
        self._packed = torch.ops.mkldnn._reorder_linear_weight(self.weight.detach(), None)

    def _apply(self, *arguments: Any, **keywords: Any) -> Packable:  # .to(), .float() and the like
        self._packed = None
        return super()._apply(*arguments, **keywords)

    def _load_from_state_dict(self, *arguments: Any, **keywords: Any) -> None:
        self._packed = None
        super()._load_from_state_dict(*arguments, **keywords)


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
            try:
                module.pack()
                module.product(module.weight[:1], None)
            except (AttributeError, RuntimeError) as error:
                module._packed = None
                logger.info("writing is slower than it could be: this PyTorch does not pack weights (%s)", error)
                return


def _pays(weight: Tensor) -> bool:
    return weight.dtype == torch.bfloat16 and multiplies_bfloat16(weight.device)
