"""Which implementation runs where, that it is said, and that Triton may be absent."""

import logging
import subprocess
import sys
import textwrap
from types import SimpleNamespace

import pytest
import torch

from museformer_plugin.fc_attention import BarLayout, backends, fc_attention, self_check

CUDA = torch.device("cuda", 0)


@pytest.fixture(autouse=True)
def fresh_choice():
    for cached in (backends.choose_backend, backends._say, backends._trouble_with_triton):
        cached.cache_clear()
    yield
    for cached in (backends.choose_backend, backends._say, backends._trouble_with_triton):
        cached.cache_clear()


def operator_of_kernels():
    return backends._triton_operator().fc_attention


@pytest.fixture
def hopper(monkeypatch):
    """A device that is not there."""
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (9, 0))
    monkeypatch.setattr(torch.cuda, "get_device_name", lambda device: "a Hopper device")
    monkeypatch.setattr(pytest.importorskip("triton"), "__version__", "3.6.0")
    monkeypatch.setattr(self_check, "largest_error", lambda *arguments: 1e-5)


def test_cpu_tensors_take_the_cpu_backend():
    assert backends.choose_backend(torch.device("cpu"), torch.float32, 64) == ("cpu", "tensors are on cpu")


@pytest.mark.usefixtures("hopper")
def test_cuda_tensors_take_the_kernels():
    chosen = backends.choose_backend(CUDA, torch.bfloat16, 64)
    assert chosen == ("triton", "Triton 3.6.0 on a Hopper device")


@pytest.mark.usefixtures("hopper")
@pytest.mark.parametrize(
    ("dtype", "head_width", "reason"),
    [
        (torch.float64, 64, "the kernels do not compute in float64"),
        (torch.float32, 8, "the kernels take head widths 16 to 128, not 8"),
        (torch.float32, 160, "the kernels take head widths 16 to 128, not 160"),
    ],
)
def test_what_the_kernels_do_not_take(dtype, head_width, reason):
    assert backends.choose_backend(CUDA, dtype, head_width) == ("cpu", reason)


@pytest.mark.usefixtures("hopper")
def test_an_old_triton_is_not_used(monkeypatch):
    monkeypatch.setattr(pytest.importorskip("triton"), "__version__", "2.1.0")
    chosen = backends.choose_backend(CUDA, torch.float16, 64)
    assert chosen == ("cpu", "Triton 2.1.0 is too old, the kernels need 3.0")


@pytest.mark.usefixtures("hopper")
def test_a_broken_triton_is_not_used(monkeypatch):
    def broken(name):
        raise OSError("no such library")

    monkeypatch.setattr(backends, "import_module", broken)
    chosen = backends.choose_backend(CUDA, torch.float16, 64)
    assert chosen == ("cpu", "Triton cannot be imported: no such library")


@pytest.mark.usefixtures("hopper")
def test_an_old_device_is_not_used(monkeypatch):
    monkeypatch.setattr(torch.cuda, "get_device_capability", lambda device: (7, 5))
    chosen = backends.choose_backend(CUDA, torch.float16, 64)
    assert chosen == ("cpu", "the device has compute capability 7.5, the kernels need 8.0")


@pytest.mark.usefixtures("hopper")
def test_kernels_that_do_not_run_are_not_used(monkeypatch):
    def out_of_resources(operator, device, dtype, head_width):
        assert (operator, device, dtype, head_width) == (operator_of_kernels(), CUDA, torch.float16, 64)
        raise RuntimeError("out of resource: shared memory")

    monkeypatch.setattr(self_check, "largest_error", out_of_resources)
    reason = "the kernels do not run on this device (RuntimeError: out of resource: shared memory)"
    assert backends.choose_backend(CUDA, torch.float16, 64) == ("cpu", reason)


@pytest.mark.usefixtures("hopper")
@pytest.mark.parametrize("error", [0.5, float("nan")])
def test_kernels_that_compute_wrong_values_are_not_used(monkeypatch, error):
    monkeypatch.setattr(self_check, "largest_error", lambda *arguments: error)
    chosen = backends.choose_backend(CUDA, torch.bfloat16, 64)
    assert chosen == ("cpu", f"the kernels compute wrong values on this device: relative error {error:.1e}")


@pytest.mark.usefixtures("hopper")
@pytest.mark.parametrize(
    ("parameters", "tried"),
    [(torch.float16, [torch.float16]), (torch.float32, [torch.float32, torch.float16]), (torch.float64, [])],
    ids=str,
)
def test_kernels_are_tried_when_a_model_is_moved_and_not_in_a_forward(monkeypatch, parameters, tried):
    """Float32 parameters may come as float16, which autocast makes of them."""
    found = []
    monkeypatch.setattr(self_check, "largest_error", lambda _operator, _device, dtype, _width: found.append(dtype) or 0)
    backends.try_kernels(CUDA, parameters, 64)
    assert found == tried
    for dtype in (parameters, *tried):
        backend = backends.backend_for(SimpleNamespace(device=CUDA, dtype=dtype, shape=(3, 2, 64)), None)
        assert backend.__name__.endswith(".triton.operator" if tried else ".cpu.operator")
    assert found == tried


def test_the_choice_is_said_once(piece_of, caplog):
    layout = BarLayout.build([piece_of([3, 2])], (1,), coarse=False)
    with caplog.at_level(logging.INFO, logger=backends.logger.name):
        for _ in range(3):
            fc_attention(tuple(torch.zeros(6, 1, 4) for _ in "qkv"), None, None, layout)
    assert caplog.messages == ["attention runs on the cpu backend: tensors are on cpu"]


def test_backends_have_names(piece_of):
    layout = BarLayout.build([piece_of([3, 2])], (1,), coarse=False)
    with pytest.raises(ValueError, match='backend: expected "triton", "cpu" or None, not \'fast\''):
        fc_attention(tuple(torch.zeros(6, 1, 4) for _ in "qkv"), None, None, layout, backend="fast")


def test_everything_but_speed_works_without_triton(repository):
    """A fresh interpreter that refuses to import Triton."""
    program = """
        import sys
        from importlib.abc import MetaPathFinder

        class NoTriton(MetaPathFinder):
            def find_spec(self, name, path, target=None):
                if name.partition(".")[0] == "triton":
                    raise ModuleNotFoundError(f"refused: {name}", name=name)

        sys.meta_path.insert(0, NoTriton())
        import numpy as np
        import torch
        from museformer_plugin.fc_attention import BarLayout, PieceBars, fc_attention
        from museformer_plugin.fc_attention.backends import choose_backend

        layout = BarLayout.build([PieceBars(8, np.array([1, 3, 6]), 3)], (1,))
        q, k, v = (torch.randn(8, 2, 16, requires_grad=True) for _ in "qkv")
        summaries = tuple(torch.randn(3, 2, 16) for _ in "qkv")
        x, s = fc_attention((q, k, v), summaries, torch.randn(64, 32), layout, dropout=0.1)
        x.sum().backward()
        print(choose_backend(torch.device("cuda"), torch.bfloat16, 64).reason)
        assert "triton" not in sys.modules
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(program)], cwd=repository, capture_output=True, text=True
    )
    assert (done.returncode, done.stdout) == (0, "Triton is not installed\n"), done.stderr
