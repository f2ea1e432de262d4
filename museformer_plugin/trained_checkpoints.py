"""Checkpoints that fairseq-train wrote: what model and which tokens they are of."""

from __future__ import annotations

from dataclasses import fields
from pathlib import Path
from typing import Any

import torch
from fairseq.models import ARCH_MODEL_NAME_REGISTRY, MODEL_DATACLASS_REGISTRY, MODEL_REGISTRY
from torch import Tensor

from data_prep.tokens.vocabulary import REPRESENTATIONS, Representation

from .errors import UserError
from .models.options import BarAwareLanguageModel

SPECIALS = 4  # the entries that fairseq puts before those of dict.txt


def read_trained(path: Path) -> dict[str, Any]:
    """A checkpoint of an architecture of this plugin, on the CPU; raises UserError when it is something else."""
    state = torch.load(path, map_location="cpu", weights_only=True)
    cfg = state.get("cfg") if isinstance(state, dict) else None
    options = cfg.get("model") if isinstance(cfg, dict) else None  # of fairseq's older models no dict
    if not isinstance(options, dict) or "model" not in state or _architecture(options) is None:
        raise UserError(
            f"{path} is not a checkpoint that fairseq-train wrote for an architecture of this plugin; those of "
            "fairseq's own models are used as they are."
        )
    return state


def _architecture(options: dict[str, Any]) -> str | None:
    """The name under which an architecture of ours is registered, from its name or that of one of its sizes."""
    name = ARCH_MODEL_NAME_REGISTRY.get(options.get("_name"))
    return name if name and issubclass(MODEL_REGISTRY[name], BarAwareLanguageModel) else None


def options_of(state: dict[str, Any]) -> tuple[str, dict[str, Any]]:
    """Of what ``read_trained`` read the architecture, as it is registered whatever its size, and the options that
    rebuild the model."""
    options = state["cfg"]["model"]
    architecture = _architecture(options)
    names = {field.name for field in fields(MODEL_DATACLASS_REGISTRY[architecture])}
    return architecture, {name: value for name, value in options.items() if name in names and name[0] != "_"}


def representation_of_model(parameters: dict[str, Tensor]) -> Representation:
    """That of the model's tokens; raises UserError when they are of neither."""
    entries = len(parameters.get("decoder.embedding.token.weight", ()))
    for representation in REPRESENTATIONS.values():
        if entries == SPECIALS + len(representation.symbols()):
            return representation
    raise UserError(f"The model has {entries} dictionary entries, neither those of six_track nor of general.")
