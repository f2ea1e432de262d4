"""What a computation launches on a GPU, copies to it and waits for, counted without one.

It runs on the "meta" device, where tensors have shapes and no values: operations of PyTorch are seen as they are
dispatched, kernels of Triton where they would be launched. Whatever would have to read a value on the host fails there.
An operation of PyTorch may come to more than one kernel, so the count is a lower bound.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from dataclasses import dataclass, field
from typing import Any
from unittest.mock import patch

import torch
from torch import Tensor
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from museformer_plugin.fc_attention import backends

STAND_IN = torch.device("meta")
_ALLOCATE = {"empty", "empty_like", "new_empty", "empty_strided", "new_empty_strided", "_unsafe_view", "detach"}
_READS = {"_local_scalar_dense", "nonzero", "is_nonzero", "equal", "_unique2", "masked_select"}
_PRODUCTS = {"mm", "addmm", "bmm", "baddbmm"}


@dataclass
class Operation:
    """One launch of PyTorch's: bytes read and written, and floating-point operations of products."""

    name: str
    moved: int
    operations: int


@dataclass
class Counted:
    """``plain``: launches of PyTorch's operations; ``kernels``: those of Triton's, by name; ``transfers`` between
    devices; ``reads``: operations whose result the host waits for."""

    plain: list[Operation] = field(default_factory=list)
    kernels: Counter[str] = field(default_factory=Counter)
    transfers: int = 0
    reads: int = 0

    @property
    def launches(self) -> int:
        """All of them."""
        return len(self.plain) + self.kernels.total()


class _Counting(TorchDispatchMode):
    def __init__(self, counted: Counted, device: torch.device) -> None:
        super().__init__()
        self._counted = counted
        self._device = device

    def __torch_dispatch__(self, function: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        out = function(*args, **(kwargs or {}))
        name = function.overloadpacket.__name__
        inputs = [leaf for leaf in tree_leaves((args, kwargs)) if isinstance(leaf, Tensor)]
        outputs = [leaf for leaf in tree_leaves(out) if isinstance(leaf, Tensor)]
        if name in _READS:
            self._counted.reads += 1
        elif {one.device for one in inputs} - {one.device for one in outputs} and outputs:
            self._counted.transfers += 1
        elif outputs and outputs[0].device == self._device and name not in _ALLOCATE and not function.is_view:
            moved = sum(map(_bytes, inputs)) + sum(map(_bytes, outputs))
            self._counted.plain.append(Operation(name, moved, _operations(name, inputs, outputs)))
        return out


def _bytes(tensor: Tensor) -> int:
    seen = [size for size, stride in zip(tensor.shape, tensor.stride()) if stride]  # expanded rows are read once
    return torch.Size(seen).numel() * tensor.element_size()


def _operations(name: str, inputs: list[Tensor], outputs: list[Tensor]) -> int:
    if name not in _PRODUCTS:
        return 0
    return 2 * outputs[0].numel() * inputs[-1].shape[-2]


@contextmanager
def counting(device: torch.device = STAND_IN) -> Iterator[Counted]:
    """Count what runs inside on ``device``; the Triton kernels are chosen for every device, and do nothing."""
    from triton.runtime.jit import KernelInterface

    counted = Counted()

    def launcher(kernel: Any, grid: Any) -> Callable[..., None]:
        def launch(*arguments: Any, **constants: Any) -> None:
            function = kernel
            while hasattr(function, "fn"):  # a tuned kernel holds the compiled, and that the function
                function = function.fn
            counted.kernels[function.__name__] += 1

        return launch

    chosen = backends.Backend("triton", "to be counted")
    choosing = patch.object(backends, "choose_backend", lambda *of: chosen)
    no_autocast = patch.object(torch, "autocast", lambda *of, **options: nullcontext())  # this device knows none
    with patch.object(KernelInterface, "__getitem__", launcher), choosing, no_autocast, _Counting(counted, device):
        yield counted
