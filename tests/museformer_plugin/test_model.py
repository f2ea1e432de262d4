import dataclasses
from argparse import Namespace
from types import SimpleNamespace

import pytest
from fairseq.models import ARCH_CONFIG_REGISTRY

from museformer_plugin.errors import UserError
from museformer_plugin.models.museformer import MuseformerConfig, MuseformerLanguageModel, parse_structure_bars
from tests.architectures import ARCHITECTURES


@pytest.mark.parametrize(
    ("text", "bars"),
    [("1,2,4", (1, 2, 4)), (" 8, 1 ,8", (1, 8)), ("", ()), ("  ", ()), ("100", (100,)), ("1,-1,0", (-1, 0, 1))],
)
def test_structure_bars(text, bars):
    assert parse_structure_bars(text) == bars


@pytest.mark.parametrize("text", ["--1", "-", "1,x", "1,,2", "1.5", "1;2", "²", ","])
def test_structure_bars_that_are_none(text):
    with pytest.raises(UserError, match="--structure-bars takes distances in whole bars"):
        parse_structure_bars(text)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"decoder_attention_heads": 7}, "--decoder-attention-heads 7 does not divide --decoder-embed-dim 512"),
        ({"decoder_attention_heads": 0}, "--decoder-attention-heads must be at least 1, not 0"),
        ({"decoder_layers": 0}, "--decoder-layers must be at least 1, not 0"),
        ({"token_embed_dim": -4}, "--token-embed-dim must be at least 1, not -4"),
        ({"bar_embed_dim": 7}, "--bar-embed-dim must be even and at least 4, not 7"),
        ({"beat_embed_dim": 2}, "--beat-embed-dim must be even and at least 4, not 2"),
        ({"dropout": 1.0}, "--dropout must be from 0 to below 1, not 1.0"),
        ({"attention_dropout": -0.1}, "--attention-dropout must be from 0 to below 1, not -0.1"),
        ({"structure_bars": "1,x"}, "--structure-bars takes distances"),
        ({"positions": "polar"}, "--positions takes embedded or rotary, not 'polar'"),
        ({"positions": "rotary", "rotary_index": "beat"}, "--rotary-index takes bar or onset, not 'beat'"),
        ({"previous_tokens": -1}, "--previous-tokens must be 0 or more, not -1"),
        (
            {"decoder_embed_dim": 32, "positions": "rotary"},
            "--positions rotary needs heads of an even width from 6 up, .* gives 4",
        ),
        (
            {"decoder_attention_heads": 1, "decoder_embed_dim": 33, "positions": "rotary"},
            "--positions rotary needs heads of an even width from 6 up, .* gives 33",
        ),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_sizes_that_do_not_fit_are_told(dictionary_of, options, sentence):
    task = SimpleNamespace(target_dictionary=dictionary_of("six_track"))
    with pytest.raises(UserError, match=sentence):
        MuseformerLanguageModel.build_model(MuseformerConfig(**options), task)


def test_the_smallest_sizes_make_a_model(dictionary_of):
    sizes = {
        "decoder_layers": 1,
        "decoder_embed_dim": 1,
        "decoder_attention_heads": 1,
        "decoder_ffn_embed_dim": 1,
        "token_embed_dim": 1,
        "bar_embed_dim": 4,
        "beat_embed_dim": 4,
    }
    task = SimpleNamespace(target_dictionary=dictionary_of("general"))
    model = MuseformerLanguageModel.build_model(MuseformerConfig(structure_bars="", **sizes), task)
    assert sum(parameter.numel() for parameter in model.parameters()) > 0


SIZES = ("tiny", "rotary", "rotary_small", "rotary_tiny")
PRESETS = [f"{model}_{size}" for model in ARCHITECTURES for size in SIZES]


@pytest.mark.parametrize("name", PRESETS)
def test_presets_fill_in_what_is_not_given(name):
    args = Namespace(decoder_layers=5)
    ARCH_CONFIG_REGISTRY[name](args)
    assert args.decoder_layers == 5
    assert getattr(args, "rotary_index", "bar") == ("onset" if "rotary" in name else "bar")
    assert (getattr(args, "positions", "embedded") == "rotary") == ("rotary" in name)
    assert getattr(args, "decoder_embed_dim", 512) == {"tiny": 128, "small": 192}.get(name.rsplit("_")[-1], 512)


def test_every_option_has_help():
    for option in dataclasses.fields(MuseformerConfig):
        assert option.name == "_name" or option.metadata.get("help"), option.name
