"""Arrays in one buffer, so that they travel between processes and to a device in one piece."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import prod

import numpy as np
import torch
from torch import Tensor

# kernels are compiled anew for pointers aligned otherwise, so every array begins at a multiple of so many bytes
_ALIGNED = 16

# NumPy's name of a dtype, and a shape
Spec = tuple[str, tuple[int, ...]]


@dataclass(frozen=True)
class Packed:
    """``buffer``, a tensor of bytes on any device, holds arrays of these dtypes and shapes."""

    buffer: Tensor
    specs: tuple[Spec, ...]

    @staticmethod
    def empty(specs: Sequence[Spec], pinned: bool = False) -> Packed:
        """Room for arrays; ``pinned``: in memory from which a device copies while the host goes on."""
        return Packed(torch.empty(sum(map(_room, specs)), dtype=torch.uint8, pin_memory=pinned), tuple(specs))

    @staticmethod
    def of(arrays: Sequence[np.ndarray], pinned: bool = False) -> Packed:
        """Copies of arrays."""
        packed = Packed.empty([(array.dtype.name, array.shape) for array in arrays], pinned)
        for room, array in zip(packed.arrays(), arrays):
            room[...] = array
        return packed

    def arrays(self) -> list[np.ndarray]:
        """Views of a buffer on the CPU."""
        return [tensor.numpy() for tensor in self.tensors()]

    def tensors(self) -> list[Tensor]:
        """Views of the buffer."""
        found, begin = [], 0
        for dtype, shape in self.specs:
            part = self.buffer[begin : begin + _size((dtype, shape))]
            found.append(part.view(getattr(torch, dtype)).view(shape))
            begin += _room((dtype, shape))
        return found

    def to(self, device: torch.device) -> Packed:
        """All of it in one copy, for which the host does not wait where it lies in pinned memory."""
        return Packed(self.buffer.to(device, non_blocking=True), self.specs)


def _size(spec: Spec) -> int:
    return np.dtype(spec[0]).itemsize * prod(spec[1])


def _room(spec: Spec) -> int:
    return -(-_size(spec) // _ALIGNED) * _ALIGNED
