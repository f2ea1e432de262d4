"""Options of a model small enough for tests: two layers of 16."""

from __future__ import annotations

from collections.abc import Mapping

TINY = {
    "decoder_layers": 2,
    "decoder_embed_dim": 16,
    "decoder_attention_heads": 2,
    "decoder_ffn_embed_dim": 32,
    "token_embed_dim": 12,
    "bar_embed_dim": 8,
    "beat_embed_dim": 6,
}


def as_words(options: Mapping[str, object]) -> list[str]:
    """Options as a command line has them: ``{"window": 20}`` is ``["--window", "20"]``."""
    return [word for name, value in options.items() for word in (f"--{name.replace('_', '-')}", str(value))]
