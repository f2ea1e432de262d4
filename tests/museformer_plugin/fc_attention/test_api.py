"""Arguments of ``fc_attention`` that do not fit are refused in words."""

import pytest
import torch

from museformer_plugin.fc_attention import BarLayout, fc_attention


@pytest.fixture
def arguments(piece_of):
    """By name, for a piece of two bars."""
    return {
        "tokens": [torch.zeros(6, 2, 4) for _ in "qkv"],
        "summaries": [torch.zeros(2, 2, 4) for _ in "qkv"],
        "summary_kv_weight": torch.zeros(16, 8),
        "layout": BarLayout.build([piece_of([3, 2])], (1,)),
    }


@pytest.mark.parametrize("dropout", [-0.1, 1.0, float("nan")])
def test_rates_of_dropout(arguments, dropout):
    with pytest.raises(ValueError, match=rf"dropout: expected a rate from 0 to below 1, not {dropout}"):
        fc_attention(**arguments, dropout=dropout)


def test_summary_kv_weight(arguments):
    arguments["summary_kv_weight"] = torch.zeros(8, 16)
    with pytest.raises(ValueError, match=r"summary_kv_weight has shape \(8, 16\), expected \[16, 8\]"):
        fc_attention(**arguments)


def test_summaries_have_the_heads_of_the_tokens(arguments):
    arguments["summaries"] = [torch.zeros(2, 4, 2) for _ in "qkv"]
    with pytest.raises(ValueError, match=r"summaries: q has shape \(2, 4, 2\), expected \[2, 2, 4\]"):
        fc_attention(**arguments)


@pytest.mark.parametrize("name", ["tokens", "summaries"])
def test_parts_have_one_dtype(arguments, name):
    arguments[name][2] = arguments[name][2].double()
    message = f"{name}: v is torch.float64 on cpu, expected torch.float32 on cpu"
    with pytest.raises(ValueError, match=message):
        fc_attention(**arguments)
