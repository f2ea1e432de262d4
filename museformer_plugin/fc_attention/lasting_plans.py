"""PyTorch's attention without cuDNN, which makes a plan for every new length: in decoding that is every bar."""

from __future__ import annotations

from contextlib import AbstractContextManager, nullcontext

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel

_WITHOUT_PLANS = [SDPBackend.FLASH_ATTENTION, SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH]


def lasting_plans(device: torch.device) -> AbstractContextManager[None]:
    """Where ``scaled_dot_product_attention`` on this device runs what knows any length; elsewhere nothing changes.

    A plan of cuDNN takes as long as hundreds of steps of decoding.
    """
    return sdpa_kernel(_WITHOUT_PLANS) if device.type == "cuda" else nullcontext()
