"""Stage: what can be imported, and how long that takes.

python -m benchmarks.gpu.imports --rows FILE --only torch numpy triton
"""

from __future__ import annotations

import platform
import sys
import time
from functools import partial
from importlib import import_module

import torch

from .stage import StageArguments, run_each, stage_arguments


def main() -> int:
    """The exit status: 1 where something cannot be imported."""
    arguments = stage_arguments("imports")
    names = arguments.names
    return run_each(arguments, [(name, partial(_import, name, arguments)) for name in names])


def _import(name: str, arguments: StageArguments) -> None:
    figures: dict[str, str | float] = {}
    began, at_hand = time.perf_counter(), name in sys.modules  # PyTorch is, and NumPy with it
    module = import_module(name)
    if not at_hand:
        figures["s"] = time.perf_counter() - began
    if hasattr(module, "__version__"):
        figures["version"] = str(module.__version__)
    if name == "torch":
        figures |= {"Python": platform.python_version(), **_about(arguments.device)}
    if name == "numpy":  # one that PyTorch was not made for may be imported and refuse this
        torch.from_numpy(module.arange(3)).sum()
    arguments.rows.add(name, **figures)


def _about(device: torch.device) -> dict[str, str | float]:
    if device.type != "cuda":
        return {"device": "a CPU: a trial, its figures mean nothing"}
    properties = torch.cuda.get_device_properties(device)
    return {
        "device": properties.name,
        "GiB": properties.total_memory / 2**30,
        "capability": f"{properties.major}.{properties.minor}",
        "multiprocessors": properties.multi_processor_count,
    }


if __name__ == "__main__":
    sys.exit(main())
