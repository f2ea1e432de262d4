"""A trained model to pass on: ``python -m museformer_plugin.export_checkpoint CHECKPOINT OUT_DIR``.

Writes ``OUT_DIR/model.pt``, the weights in float16 with the options that rebuild the model, and
``OUT_DIR/dict.txt``. The state of the training run and the folders of its machine stay behind.
"""

from __future__ import annotations

import argparse
import logging
import sys
from dataclasses import fields
from functools import partial
from pathlib import Path
from typing import Any

import torch
from fairseq.models import ARCH_MODEL_NAME_REGISTRY, MODEL_DATACLASS_REGISTRY, MODEL_REGISTRY
from torch import Tensor

from data_prep.tokens.vocabulary import REPRESENTATIONS

from .checkpoint_files import checkpoint_of, run_checkpoint_command, write_checkpoint
from .errors import UserError
from .models.options import BarAwareLanguageModel

logger = logging.getLogger(__name__)

MODEL, DICTIONARY = "model.pt", "dict.txt"  # in OUT_DIR
SPECIALS = 4  # the entries that fairseq puts before those of dict.txt


def read_trained(path: Path) -> dict[str, Any]:
    """A checkpoint of ours, on the CPU; raises UserError when it is something else."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    cfg = state.get("cfg") if isinstance(state, dict) else None
    if not isinstance(cfg, dict) or "model" not in state or _architecture(cfg.get("model") or {}) is None:
        raise UserError(f"{path} is not a checkpoint that fairseq-train wrote for a Museformer.")
    return state


def _architecture(options: dict[str, Any]) -> str | None:
    """The name under which an architecture of ours is registered, from its name or that of one of its sizes."""
    name = ARCH_MODEL_NAME_REGISTRY.get(options.get("_name"))
    return name if name and issubclass(MODEL_REGISTRY[name], BarAwareLanguageModel) else None


def options_of(state: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Of a checkpoint of ours the architecture, and the options that rebuild its model."""
    options = state["cfg"]["model"]
    architecture = _architecture(options)
    names = {field.name for field in fields(MODEL_DATACLASS_REGISTRY[architecture])}
    return architecture, {name: value for name, value in options.items() if name in names and name[0] != "_"}


def in_half_precision(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """float16 copies, which keep 11 significant bits of a number (bfloat16: 8).

    Raises UserError where float16 has no number for one of them.
    """
    half = {}
    for name, tensor in parameters.items():
        half[name] = tensor.to(torch.float16, copy=True) if tensor.is_floating_point() else tensor.clone()
        if not half[name].isfinite().all():
            raise UserError(f"The parameter {name} holds numbers that float16 cannot (above 65504, or not finite).")
    return half


def dictionary_for(parameters: dict[str, Tensor]) -> str:
    """The dict.txt of the model's representation; raises UserError when its tokens are of neither."""
    entries = len(parameters.get("decoder.embedding.token.weight", ()))
    for representation in REPRESENTATIONS.values():
        if entries == SPECIALS + len(representation.symbols()):
            return representation.dict_txt()
    raise UserError(f"The model has {entries} dictionary entries, neither those of six_track nor of general.")


def export(trained: Path, out_dir: Path) -> None:
    """Export the checkpoint at ``trained``; raises UserError rather than write over another model."""
    if (out_dir / MODEL).exists():
        raise UserError(f"{out_dir / MODEL} exists already; move it away, or name another folder.")
    state = read_trained(trained)
    dictionary = dictionary_for(state["model"])
    architecture, options = options_of(state)
    updates = (state.get("optimizer_history") or [{}])[-1].get("num_updates", 0)
    model = in_half_precision(state["model"])
    out_dir.mkdir(parents=True, exist_ok=True)
    _write_dictionary(out_dir / DICTIONARY, dictionary)
    seed = state["cfg"]["common"]["seed"]
    write_checkpoint(checkpoint_of(model, options, updates, seed, architecture), out_dir / MODEL)
    logger.info(
        "%s: %d parameters after %d updates, %.1f MB",
        out_dir / MODEL,
        sum(tensor.numel() for tensor in model.values()),
        updates,
        (out_dir / MODEL).stat().st_size / 1e6,
    )


def _write_dictionary(path: Path, text: str) -> None:
    if path.exists():
        if path.read_text() != text:
            raise UserError(f"{path} exists already and is of another model; move it away, or name another folder.")
        return
    partial_file = path.with_name(path.name + ".partial")
    try:
        partial_file.write_text(text)
        partial_file.replace(path)
    finally:
        partial_file.unlink(missing_ok=True)


def main() -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("checkpoint", type=Path, help="what fairseq-train wrote")
    parser.add_argument("out_dir", type=Path, help=f"folder for {MODEL} and {DICTIONARY}")
    arguments = parser.parse_args()
    return run_checkpoint_command(partial(export, arguments.checkpoint, arguments.out_dir), logger)


if __name__ == "__main__":
    sys.exit(main())
