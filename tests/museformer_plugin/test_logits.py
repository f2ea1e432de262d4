"""Logits by a padded product."""

from types import SimpleNamespace

import pytest
import torch
import torch.nn.functional as F

from museformer_plugin import logits
from museformer_plugin.logits import LogitsProjection, padded_product


@pytest.mark.parametrize("entries", [1, 8, 13, 560])
def test_padding_changes_neither_logits_nor_gradients(entries):
    generator = torch.Generator().manual_seed(0)
    rows = torch.randn(2, 5, 12, generator=generator, dtype=torch.float64).requires_grad_()
    weight = torch.randn(entries, 12, generator=generator, dtype=torch.float64).requires_grad_()
    cotangent = torch.randn(2, 5, entries, generator=generator, dtype=torch.float64)
    found, expected = padded_product(rows, weight), F.linear(rows, weight)
    assert found.shape == expected.shape
    gradients = (torch.autograd.grad(out, (rows, weight), cotangent) for out in (found, expected))
    for ours, theirs in zip([found, *next(gradients)], [expected, *next(gradients)]):
        torch.testing.assert_close(ours, theirs, rtol=0, atol=1e-12)


@pytest.mark.parametrize(("grad", "padded"), [(True, True), (False, False)])
def test_training_on_a_gpu_takes_it(monkeypatch, grad, padded):
    """The rows say where they are; writing one token a step gains nothing by it."""
    taken = []
    monkeypatch.setattr(logits, "padded_product", lambda *given: taken.append(given))
    monkeypatch.setattr(logits.PackableLinear, "forward", lambda *given: None)
    rows = SimpleNamespace(device=torch.device("cuda"))
    with torch.set_grad_enabled(grad):
        LogitsProjection(12, 13, bias=False).forward(rows)
    assert bool(taken) == padded
