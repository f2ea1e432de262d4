"""The interpreter takes what the compiler may not: compile for a GPU that need not be there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("compile_kernels.py")
MATRIX_KERNELS = {"ragged_fwd_kernel", "ragged_bwd_kernel_dq", "ragged_bwd_kernel_dkdv"}
OTHER_KERNELS = {"ragged_bwd_kernel_add", "summary_fwd_kernel", "summary_bwd_kernel"}
SHARED_MEMORY = 227 * 1024  # bytes of a block on Hopper


@pytest.mark.parametrize(
    ("dtype", "width", "dropout", "windowed"),
    [("bfloat16", 64, True, False), ("bfloat16", 24, False, True), ("float32", 32, False, False)],
)
def test_kernels_compile_for_hopper(dtype, width, dropout, windowed, repository, tmp_path):
    pytest.importorskip("triton")
    environment = dict(os.environ, PYTHONPATH=str(repository), TRITON_CACHE_DIR=str(tmp_path))
    environment.pop("TRITON_INTERPRET", None)
    done = subprocess.run(
        [sys.executable, PROGRAM, dtype, str(width), str(dropout), str(windowed)],
        env=environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found.keys() == MATRIX_KERNELS | OTHER_KERNELS
    for name, kernel in found.items():
        assert kernel["matrix"] == (dtype == "bfloat16" and name in MATRIX_KERNELS)
        assert kernel["shared"] <= SHARED_MEMORY
