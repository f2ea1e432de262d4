"""Reading a small tensor while the device goes on: copied to the host in the order of its work, read later."""

from __future__ import annotations

import numpy as np
import torch
from torch import Tensor


class LateReading:
    """One tensor at a time on its way to the host."""

    def __init__(self) -> None:
        self._host = torch.empty(0)
        self._copied: torch.cuda.Event | None = None

    def begin(self, tensor: Tensor) -> None:
        """Copy it as it will be when the device has done what it has been told so far; the call waits for nothing."""
        on_gpu = tensor.device.type == "cuda"
        if self._host.shape != tensor.shape or self._host.dtype != tensor.dtype:
            self._host = torch.empty(tensor.shape, dtype=tensor.dtype, pin_memory=on_gpu)
        self._host.copy_(tensor, non_blocking=True)
        if on_gpu:
            self._copied = torch.cuda.Event()
            self._copied.record(torch.cuda.current_stream(tensor.device))

    def numbers(self) -> np.ndarray:
        """What has been copied, when it has been; valid until the next begins."""
        if self._copied is not None:
            self._copied.synchronize()
        return self._host.numpy()
