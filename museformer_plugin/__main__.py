"""``python -m museformer_plugin``: versions, devices, the backend that attention takes, and a self-check."""

from __future__ import annotations

import platform
import sys
from importlib.metadata import PackageNotFoundError, version

import torch

from .fc_attention import fc_attention
from .fc_attention.backends import choose_backend
from .fc_attention.self_check import TOLERANCES, largest_error, tolerance

_HEAD_WIDTH = 64  # the paper's


def _version(*packages: str) -> str:
    for package in packages:
        try:
            return version(package)
        except PackageNotFoundError:
            continue
    return "not installed"


def main() -> int:
    """Print the report; the exit status is 1 when the self-check fails."""
    print(f"Python {platform.python_version()}, PyTorch {torch.__version__}, NumPy {_version('numpy')},")
    print(f"fairseq {_version('fairseq-fixed', 'fairseq')}, Triton {_version('triton')}")
    devices = [torch.device("cpu")] + [torch.device("cuda", number) for number in range(torch.cuda.device_count())]
    failed = False
    for device in devices:
        name = torch.cuda.get_device_name(device) if device.type == "cuda" else f"{torch.get_num_threads()} threads"
        print(f"{device} ({name})")
        for dtype in TOLERANCES:
            backend = choose_backend(device, dtype, _HEAD_WIDTH)
            error = largest_error(fc_attention, device, dtype, _HEAD_WIDTH)
            right = error < tolerance(dtype)  # not where it is no number
            failed = failed or not right
            verdict = "ok" if right else "WRONG"
            print(
                f"  {str(dtype).removeprefix('torch.')}: {backend.name} backend ({backend.reason}); "
                f"self-check {verdict}, largest relative error {error:.1e}"
            )
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())
