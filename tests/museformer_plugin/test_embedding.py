import math

import numpy as np
import pytest
import torch
import torch.nn.functional as F

from museformer_plugin.embedding import BarAwareEmbedding, sinusoidal_positions


def test_positions_by_the_formula():
    width, n = 8, 5
    frequencies = [10000 ** (-k / 3) for k in range(4)]
    expected = [math.sin(n * f) for f in frequencies] + [math.cos(n * f) for f in frequencies]
    torch.testing.assert_close(sinusoidal_positions(torch.tensor([n]), width)[0], torch.tensor(expected))


def test_position_zero_is_zero():
    assert not sinusoidal_positions(torch.tensor([0, 1, 0]), 8)[[0, 2]].any()


def test_positions_are_the_originals(shared, golden_case):
    tables = golden_case(shared / "golden" / "reference" / "model" / "sinusoid_tables_f32.npz")
    compared = 0
    for table in tables.values():
        if table.ndim == 2:
            ours = sinusoidal_positions(torch.arange(len(table)), table.shape[1]).numpy()
            # the original numbers its table from 1 behind a padding row at 0
            np.testing.assert_allclose(ours, table, rtol=0, atol=2e-4)
            compared += 1
    assert compared


@pytest.fixture
def embedding():
    torch.manual_seed(0)
    return BarAwareEmbedding(20, 1, token_width=6, bar_width=8, beat_width=4, width=10, coarse=True).double()


def test_tokens_are_one_projection_of_three_parts(embedding):
    tokens, bars, beats = torch.tensor([[3, 7, 3], [0, 1, 9], [0, 5, 2]])
    parts = [
        math.sqrt(6) * embedding.token(tokens),
        sinusoidal_positions(bars, 8).double(),
        sinusoidal_positions(beats, 4).double(),
    ]
    expected = F.linear(torch.cat(parts, dim=1), embedding.token_proj.weight, embedding.token_proj.bias)
    torch.testing.assert_close(embedding(tokens, bars, beats, max_bar=9, max_beat=5), expected)


def test_summaries_are_one_projection_of_two_parts(embedding):
    bars = torch.tensor([1, 4])
    learned = (math.sqrt(6) * embedding.summary).expand(2, -1)
    parts = torch.cat([learned, sinusoidal_positions(bars, 8).double()], dim=1)
    expected = F.linear(parts, embedding.summary_proj.weight, embedding.summary_proj.bias)
    torch.testing.assert_close(embedding.summaries(bars), expected)


def test_padding_is_embedded_as_zero(embedding):
    assert not embedding.token.weight[1].any()
