"""Which implementation of ``ragged_attention`` runs where, and why."""

from __future__ import annotations

import logging
from collections.abc import Callable
from functools import cache
from importlib import import_module
from typing import NamedTuple

import torch
from torch import Tensor

from .ragged import ragged_attention

logger = logging.getLogger(__name__)

_OLDEST_TRITON = (3, 0)  # input_precision of tl.dot
_OLDEST_CAPABILITY = (8, 0)  # bfloat16 in matrix products
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_HEAD_WIDTHS = (16, 128)


class Backend(NamedTuple):
    """``name`` is "triton" or "plain"."""

    name: str
    reason: str


@cache
def choose_backend(device: torch.device, dtype: torch.dtype, head_width: int) -> Backend:
    """The fastest implementation that these tensors and this installation allow, and that computes what it should.

    Kernels are compiled anew for every device, so they are tried on a small piece first: minutes where nothing has
    been compiled before, else a second.
    """
    if device.type != "cuda":
        return Backend("plain", f"tensors are on {device.type}")
    if dtype not in _DTYPES:
        return Backend("plain", f"the kernels do not compute in {str(dtype).removeprefix('torch.')}")
    narrowest, widest = _HEAD_WIDTHS
    if not narrowest <= head_width <= widest:
        return Backend("plain", f"the kernels take head widths {narrowest} to {widest}, not {head_width}")
    trouble = _trouble_with_triton()
    if trouble:
        return Backend("plain", trouble)
    capability = torch.cuda.get_device_capability(device)
    if capability < _OLDEST_CAPABILITY:
        found, needed = (".".join(map(str, numbers)) for numbers in (capability, _OLDEST_CAPABILITY))
        return Backend("plain", f"the device has compute capability {found}, the kernels need {needed}")
    trouble = _trouble_with_kernels(device, dtype, head_width)
    if trouble:
        return Backend("plain", trouble)
    return Backend("triton", f"Triton {import_module('triton').__version__} on {torch.cuda.get_device_name(device)}")


def attention_for(like: Tensor, backend: str | None) -> Callable[..., Tensor]:
    """``ragged_attention``, or what computes the same, for tensors as ``like`` [rows, H, Dh].

    ``backend`` overrules the choice.
    """
    if backend is None:
        chosen = choose_backend(like.device, like.dtype, like.shape[-1])
        _say(chosen)
        backend = chosen.name
    if backend == "plain":
        return ragged_attention
    if backend == "triton":
        # Triton is imported here and nowhere else
        return import_module(".triton", __package__).triton_ragged_attention
    raise ValueError(f'backend: expected "triton", "plain" or None, not {backend!r}')


@cache  # says everything once
def _say(backend: Backend) -> None:
    logger.info("attention runs on the %s backend: %s", backend.name, backend.reason)


@cache
def _trouble_with_triton() -> str:
    """Why Triton cannot be used, or nothing."""
    try:
        found = import_module("triton").__version__
    except ModuleNotFoundError as error:
        return "Triton is not installed" if error.name == "triton" else f"Triton cannot be imported: {error}"
    except Exception as error:  # a broken installation may raise anything
        return f"Triton cannot be imported: {error}"
    numbers = tuple(int(part) for part in found.split(".")[:2] if part.isdigit())
    if numbers < _OLDEST_TRITON:
        return f"Triton {found} is too old, the kernels need {'.'.join(map(str, _OLDEST_TRITON))}"
    return ""


def _trouble_with_kernels(device: torch.device, dtype: torch.dtype, head_width: int) -> str:
    """What goes wrong when the kernels run on this device, or nothing."""
    logger.info("trying the attention kernels on %s in %s", torch.cuda.get_device_name(device), dtype)
    # imported here since it computes attention and so imports this module
    self_check = import_module(".self_check", __package__)
    try:
        error = self_check.largest_error(device, dtype, head_width, "triton")
    except Exception as failure:  # what compilers and drivers raise
        return f"the kernels do not run on this device ({type(failure).__name__}: {str(failure).strip()})"
    if error < self_check.TOLERANCES[dtype]:
        return ""
    return f"the kernels compute wrong values on this device: relative error {error:.1e}"
