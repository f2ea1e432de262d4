"""A trained model to pass on: ``python -m museformer_plugin.export_checkpoint CHECKPOINT OUT_DIR``.

Writes ``OUT_DIR/model.pt``, the weights in float16 with the options that rebuild the model, and
``OUT_DIR/dict.txt``. The state of the training run and the folders of its machine stay behind.
"""

from __future__ import annotations

import logging
import sys
from pathlib import Path

import torch
from torch import Tensor

from .checkpoint_files import checkpoint_of, run_checkpoint_command, write_checkpoint
from .errors import UserError
from .trained_checkpoints import options_of, read_trained, representation_of_model

logger = logging.getLogger(__name__)

MODEL, DICTIONARY = "model.pt", "dict.txt"  # in OUT_DIR


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


def export(trained: Path, out_dir: Path) -> None:
    """Export the checkpoint at ``trained``; raises UserError rather than write over another model."""
    if (out_dir / MODEL).exists():
        raise UserError(f"{out_dir / MODEL} exists already; move it away, or name another folder.")
    state = read_trained(trained)
    dictionary = representation_of_model(state["model"]).dict_txt()
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
    return run_checkpoint_command(
        export, __doc__, "what fairseq-train wrote", f"folder for {MODEL} and {DICTIONARY}", logger
    )


if __name__ == "__main__":
    sys.exit(main())
