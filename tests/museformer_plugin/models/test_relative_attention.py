"""Music Transformer and Transformer-XL are what their definitions say; that they are causal is in test_decoder.py."""

import random

import pytest
import torch

from museformer_plugin.errors import UserError
from museformer_plugin.fc_attention import relative
from museformer_plugin.fc_attention.relative import Segments, relative_attention, relative_logits
from museformer_plugin.layer import BarAwareLayer, HiddenMatrices
from museformer_plugin.models import music_transformer, transformer_xl
from museformer_plugin.models.music_transformer import MusicTransformerLayer
from museformer_plugin.models.transformer_xl import TransformerXLLayer
from museformer_plugin.rotary import turn


def normal(seed, *shape):
    return torch.randn(shape, dtype=torch.float64, generator=torch.Generator().manual_seed(seed))


def test_skewed_logits_are_the_definition_by_indices():
    chance = random.Random(0)
    for _ in range(60):
        n, num_distances = chance.randint(1, 9), chance.randint(1, 12)
        num_keys = n + chance.choice([0, 0, 1, chance.randint(0, 20)])
        q, r = normal(0, 3, n, 4), normal(1, 3, num_distances, 4)
        found = relative_logits(q, r, num_keys)
        assert found.shape == (3, n, num_keys)
        for row in range(n):
            for key in range(num_keys):
                distance = num_keys - n + row - key
                if distance < 0:
                    assert (found[:, row, key] == -torch.inf).all()
                    continue
                expected = (q[:, row] * r[:, min(distance, num_distances - 1)]).sum(1)
                torch.testing.assert_close(found[:, row, key], expected, rtol=0, atol=1e-12)


class Defined:
    """Dense, by indices; keys and values of earlier segments are made of rows without gradient."""

    def parts(self, x, by):
        q, k, v = BarAwareLayer.qkv(self, x, self.projections.token_bias, None)
        u, w = getattr(self, "content_bias", 0), getattr(self, "distance_bias", 0)
        return (q + u, q + w, k, v) if by is None else (turn(q + u, by.queries), q + w, turn(k, by.keys), v)

    def forward(self, x, lengths, by=None, keep=None):
        piece = torch.repeat_interleave(torch.arange(len(lengths)), torch.tensor(lengths))
        index = torch.cat([torch.arange(length) for length in lengths])
        first = (index - index % self.segments.tokens)[:, None]  # of each query's segment
        gaps, same = index[:, None] - index, piece[:, None] == piece
        own = same & (gaps >= 0) & (index >= first)
        old = same & (index < first) & (index >= first - self.segments.memory)
        content, relative, k, v = self.parts(x, by)
        _, _, old_k, old_v = self.parts(x.detach(), by)
        r = self.defined_r(max(lengths))
        by_gap = torch.einsum("ihd,hijd->hij", relative, r[:, gaps.clamp(0, r.shape[1] - 1)])
        logits = [
            ((torch.einsum("ihd,jhd->hij", content, keys) + by_gap) / k.shape[2] ** 0.5).masked_fill(~seen, -torch.inf)
            for keys, seen in ((k, own), (old_k, old))
        ]
        weights = torch.cat(logits, 2).softmax(2)
        return self.finish(x, torch.einsum("hij,jhd->ihd", weights, torch.cat([v, old_v])))


class DefinedMusicTransformerLayer(Defined, MusicTransformerLayer):
    def defined_r(self, longest):
        return self.distances


class DefinedTransformerXLLayer(Defined, TransformerXLLayer):
    def defined_r(self, longest):
        width = len(self.distance_weight)
        frequencies = torch.tensor([10000 ** (-2 * k / width) for k in range(width // 2)])
        angles = torch.arange(longest)[:, None] * frequencies
        rows = torch.cat([angles.sin(), angles.cos()], 1).to(self.distance_weight) @ self.distance_weight.T
        return rows.view(longest, self.heads, -1).transpose(0, 1)


CASES = {
    "music_transformer": (
        {"architecture": "music_transformer"},
        (music_transformer, "MusicTransformerLayer"),
        DefinedMusicTransformerLayer,
    ),
    "transformer_xl": (
        {"architecture": "transformer_xl"},
        (transformer_xl, "TransformerXLLayer"),
        DefinedTransformerXLLayer,
    ),
    "segments_longer_than_memory": (
        {"architecture": "transformer_xl", "segment_tokens": 23, "memory_tokens": 4},
        (transformer_xl, "TransformerXLLayer"),
        DefinedTransformerXLLayer,
    ),
}
ROTARY = {"positions": "rotary", "qk_norm": True, "previous_tokens": 3}


@pytest.mark.parametrize("options", [{}, ROTARY], ids=["embedded", "rotary"])
@pytest.mark.parametrize("case", CASES)
def test_logits_and_gradients_are_those_of_the_definition(assert_is_defined_by, monkeypatch, case, options):
    architecture, layer, definition = CASES[case]
    monkeypatch.setattr(relative, "_BLOCK", 7)
    assert_is_defined_by(layer, definition, **architecture, **options)


def test_a_memory_as_long_as_the_piece_is_full_relative_attention(build_decoder, read_piece):
    tokens = read_piece("six_track", bars=8, seed=1)[None]
    whole, in_segments, forgetful = (
        build_decoder(architecture="transformer_xl", segment_tokens=segment, memory_tokens=memory)(tokens)[0]
        for segment, memory in ((1000, 0), (7, 1000), (7, 30))
    )
    assert tokens.shape[1] > 60
    torch.testing.assert_close(in_segments, whole, rtol=0, atol=1e-9)
    torch.testing.assert_close(forgetful[:, :35], whole[:, :35], rtol=0, atol=1e-9)
    assert (forgetful[:, 35:] - whole[:, 35:]).abs().max() > 1e-3


def test_the_backward_drops_what_the_forward_dropped(monkeypatch):
    monkeypatch.setattr(relative, "_BLOCK", 4)
    rows = [normal(seed, 11, 2, 3) for seed in range(4)]
    inputs = [rows.requires_grad_() for rows in (normal(4, 2, 11, 2, 3), *rows, normal(5, 2, 6, 3))]

    def attend(q, k, v, old_k, old_v, r):
        torch.manual_seed(0)
        return relative_attention(q, (k, v), (old_k, old_v), r, Segments(5, 3), dropout=0.4)

    assert torch.autograd.gradcheck(attend, inputs, eps=1e-6, atol=1e-7)


def test_dropout_keeps_the_mean():
    q, k, r = normal(0, 2, 300, 4, 8), normal(1, 300, 4, 8), normal(2, 4, 50, 8)
    ones = torch.ones_like(k)
    attended = relative_attention(q, (k, ones), (k, ones), r, Segments(1000, 0), dropout=0.3)
    assert attended.mean().item() == pytest.approx(1, abs=0.05)
    alone = attended[0, :, 0]  # the first query sees itself
    assert (((alone - 1 / 0.7).abs() < 1e-12) | (alone == 0)).all()
    assert attended[1:10].std() > 0.1


def test_layers_made_again_in_the_backward_drop_the_same(build_decoder, read_piece):
    tokens = read_piece("six_track", bars=5, seed=0)[None]
    for architecture in ("music_transformer", "transformer_xl"):
        gradients = []
        for again in (False, True):
            rates = {"dropout": 0.2, "attention_dropout": 0.3, "checkpoint_activations": again}
            decoder = build_decoder(architecture=architecture, **rates).train()
            torch.manual_seed(3)
            loss = decoder(tokens)[0].square().mean()
            gradients.append(torch.autograd.grad(loss, list(decoder.parameters())))
        for kept, found in zip(*gradients):
            torch.testing.assert_close(found, kept, rtol=0, atol=1e-12)


@pytest.mark.parametrize("segments", [Segments(10**9, 0), Segments(64, 100)], ids=["whole", "segments"])
def test_what_is_kept_for_the_backward_grows_with_the_piece_alone(monkeypatch, segments):
    monkeypatch.setattr(relative, "_BLOCK", 16)

    def kept(n):
        q, k, v = normal(0, 2, n, 2, 4), normal(1, n, 2, 4), normal(2, n, 2, 4)
        leaves = [rows.requires_grad_() for rows in (q, k, v, normal(3, 2, 20, 4))]
        storages = {}

        def pack(tensor):
            storages[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
            return tensor

        q, k, v, r = leaves
        with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
            attended = relative_attention(q, (k, v), (k, v), r, segments)
        attended.sum().backward()
        return sum(storages.values())

    one_row = 2 * 4 * 8
    assert kept(1024) <= 2 * kept(512) + 100 * one_row
    assert kept(1024) < 20 * 1024 * one_row


@torch.no_grad()
def test_the_state_of_transformer_xl_is_bounded(build_decoder, read_piece):
    decoder = build_decoder(architecture="transformer_xl", segment_tokens=8, memory_tokens=11)
    pieces = [read_piece("six_track", bars=12, seed=seed) for seed in (0, 1)]
    _, streams = decoder.read_prompts([pieces[0][:60], pieces[1][:3]])
    row = 2 * 16 * 8  # heads and head width, float64
    bound = 2 * (8 + 11) * row * (2 * 2 + 1)  # layers, rows: keys and values of two streams, and r
    held = []
    for step in range(80):
        decoder.step(torch.stack([pieces[0][60 + step % 20], pieces[1][3 + step]]), streams)
        held.append(streams.cache.num_bytes())
    assert max(held) <= bound
    assert held[20:] == [held[-1]] * 60


def test_which_parameters_are_hidden_matrices(build_decoder):
    for architecture, expected in (("music_transformer", set()), ("transformer_xl", {"distance_weight"})):
        layer = build_decoder(architecture=architecture).layers[0]
        own = dict(layer.named_parameters(recurse=False))
        marked = {
            name for name, value in own.items() if isinstance(getattr(value, "param_group", None), HiddenMatrices)
        }
        assert marked == expected
        assert len(own) == {"music_transformer": 1, "transformer_xl": 3}[architecture]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (
            {"architecture": "music_transformer", "max_relative_distance": 0},
            "--max-relative-distance must be 1 or more, not 0",
        ),
        ({"architecture": "transformer_xl", "segment_tokens": 0}, "--segment-tokens must be 1 or more, not 0"),
        ({"architecture": "transformer_xl", "memory_tokens": -1}, "--memory-tokens must be 0 or more, not -1"),
    ],
    ids=["distance", "segment", "memory"],
)
def test_options_that_do_not_fit(build_decoder, options, sentence):
    with pytest.raises(UserError, match=sentence):
        build_decoder(**options)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
@pytest.mark.parametrize("architecture", ["music_transformer", "transformer_xl"])
@torch.no_grad()
def test_steps_in_half_precision(build_decoder, read_piece, architecture, dtype):
    tokens = read_piece("six_track", bars=6, seed=2)
    exact, half = (build_decoder(architecture=architecture, dtype=kind) for kind in (torch.float64, dtype))
    expected = exact(tokens[None])[0][0]
    _, streams = half.read_prompts([tokens[:20]])
    found = torch.cat([half.step(token[None], streams) for token in tokens[20:]])
    assert found.dtype == dtype
    assert (found.double() - expected[20:]).abs().max() < 30 * torch.finfo(dtype).eps * expected.abs().max()


@pytest.mark.parametrize("architecture", ["music_transformer", "transformer_xl"])
def test_gradients_under_autocast_are_near_those_without(build_decoder, read_piece, architecture):
    decoder = build_decoder(architecture=architecture, positions="rotary").float()
    piece = read_piece("six_track", bars=3, seed=1)[None]

    def gradients(autocast):
        with torch.autocast("cpu", torch.bfloat16, enabled=autocast):
            loss = decoder(piece)[0].float().square().mean()
        return torch.autograd.grad(loss, list(decoder.parameters()))

    for found, expected in zip(gradients(True), gradients(False)):
        assert (found - expected).norm() <= 0.05 * expected.norm() + 1e-6
