"""Kernels run on the GPU where there is one, else under Triton's interpreter."""

import pytest
import torch

ON_GPU = torch.cuda.is_available()


@pytest.fixture(scope="session")
def device():
    return torch.device("cuda", 0) if ON_GPU else torch.device("cpu")


@pytest.fixture(scope="session")
def attend():
    """``attention`` of the backend, its kernels pinned to one shape of tiles."""
    pytest.importorskip("triton")
    from triton.runtime.autotuner import Autotuner

    from museformer_plugin.fc_attention.triton import backward, forward
    from museformer_plugin.fc_attention.triton.operator import attention
    from museformer_plugin.fc_attention.triton.primitives import INTERPRETED

    assert bool(INTERPRETED) != ON_GPU, "Triton was imported before these tests could choose its interpreter"
    for kernel in (*vars(forward).values(), *vars(backward).values()):
        if isinstance(kernel, Autotuner):
            kernel.early_config_prune = _only_first(kernel.early_config_prune)
    return attention


def _only_first(prune):
    return lambda *arguments, **constants: prune(*arguments, **constants)[:1]


@pytest.fixture(autouse=True)
def unwritten_cells_are_nan(monkeypatch):
    """What a kernel leaves unwritten shows in its results."""
    plain_empty = torch.empty

    def empty(*size, **options):
        made = plain_empty(*size, **options)
        return made.fill_(float("nan")) if made.is_floating_point() else made

    monkeypatch.setattr(torch, "empty", empty)
