"""Which implementation runs where, and why.

A backend is a module with ``attention(q, k, v, plan, dropout)`` and ``fc_attention(tokens, summaries, weight, layout,
dropout, place_summary_keys)``, whose arguments ``api`` has checked.
"""

from __future__ import annotations

import logging
from functools import cache
from importlib import import_module
from types import ModuleType
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from . import self_check
from .cpu import operator as cpu_operator
from .plan import AttentionPlan
from .triton.index_lists import IndexLists, copy_to

logger = logging.getLogger(__name__)

_OLDEST_TRITON = (3, 0)  # input_precision of tl.dot
_OLDEST_CAPABILITY = (8, 0)  # bfloat16 in matrix products
_DTYPES = (torch.float32, torch.float16, torch.bfloat16)
_HEAD_WIDTHS = (16, 128)


class Backend(NamedTuple):
    """``name`` is "triton" or "cpu": plain PyTorch, made for CPUs, which runs on other devices too."""

    name: str
    reason: str


@cache
def choose_backend(device: torch.device, dtype: torch.dtype, head_width: int) -> Backend:
    """The fastest implementation that these tensors and this installation allow, and that computes what it should.

    Kernels are compiled anew for every device, so they are tried on a small piece first: minutes where nothing has
    been compiled before, else a second.
    """
    if device.type != "cuda":
        return Backend("cpu", f"tensors are on {device.type}")
    if dtype not in _DTYPES:
        return Backend("cpu", f"the kernels do not compute in {str(dtype).removeprefix('torch.')}")
    narrowest, widest = _HEAD_WIDTHS
    if not narrowest <= head_width <= widest:
        return Backend("cpu", f"the kernels take head widths {narrowest} to {widest}, not {head_width}")
    trouble = _trouble_with_triton()
    if trouble:
        return Backend("cpu", trouble)
    capability = torch.cuda.get_device_capability(device)
    if capability < _OLDEST_CAPABILITY:
        found, needed = (".".join(map(str, numbers)) for numbers in (capability, _OLDEST_CAPABILITY))
        return Backend("cpu", f"the device has compute capability {found}, the kernels need {needed}")
    trouble = _trouble_with_kernels(device, dtype, head_width)
    if trouble:
        return Backend("cpu", trouble)
    return Backend("triton", f"Triton {import_module('triton').__version__} on {torch.cuda.get_device_name(device)}")


def try_kernels(device: torch.device, dtype: torch.dtype, head_width: int) -> None:
    """Choose now for what a model with parameters of ``dtype`` will compute, so that no forward pass has to.

    A model calls this when it is built and when it is moved.
    """
    choose_backend(device, dtype, head_width)
    if device.type == "cuda" and dtype == torch.float32:
        choose_backend(device, torch.get_autocast_dtype("cuda"), head_width)


def backend_for(like: Tensor, name: str | None) -> ModuleType:
    """The backend ``name``, or the fastest for tensors as ``like`` [rows, H, Dh]."""
    if name is None:
        chosen = choose_backend(like.device, like.dtype, like.shape[-1])
        _say(chosen)
        name = chosen.name
    if name == "cpu":
        return cpu_operator
    if name == "triton":
        return _triton_operator()
    raise ValueError(f'backend: expected "triton", "cpu" or None, not {name!r}')


def _triton_operator() -> ModuleType:
    return import_module(".triton.operator", __package__)  # imports Triton, which not every machine has


def prepare_for_kernels(*plans: AttentionPlan) -> None:
    """Make the lists that the kernels loop over, in a data worker, rather than at the first attention."""
    for plan in plans:
        plan.prepared(IndexLists.of)


def lists_for_kernels(plan: AttentionPlan) -> np.ndarray | None:
    """The bytes of what ``prepare_for_kernels`` has made, uint8, to be copied to a device; None where it has not."""
    lists = plan.found(IndexLists.of)
    return None if lists is None else lists.packed.buffer.numpy()


def kernels_find(plan: AttentionPlan, device: torch.device, buffer: Tensor) -> None:
    """Let the kernels take a copy of these bytes on a device, where they would make one of their own."""
    plan.keep(plan.prepared(IndexLists.of).within(buffer), copy_to, device)


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
    try:
        error = self_check.largest_error(_triton_operator().fc_attention, device, dtype, head_width)
    except Exception as failure:  # what compilers and drivers raise
        return f"the kernels do not run on this device ({type(failure).__name__}: {str(failure).strip()})"
    if error < self_check.tolerance(dtype):
        return ""
    return f"the kernels compute wrong values on this device: relative error {error:.1e}"
