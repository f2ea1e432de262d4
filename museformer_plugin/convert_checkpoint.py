"""Original Museformer checkpoints -> ours: ``python -m museformer_plugin.convert_checkpoint ORIGINAL.pt OUT.pt``.

The original's checkpoint is a dictionary with ``args`` (an argparse Namespace) and ``model``. It is
read with ``weights_only``, with that one class allowed.
"""

from __future__ import annotations

import logging
import sys
from argparse import Namespace
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .checkpoint_files import checkpoint_of, run_checkpoint_command, write_checkpoint
from .errors import UserError

logger = logging.getLogger(__name__)

# original option -> ours
_SIZES = {
    "attention_embed_dim": "decoder_embed_dim",
    "num_layers": "decoder_layers",
    "num_attention_heads": "decoder_attention_heads",
    "ffn_embed_dim": "decoder_ffn_embed_dim",
    "token_embed_dim": "token_embed_dim",
    "bar_abs_pos_embed_dim": "bar_embed_dim",
    "beat_abs_pos_embed_dim": "beat_embed_dim",
    "dropout": "dropout",
    "attention_dropout": "attention_dropout",
}
# What the original can vary and the model that was published, and this one, do not.
_FIXED = {
    "activation_fn": "gelu",
    "add_different_kqv_bias_for_sum_and_reg": True,
    "chunking_scheme": "bar_aware",
    "con2con_causal": True,
    "con2con_self": "full",
    "con2pref_mode": "full",
    "con2sum_self": "none",
    "concat_reg_embeddings": True,
    "concat_sum_embeddings": True,
    "layernorm_embedding": False,
    "no_final_norm": False,
    "no_scale_embedding": False,
    "normalize_before": True,
    "num_summary_tokens_each_chunk": 1,
    "pref2pref_mode": "lt",
    "pref2sum_mode": "none",
    "proj_reg_embeddings": True,
    "proj_sum_embeddings": True,
    "share_input_output_embed": False,
    "sum2con": ((None,),),
    "sum2con_self": "full",
    "sum2pref_mode": "none",
    "sum2sum": ((None,),),
    "sum2sum_self": "full",
    "use_bar_abs_pos": True,
    "use_beat_abs_pos": True,
    "use_token_abs_pos": False,
    "use_token_in_chunk_abs_pos": False,
}
_DICTIONARY_SIZES = {560: False, 1024: True}  # six_track, general; and their beat_mask_ts


def read_original(path: Path) -> tuple[Namespace, dict[str, Tensor]]:
    """Options and parameters of an original checkpoint; raises UserError when it is not one."""
    # not for this file alone: what allows a class for a while forbids it afterwards, though others had allowed it
    torch.serialization.add_safe_globals([Namespace])
    state = torch.load(path, map_location="cpu", weights_only=True)
    if not isinstance(state, dict) or not isinstance(state.get("args"), Namespace) or "model" not in state:
        raise UserError(f"{path} is not a checkpoint of the original Museformer: it holds no 'args' and 'model'.")
    return state["args"], state["model"]


def convert_options(args: Namespace, num_symbols: int) -> dict[str, Any]:
    """The original's options as ours; raises UserError for a model that ours cannot be."""
    for option, value in _FIXED.items():
        found = getattr(args, option, value)
        if found != value:
            raise UserError(f"The original was trained with {option} = {found!r}; only {value!r} can be converted.")
    if num_symbols not in _DICTIONARY_SIZES:
        raise UserError(
            f"The original has {num_symbols} dictionary entries; known are 560 (six_track) and 1024 (general)."
        )
    if bool(getattr(args, "beat_mask_ts", False)) != _DICTIONARY_SIZES[num_symbols]:
        raise UserError(f"beat_mask_ts = {args.beat_mask_ts} does not go with a dictionary of {num_symbols} entries.")
    options = {ours: _one(getattr(args, theirs), theirs) for theirs, ours in _SIZES.items()}
    fine, coarse = _distances(args.con2con, "con2con"), _distances(args.con2sum, "con2sum")
    structure_bars, no_coarse = _structure_bars(fine, coarse)
    return {**options, "structure_bars": ",".join(map(str, structure_bars)), "no_coarse_attention": no_coarse}


def _one(value: Any, option: str) -> Any:
    """A size, or the one element of a tuple of sizes by layer."""
    if isinstance(value, (tuple, list)):
        if len(set(value)) != 1:
            raise UserError(
                f"The original's {option} differs from layer to layer ({value!r}); only one size can be converted."
            )
        return value[0]
    return value


def _distances(scheme: Any, option: str) -> list[tuple[int, int | None]]:
    """A scheme of bars as ranges of distances, both ends inclusive; None is without end.

    Schemes nest by layer, then by head: ``((((-2, 0), -4),),)``. Bars are negative offsets or
    half-open ranges of them; None stands for no bar.
    """
    for level in ("layer", "head"):
        if len(set(scheme)) != 1:
            raise UserError(f"The original's {option} differs from {level} to {level}; that cannot be converted.")
        scheme = scheme[0]
    ranges = []
    for bars in scheme or ():
        first, last = (bars, bars + 1) if isinstance(bars, int) else bars
        ranges.append((1 - last, None if first is None else -first))
    return ranges


def _structure_bars(fine: list[tuple[int, int | None]], coarse: list[tuple[int, int | None]]) -> tuple[list[int], bool]:
    """Structure bars, and whether there is no coarse-grained attention.

    Raises UserError when ``coarse`` is neither nothing nor the complement of ``fine``.
    """
    if any(last is None for _, last in fine):
        raise UserError("The original attends to all bars token by token; only a finite choice can be converted.")
    distances = sorted({d for first, last in fine for d in range(first, last + 1)})
    if not coarse:
        return distances, True
    beyond = max([*distances, *(last or first for first, last in coarse)]) + 1
    seen = {d for first, last in coarse for d in range(first, (last or beyond) + 1)}
    if seen != set(range(1, beyond + 1)) - set(distances):
        raise UserError(
            "The original's con2sum is not the complement of its con2con: some bars would be seen twice or not at "
            "all, which cannot be converted."
        )
    return distances, False


def convert_parameters(original: dict[str, Tensor], num_layers: int, coarse: bool) -> dict[str, Tensor]:
    """The original's parameters under our names; raises UserError when one is missing or not tied."""
    original = {name.removeprefix("decoder."): tensor for name, tensor in original.items()}
    taken: set[str] = set()

    def take(*names: str) -> Tensor:
        missing = [name for name in names if name not in original]
        if missing:
            raise UserError(f"The original checkpoint lacks the parameter decoder.{missing[0]}.")
        taken.update(names)
        return torch.cat([original[name] for name in names]) if len(names) > 1 else original[names[0]]

    ours = {
        "embedding.token.weight": take("embed_regular_tokens.weight"),
        "embedding.token_proj.weight": take("reg_proj_embeddings.weight"),
        "embedding.token_proj.bias": take("reg_proj_embeddings.bias"),
        "final_norm.weight": take("layer_norm.weight"),
        "final_norm.bias": take("layer_norm.bias"),
        "output_projection.weight": take("output_projection.weight"),
    }
    if coarse:
        # entry 0 is the original's padding
        ours["embedding.summary"] = take("embed_summary_tokens.weight")[1]
        ours["embedding.summary_proj.weight"] = take("sum_proj_embeddings.weight")
        ours["embedding.summary_proj.bias"] = take("sum_proj_embeddings.bias")
    for number in range(num_layers):
        theirs, layer = f"layers.{number}", f"layers.{number}"
        attention = f"{theirs}.self_attn"
        qkv = ("query", "key", "value")
        ours[f"{layer}.projections.weight"] = take(*(f"{attention}.reg_{part}_proj.weight" for part in qkv))
        ours[f"{layer}.projections.token_bias"] = take(*(f"{attention}.reg_{part}_bias" for part in qkv))
        if coarse:
            ours[f"{layer}.projections.summary_bias"] = take(*(f"{attention}.sum_{part}_bias" for part in qkv))
            ours[f"{layer}.projections.summary_kv_weight"] = take(
                f"{attention}.sum_key2_proj.weight", f"{attention}.sum_value2_proj.weight"
            )
        for part in ("weight", "bias"):
            ours[f"{layer}.out_proj.{part}"] = take(f"{attention}.reg_out_proj.{part}")
            ours[f"{layer}.attention_norm.{part}"] = take(f"{theirs}.reg_self_attn_layer_norm.{part}")
            ours[f"{layer}.ffn_norm.{part}"] = take(f"{theirs}.reg_final_layer_norm.{part}")
            ours[f"{layer}.ffn_in.{part}"] = take(f"{theirs}.reg_fc1.{part}")
            ours[f"{layer}.ffn_out.{part}"] = take(f"{theirs}.reg_fc2.{part}")
    _check_ties(original, taken)
    return {f"decoder.{name}": tensor.clone() for name, tensor in ours.items()}


def _check_ties(original: dict[str, Tensor], taken: set[str]) -> None:
    """What was not taken must be a tie of what was: ``sum_x`` of ``reg_x``."""
    for name in original.keys() - taken:
        tied = name.replace("sum_", "reg_")
        if tied not in taken or not torch.equal(original[name], original[tied]):
            raise UserError(f"The original's parameter decoder.{name} has no counterpart here.")


def convert(original: Path, out: Path) -> None:
    """Convert the checkpoint at ``original``; ``out`` appears only when it is whole."""
    args, parameters = read_original(original)
    num_symbols = len(parameters.get("decoder.embed_regular_tokens.weight", ()))
    options = convert_options(args, num_symbols)
    model = convert_parameters(parameters, options["decoder_layers"], not options["no_coarse_attention"])
    write_checkpoint(checkpoint_of(model, options), out)
    logger.info(
        "%s: %d parameters, structure bars %s",
        out,
        sum(t.numel() for t in model.values()),
        options["structure_bars"],
    )


def main() -> int:
    """The command; returns its exit status."""
    return run_checkpoint_command(
        convert, __doc__, "of the original system", "checkpoint to write, for fairseq's --path", logger
    )


if __name__ == "__main__":
    sys.exit(main())
