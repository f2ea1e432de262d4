"""Whether products of float32 may be rounded to TF32: as PyTorch is set for its own."""

from __future__ import annotations

import torch


def takes_tf32(dtype: torch.dtype) -> bool:
    """Whether matrix products of this dtype are rounded to TF32 on GPUs."""
    if dtype != torch.float32:
        return False
    matmul = torch.backends.cuda.matmul
    precision = getattr(matmul, "fp32_precision", None)  # PyTorch 2.9 and later, which may refuse the older name
    return matmul.allow_tf32 if precision is None else precision == "tf32"
