"""Checkpoints that no training run leaves: a model with the options that rebuild it, and nothing else."""

from __future__ import annotations

import argparse
import logging
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from .errors import sentence_for


def checkpoint_of(
    model: dict[str, Tensor], options: dict[str, Any], num_updates: int = 0, seed: int = 1, arch: str = "museformer"
) -> dict[str, Any]:
    """A checkpoint as fairseq-train writes it, without the state of a training run and without its folders.

    ``options`` are those of ``arch``, ``num_updates`` and ``seed`` tell how the model was trained.
    """
    from fairseq import options as fairseq_options
    from fairseq.dataclass.utils import convert_namespace_to_omegaconf
    from omegaconf import OmegaConf

    user_dir = str(Path(__file__).resolve().parent)
    parser = fairseq_options.get_training_parser()
    argv = ["", "--user-dir", user_dir, "--task", "museformer_language_modeling", "--arch", arch]
    parsed = fairseq_options.parse_args_and_arch(parser, argv)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # fairseq calls Hydra by its old names
        composed = convert_namespace_to_omegaconf(parsed)
    cfg = OmegaConf.to_container(composed, resolve=True, enum_to_str=True)
    cfg["common"]["user_dir"] = None  # the command that loads the checkpoint names its own
    cfg["common"]["seed"] = seed
    cfg["model"] = {**cfg["model"], **options}
    return {
        "args": None,
        "cfg": cfg,
        "model": model,
        "criterion": None,
        "optimizer_history": [
            {
                "criterion_name": "CrossEntropyCriterion",
                "optimizer_name": "FairseqAdam",
                "lr_scheduler_state": {},
                "num_updates": num_updates,
            }
        ],
        "task_state": {},
        "extra_state": {"train_iterator": {"epoch": 1}},
        "last_optimizer_state": None,
    }


def write_checkpoint(checkpoint: dict[str, Any], out: Path) -> None:
    """Save ``checkpoint``; ``out`` appears only when it is whole. Raises OSError, RuntimeError on a full disk."""
    partial_file = out.with_name(out.name + ".partial")
    try:
        with partial_file.open("wb") as stream:
            torch.save(checkpoint, stream)
        partial_file.replace(out)
    finally:
        partial_file.unlink(missing_ok=True)


def run_checkpoint_command(
    action: Callable[[Path, Path], None], description: str, checkpoint: str, out: str, logger: logging.Logger
) -> int:
    """``action`` with the two paths of the command line, showing what ``logger`` says.

    ``checkpoint`` and ``out`` are what ``--help`` says of them, the first line of ``description`` of the command.
    Returns the exit status: 0, or 1 after telling in a sentence why it could not be done. Raises what has no sentence:
    a defect of the program.
    """
    parser = argparse.ArgumentParser(description=description.split("\n")[0])
    parser.add_argument("checkpoint", type=Path, help=checkpoint)
    parser.add_argument("out", type=Path, help=out)
    arguments = parser.parse_args()
    logging.basicConfig(format="%(message)s", level=logging.WARNING, force=True)  # fairseq has its own
    logger.setLevel(logging.INFO)
    try:
        action(arguments.checkpoint, arguments.out)
    except Exception as error:
        sentence = str(error) if isinstance(error, OSError) else sentence_for(error)
        if sentence is None:
            raise
        print(f"museformer: {sentence}", file=sys.stderr)
        return 1
    return 0
