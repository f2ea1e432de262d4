"""How what a model needs of a batch gets to its device: in one buffer, by one copy for which the host does not wait."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol, TypeVar

import numpy as np
import torch
from torch import Tensor

from .fc_attention import AttentionPlan
from .fc_attention.backends import kernels_find, lists_for_kernels
from .fc_attention.packed import Packed
from .fc_attention.runs import laid_end_to_end
from .positions import Positions

_Self = TypeVar("_Self", bound="FedInputs")


class Feed:
    """Arrays of a batch, by name, and the index lists of its plans where these have any."""

    def __init__(self, arrays: dict[str, np.ndarray], plans: Sequence[AttentionPlan]) -> None:
        self._arrays = arrays
        self._plans = [(plan, lists) for plan in plans if (lists := lists_for_kernels(plan)) is not None]
        self._pinned: Packed | None = None
        self._on: dict[torch.device, dict[str, Tensor]] = {}

    def pin(self) -> None:
        """Gather everything in memory that a device copies from by itself; PyTorch must have one."""
        self._pinned = self._pinned or self._packed(pinned=True)

    def on(self, device: torch.device) -> dict[str, Tensor]:
        """The arrays as tensors; where the device is no CPU, its kernels find the lists there. Copied once."""
        if device not in self._on:
            self._on[device] = self._views() if device.type == "cpu" else self._copies(device)
        return self._on[device]

    def _views(self) -> dict[str, Tensor]:
        return {name: torch.from_numpy(array) for name, array in self._arrays.items()}

    def _copies(self, device: torch.device) -> dict[str, Tensor]:
        packed = self._pinned or self._packed(pinned=device.type == "cuda")
        tensors = packed.to(device).tensors()
        for (plan, _), buffer in zip(self._plans, tensors[len(self._arrays) :]):
            kernels_find(plan, device, buffer)
        return dict(zip(self._arrays, tensors))

    def _packed(self, pinned: bool) -> Packed:
        return Packed.of([*self._arrays.values(), *(lists for _, lists in self._plans)], pinned)


class _Batch(Protocol):
    @property
    def positions(self) -> Positions: ...

    @property
    def lengths(self) -> Sequence[int]: ...


class FedInputs:
    """What ``BatchInputs`` of all architectures share: they are fed to the device as one."""

    def arrays(self: _Batch) -> dict[str, np.ndarray]:
        """What the model reads on its device: ``positions`` [5, T], ``indices`` [T] of tokens in their piece, int64."""
        lengths = np.array(self.lengths)
        indices = laid_end_to_end(np.zeros_like(lengths), lengths)
        return {"positions": np.stack(self.positions), "indices": indices}

    def attention_plans(self) -> Sequence[AttentionPlan]:
        """Of whom kernels read index lists."""
        return ()

    @cached_property
    def feed(self) -> Feed:
        """Made where the batch is used, not in the data workers."""
        return Feed(self.arrays(), self.attention_plans())  # type: ignore[misc]  # its subclasses are batches

    def pin_memory(self: _Self) -> _Self:
        """PyTorch's data loader calls this, in a thread of its own, where there is a GPU."""
        self.feed.pin()
        return self
