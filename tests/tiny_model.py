"""Options of a model small enough for tests: two layers of 16."""

TINY = {
    "decoder_layers": 2,
    "decoder_embed_dim": 16,
    "decoder_attention_heads": 2,
    "decoder_ffn_embed_dim": 32,
    "token_embed_dim": 12,
    "bar_embed_dim": 8,
    "beat_embed_dim": 6,
}
