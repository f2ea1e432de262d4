"""Linear attention is what its definition says, chunked or token by token; test_decoder.py has what all models hold."""

import pytest
import torch
import torch.nn.functional as F

from museformer_plugin.layer import BarAwareLayer
from museformer_plugin.models import linear_transformer
from museformer_plugin.models.linear_transformer import causal_sums, features
from museformer_plugin.rotary import turn

OPTIONS = [{}, {"positions": "rotary", "qk_norm": True, "previous_tokens": 3}, {"positions": "rotary"}]


class DefinedLayer(BarAwareLayer):
    """The fraction of the paper by indices, piece by piece; turned above the line alone."""

    def forward(self, x, lengths, by=None, keep=None):
        q, k, v = self.qkv(x, self.projections.token_bias, None)
        q, k = F.elu(q) + 1, F.elu(k) + 1
        turned_q, turned_k = (q, k) if by is None else (turn(q, by.queries), turn(k, by.keys))
        rows, first = [], 0
        for length in lengths:
            for i in range(first, first + length):
                seen = slice(first, i + 1)
                above = torch.einsum("hd,jhd,jhe->he", turned_q[i], turned_k[seen], v[seen])
                rows.append(above / torch.einsum("hd,jhd->h", q[i], k[seen])[:, None])
            first += length
        return self.finish(x, torch.stack(rows))


@pytest.mark.parametrize("options", OPTIONS, ids=["embedded", "all", "rotary"])
def test_logits_and_gradients_are_those_of_the_definition(assert_is_defined_by, read_piece, monkeypatch, options):
    monkeypatch.setattr(linear_transformer, "_CHUNK", 16)
    pieces = (5, 0, 8)
    assert [len(read_piece("general", bars, seed=bars)) // 16 for bars in pieces] == [5, 0, 7]
    layer = linear_transformer, "LinearLayer"
    assert_is_defined_by(layer, DefinedLayer, pieces=pieces, architecture="linear_transformer", **options)


@pytest.mark.parametrize("length", [1, 2, 63, 64, 65, 128, 300])
def test_chunks_give_the_sums_of_the_recurrence(length):
    chance = torch.Generator().manual_seed(length)
    q, k, v = (torch.randn(length, 3, 8, dtype=torch.float64, generator=chance).requires_grad_() for _ in range(3))
    state, rows = torch.zeros(3, 8, 8, dtype=torch.float64), []
    for query, key, value in zip(q, k, v):
        state = state + key[:, :, None] * value[:, None]
        rows.append((query[:, None] @ state)[:, 0])
    expected, found = torch.stack(rows), causal_sums(q, k, v)
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)
    upstream = torch.randn(found.shape, dtype=torch.float64, generator=chance)
    gradients = (torch.autograd.grad(sums, (q, k, v), upstream) for sums in (found, expected))
    for ours, by_recurrence in zip(*gradients):
        torch.testing.assert_close(ours, by_recurrence, rtol=0, atol=1e-9)


def test_features_are_elu_plus_1_and_never_0():
    rows = torch.cat([torch.linspace(-5, 5, 101, dtype=torch.float64), torch.zeros(1)]).requires_grad_()
    torch.testing.assert_close(features(rows), F.elu(rows) + 1, rtol=0, atol=1e-12)
    (found,), (expected,) = (torch.autograd.grad(kind.sum(), rows) for kind in (features(rows), F.elu(rows)))
    torch.testing.assert_close(found, expected, rtol=0, atol=1e-12)
    for dtype in (torch.float16, torch.bfloat16, torch.float32):
        found = features(torch.tensor([-40.0], dtype=dtype))
        assert found.dtype == torch.float32
        assert found > 0


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("options", OPTIONS[:2], ids=["embedded", "all"])
def test_half_precision_trains_and_writes(build_decoder, read_piece, options, dtype):
    """Near float64, with gradients that are finite; sums are float32."""
    tokens = read_piece("six_track", bars=12, seed=0)
    build = {"architecture": "linear_transformer", "dropout": 0, **options}
    exact, half = (build_decoder(dtype=kind, **build) for kind in (torch.float64, dtype))
    expected, found = (decoder.train()(tokens[None])[0][0] for decoder in (exact, half))
    limit = 30 * torch.finfo(dtype).eps * expected.abs().max()
    assert found.dtype == dtype
    assert (found.double() - expected).abs().max() < limit
    found.float().square().mean().backward()
    assert all(parameter.grad.isfinite().all() for parameter in half.parameters())
    with torch.no_grad():
        _, streams = half.eval().read_prompts([tokens[:10]])
        stepped = torch.cat([half.step(token[None], streams) for token in tokens[10:]])
    assert streams.cache.sums.dtype == streams.cache.weights.dtype == torch.float32
    assert (stepped.double() - expected[10:]).abs().max() < limit


def test_autocast_leaves_the_sums_as_they_are():
    q, k, v = torch.rand(3, 300, 2, 8).unbind()
    expected = causal_sums(q, k, v)
    with torch.autocast("cpu", torch.bfloat16):
        assert torch.equal(causal_sums(q, k, v), expected)


def test_rows_whose_features_are_next_to_nothing_stay_finite(build_decoder, read_piece):
    decoder = build_decoder(architecture="linear_transformer", dtype=torch.float32)
    with torch.no_grad():
        for layer in decoder.layers:
            layer.projections.token_bias[:32] = -60.0  # of queries and keys
    logits = decoder(read_piece("six_track", bars=3, seed=0)[None])[0]
    logits.square().mean().backward()
    assert logits.isfinite().all()
    assert all(parameter.grad.isfinite().all() for parameter in decoder.parameters())


@torch.no_grad()
def test_the_state_does_not_grow(build_decoder, read_piece):
    decoder = build_decoder(architecture="linear_transformer")
    pieces = [read_piece("six_track", bars=40, seed=seed) for seed in (0, 1)]
    sizes = []
    for prompts in ([piece[:1] for piece in pieces], pieces):
        _, streams = decoder.read_prompts(prompts)
        for token in range(20, 40):
            decoder.step(torch.full((2,), token), streams)
            storages = [sums.untyped_storage().nbytes() for sums in (streams.cache.sums, streams.cache.weights)]
            sizes.append(sum(storages))
    assert set(sizes) == {2 * 2 * 2 * 8 * (8 + 1) * 8}  # layers, streams, heads, keys, values and weights, bytes


def test_attention_dropout_has_no_effect(build_decoder, read_piece):
    tokens = read_piece("six_track", bars=3, seed=0)[None]
    build = {"architecture": "linear_transformer", "dropout": 0}
    logits = [build_decoder(attention_dropout=rate, **build).train()(tokens)[0] for rate in (0, 0.9)]
    assert torch.equal(*logits)


def test_it_has_the_parameters_of_full_attention(build_decoder):
    shapes = [
        {name: tensor.shape for name, tensor in build_decoder(architecture=name).state_dict().items()}
        for name in ("linear_transformer", "full_attention")
    ]
    assert shapes[0] == shapes[1]
