import pytest
import torch

from museformer_plugin.fc_attention import fc_attention
from museformer_plugin.fc_attention.cpu.tiles import Tiles
from museformer_plugin.fc_attention.self_check import largest_error


def test_what_runs_on_a_cpu_passes():
    assert largest_error(fc_attention, torch.device("cpu")) < 1e-5


@torch.no_grad()
def test_it_can_be_run_where_gradients_are_off():
    assert largest_error(fc_attention, torch.device("cpu")) < 1e-5


def test_a_wrong_kernel_is_found(monkeypatch):
    """Softmax without the causal mask."""
    right = Tiles.of

    def uncausal(plan):
        tiles = right(plan)
        return tiles._replace(segments=tiles.segments * torch.tensor([1, 1, 0, 1, 1, 1, 1]))

    monkeypatch.setattr(Tiles, "of", uncausal)
    assert largest_error(fc_attention, torch.device("cpu")) > 0.05


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_sixteen_bits_round_more(dtype):
    assert 1e-5 < largest_error(fc_attention, torch.device("cpu"), dtype) < 0.1
