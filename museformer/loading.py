"""Weights from a folder, through fairseq, without running code that they could hold."""

from __future__ import annotations

from pathlib import Path

import torch
from fairseq.checkpoint_utils import load_model_ensemble_and_task

from museformer_plugin.errors import UserError
from museformer_plugin.export_checkpoint import DICTIONARY, MODEL
from museformer_plugin.models.protocol import BarAwareModel
from museformer_plugin.trained_checkpoints import read_trained

from .quiet import logging_as_it_was

SHIPPED = Path(__file__).resolve().parent.parent / "pretrained" / "six_track"


def load_decoder(folder: Path, device: torch.device) -> BarAwareModel:
    """The model of a folder as ``pretrained/six_track``, in evaluation mode and float32, on ``device``.

    Raises UserError, or what ``museformer_plugin.errors.sentence_for`` has a sentence for, where it cannot be loaded.
    """
    for name in (MODEL, DICTIONARY):
        if not (folder / name).is_file():
            raise UserError(
                f"There is no {name} in {folder}: name a folder that museformer_plugin.export_checkpoint wrote."
            )
    path = folder / MODEL
    read_trained(path)  # refuses what holds more than tensors and plain values, before fairseq opens it
    with logging_as_it_was():
        (model,), _, _ = load_model_ensemble_and_task([str(path)], arg_overrides={"data": str(folder)})
    return model.eval().float().to(device).decoder
