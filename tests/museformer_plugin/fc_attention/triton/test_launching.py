"""What kernels are compiled and tuned for."""

import pytest
import torch

from museformer_plugin.fc_attention.self_check import TOLERANCES, tolerance
from museformer_plugin.fc_attention.tf32 import takes_tf32


@pytest.fixture
def tf32(monkeypatch):
    """PyTorch set to round its own products of float32."""
    before = torch.get_float32_matmul_precision()
    torch.set_float32_matmul_precision("high")
    yield
    torch.set_float32_matmul_precision(before)


def test_tf32_only_where_pytorch_is_set_so():
    assert not any(map(takes_tf32, TOLERANCES))
    assert tolerance(torch.float32) == TOLERANCES[torch.float32]


@pytest.mark.usefixtures("tf32")
def test_tf32_is_for_float32_alone():
    assert [dtype for dtype in TOLERANCES if takes_tf32(dtype)] == [torch.float32]
    assert tolerance(torch.float32) == TOLERANCES[torch.float16]


@pytest.mark.usefixtures("tf32")
def test_without_the_newer_setting_the_older_counts(monkeypatch):
    class Older:
        allow_tf32 = True

    monkeypatch.setattr(torch.backends.cuda, "matmul", Older)
    assert takes_tf32(torch.float32)


@pytest.mark.usefixtures("attend")
def test_neither_heads_nor_work_makes_another_kernel():
    """What the self-check of two heads has compiled, a model of eight runs."""
    from triton.runtime.autotuner import Autotuner

    from museformer_plugin.fc_attention.triton import backward, forward
    from museformer_plugin.fc_attention.triton.launching import NOT_SPECIALIZED, tuned_for

    tuned = [kernel for kernel in (*vars(forward).values(), *vars(backward).values()) if isinstance(kernel, Autotuner)]
    assert len(tuned) == 3
    for kernel in tuned:
        assert {"work", "TF32"} <= set(kernel.keys)
        assert "heads" not in kernel.keys
        assert {"heads", "num_queries", "num_keys"} <= set(NOT_SPECIALIZED) <= set(kernel.arg_names)
    rows = torch.zeros(1, dtype=torch.bfloat16)
    work = [tuned_for(programs, rows)["work"] for programs in (20, 100, 1000, 5000, 50000)]
    assert sorted(work) == work
    assert len(set(work)) == 4  # beyond some thousands all are alike
