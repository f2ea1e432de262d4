"""The interpreter takes what the compiler may not: compile for GPUs that need not be there."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

PROGRAM = Path(__file__).with_name("compile_kernels.py")
MATRIX_KERNELS = {"ragged_fwd_kernel", "ragged_bwd_kernel_dq", "ragged_bwd_kernel_dkdv"}
OTHER_KERNELS = {"ragged_bwd_kernel_add", "summary_fwd_kernel", "summary_bwd_kernel"}


@pytest.fixture
def compiled(repository, tmp_path):
    """A function from arguments of the program to what it says of each kernel and shape of tiles."""
    pytest.importorskip("triton")
    paths = [str(repository), *filter(None, [os.environ.get("PYTHONPATH")])]
    environment = dict(os.environ, PYTHONPATH=os.pathsep.join(paths), TRITON_CACHE_DIR=str(tmp_path))
    environment.pop("TRITON_INTERPRET", None)

    def run(arguments):
        command = [sys.executable, str(PROGRAM), *arguments.split()]
        done = subprocess.run(command, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, done.stdout + done.stderr
        return [json.loads(line) for line in done.stdout.splitlines()]

    return run


# a sample; without arguments the program compiles every combination, in the time that benchmarks/README.md gives
@pytest.mark.parametrize(
    "arguments",
    [
        "--capability 90 --dtype bfloat16 --dropout --shapes first",
        "--capability 90 --dtype bfloat16 --width 24 --no-dropout --windowed --shapes first",
        "--capability 90 --dtype float32 --width 32 --no-dropout --shapes first",
        pytest.param("--capability 80 --dtype float16 --no-dropout --shapes first", marks=pytest.mark.slow),
        pytest.param("--capability 100 --dtype bfloat16 --dropout --shapes first", marks=pytest.mark.slow),
    ],
)
def test_kernels_compile(compiled, arguments):
    found = {kernel["kernel"]: kernel for kernel in compiled(arguments)}
    assert found.keys() == MATRIX_KERNELS | OTHER_KERNELS
    for name, kernel in found.items():
        assert kernel["matrix"] == ("float32" not in arguments and name in MATRIX_KERNELS)
        assert kernel["fits"]


@pytest.mark.slow
@pytest.mark.parametrize("dtype", ["bfloat16", "tf32"])
def test_every_shape_of_tiles_compiles(compiled, dtype):
    found = compiled(f"--capability 90 --dtype {dtype} --dropout")
    assert {kernel["kernel"] for kernel in found if kernel["fits"]} == MATRIX_KERNELS | OTHER_KERNELS
    assert all(kernel["matrix"] == (kernel["kernel"] in MATRIX_KERNELS) for kernel in found)
    tuned = [kernel for kernel in found if kernel["kernel"] in MATRIX_KERNELS]
    assert len(tuned) > 2 * len(MATRIX_KERNELS)
