"""Options that all architectures have, their sizes by name, and the fairseq model around a decoder."""

# No postponed annotations here: fairseq reads the types of dataclass fields as they stand.

from argparse import Namespace
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from fairseq import utils
from fairseq.dataclass import ChoiceEnum, FairseqDataclass
from fairseq.models import ARCH_CONFIG_REGISTRY, FairseqDecoder, FairseqLanguageModel, register_model_architecture
from fairseq.tasks import FairseqTask
from omegaconf import DictConfig

from ..errors import UserError
from ..packed_weights import pack_weights
from ..rotary import NARROWEST_HEAD

_POSITIONS = ["embedded", "rotary"]
_INDICES = ["bar", "onset"]


@dataclass
class BarAwareConfig(FairseqDataclass):
    """Options of a model; the defaults are the paper's size."""

    decoder_layers: int = field(default=4, metadata={"help": "number of layers"})
    decoder_embed_dim: int = field(default=512, metadata={"help": "width of the model"})
    decoder_attention_heads: int = field(default=8, metadata={"help": "attention heads; they divide the width"})
    decoder_ffn_embed_dim: int = field(default=2048, metadata={"help": "inner width of the feed-forward"})
    token_embed_dim: int = field(default=512, metadata={"help": "width of the token embedding"})
    bar_embed_dim: int = field(default=256, metadata={"help": "width of the sinusoidal bar embedding; even"})
    beat_embed_dim: int = field(default=128, metadata={"help": "width of the sinusoidal beat embedding; even"})
    positions: ChoiceEnum(_POSITIONS) = field(
        default="embedded",
        metadata={"help": "how attention knows positions: by the embeddings alone, or by turning queries and keys too"},
    )
    rotary_index: ChoiceEnum(_INDICES) = field(
        default="bar",  # what checkpoints from before this option have learnt
        metadata={"help": "of rotary positions: whether the index of a token counts from its bar or from its onset"},
    )
    qk_norm: bool = field(
        default=False, metadata={"help": "normalise queries and keys; each layer learns how sharply they attend"}
    )
    previous_tokens: int = field(
        default=0, metadata={"help": "how many tokens before each are added to its embedding, weighted"}
    )
    dropout: float = field(default=0.1, metadata={"help": "dropout on embeddings and residual branches"})
    attention_dropout: float = field(default=0.1, metadata={"help": "dropout on attention weights"})
    checkpoint_activations: bool = field(
        default=False, metadata={"help": "recompute layers in the backward: less memory, more time"}
    )


@dataclass
class WithoutSummariesConfig(BarAwareConfig):
    """Of architectures without summaries, whose feed-forward is wider: as many parameters as Museformer has."""

    decoder_ffn_embed_dim: int = field(default=2656, metadata={"help": "inner width of the feed-forward"})


FFN_WITHOUT_SUMMARIES = {128: 688, 192: 1008}  # by the width of the model


def check_options(cfg: BarAwareConfig) -> None:
    """Raises UserError for sizes that do not fit together."""
    sizes = {
        "--decoder-layers": cfg.decoder_layers,
        "--decoder-embed-dim": cfg.decoder_embed_dim,
        "--decoder-attention-heads": cfg.decoder_attention_heads,
        "--decoder-ffn-embed-dim": cfg.decoder_ffn_embed_dim,
        "--token-embed-dim": cfg.token_embed_dim,
    }
    for option, size in sizes.items():
        if size < 1:
            raise UserError(f"{option} must be at least 1, not {size}.")
    if cfg.decoder_embed_dim % cfg.decoder_attention_heads:
        raise UserError(
            f"--decoder-attention-heads {cfg.decoder_attention_heads} does not divide "
            f"--decoder-embed-dim {cfg.decoder_embed_dim}."
        )
    if cfg.positions not in _POSITIONS:
        raise UserError(f"--positions takes {' or '.join(_POSITIONS)}, not '{cfg.positions}'.")
    if cfg.rotary_index not in _INDICES:
        raise UserError(f"--rotary-index takes {' or '.join(_INDICES)}, not '{cfg.rotary_index}'.")
    if cfg.positions == "rotary":
        head_width = cfg.decoder_embed_dim // cfg.decoder_attention_heads
        if head_width % 2 or head_width < NARROWEST_HEAD:
            raise UserError(
                f"--positions rotary needs heads of an even width from {NARROWEST_HEAD} up, for pairs that are turned; "
                f"--decoder-embed-dim {cfg.decoder_embed_dim} with --decoder-attention-heads "
                f"{cfg.decoder_attention_heads} gives {head_width}."
            )
    if cfg.previous_tokens < 0:
        raise UserError(f"--previous-tokens must be 0 or more, not {cfg.previous_tokens}.")
    for option, width in (("--bar-embed-dim", cfg.bar_embed_dim), ("--beat-embed-dim", cfg.beat_embed_dim)):
        if width < 4 or width % 2:
            raise UserError(f"{option} must be even and at least 4, not {width}: it is half sines, half cosines.")
    for option, rate in (("--dropout", cfg.dropout), ("--attention-dropout", cfg.attention_dropout)):
        if not 0 <= rate < 1:
            raise UserError(f"{option} must be from 0 to below 1, not {rate}.")


class BarAwareLanguageModel(FairseqLanguageModel):
    """A fairseq language model whose decoder is a ``BarAwareModel``, of the class that subclasses name."""

    decoder_class: type[FairseqDecoder]

    @classmethod
    def build_model(cls, cfg: BarAwareConfig, task: FairseqTask) -> "BarAwareLanguageModel":
        """Build the model; raises UserError for options that do not fit together."""
        return cls(cls.decoder_class(cfg, task.target_dictionary))

    def prepare_for_inference_(self, cfg: DictConfig) -> None:
        """As fairseq does; and take ``--bf16``, which its commands that read or write pieces do not know.

        Raises UserError where ``--fp16`` is given too.
        """
        if cfg.common.bf16 and cfg.common.fp16:
            raise UserError("--fp16 and --bf16 exclude each other.")
        super().prepare_for_inference_(cfg)
        if cfg.common.bf16:
            self.bfloat16()
            pack_weights(self)


# a size for CPUs and for trying things out
_TINY = {
    "decoder_layers": 2,
    "decoder_embed_dim": 128,
    "decoder_attention_heads": 4,
    "decoder_ffn_embed_dim": 512,
    "token_embed_dim": 128,
    "bar_embed_dim": 64,
    "beat_embed_dim": 32,
}
# what a CPU trains in hours
_SMALL = {
    "decoder_layers": 3,
    "decoder_embed_dim": 192,
    "decoder_attention_heads": 6,
    "decoder_ffn_embed_dim": 768,
    "token_embed_dim": 192,
    "bar_embed_dim": 96,
    "beat_embed_dim": 48,
}
# what learns faster than the paper's model; docs/learning.md has the figures
_ROTARY = {"positions": "rotary", "rotary_index": "onset", "qk_norm": True, "previous_tokens": 3}

# Options that came to the sizes later, and what checkpoints from before mean.
_LATER = {"rotary_index": "bar"}

_PRESETS: dict[str, dict[str, Any]] = {  # by what is added to the name of a model
    "_tiny": _TINY,
    "_rotary": _ROTARY,
    "_rotary_small": {**_SMALL, **_ROTARY},
    "_rotary_tiny": {**_TINY, **_ROTARY},
}


def register_presets(model: str, ffn_widths: Mapping[int, int] | None = None) -> None:
    """Register the sizes of a model: ``--arch MODEL``, the paper's, ``MODEL_tiny``, ``MODEL_rotary`` and so on.

    ``ffn_widths``: by the width of the model, inner widths of the feed-forward other than those of Museformer, so that
    there are as many parameters. That of the paper's width is a default of the model's options.
    """
    for suffix, options in _PRESETS.items():
        if ffn_widths and options.get("decoder_embed_dim") in ffn_widths:
            options = {**options, "decoder_ffn_embed_dim": ffn_widths[options["decoder_embed_dim"]]}
        register_model_architecture(model, model + suffix)(_preset(options))
    ARCH_CONFIG_REGISTRY[model] = _preset({})  # register_model has put an empty function there


def _preset(options: Mapping[str, Any]) -> Any:
    """These options, unless the command line has others."""

    def apply(args: Namespace) -> None:
        args.tpu = False  # fairseq's command line takes --bf16 for a wish to train on TPUs
        for option, value in options.items():
            if option in _LATER and all(hasattr(args, other) for other in options if other not in _LATER):
                value = _LATER[option]  # a checkpoint's, which was filled in before there was the option
            setattr(args, option, utils.safe_getattr(args, option, value))

    return apply
