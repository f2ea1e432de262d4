"""Perplexity on the first tokens of pieces, at several lengths in one pass, through fairseq's own model and task."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from fairseq import checkpoint_utils, utils
from tqdm import tqdm

import museformer_plugin  # noqa: F401  (registers the task and the model)
from data_prep.command import CommandError
from evaluation.bootstrap import Bootstrap, Estimate
from evaluation.report_text import WHOLE
from museformer_plugin.errors import sentence_for
from museformer_plugin.models.any_fairseq import facts_of

LENGTHS = (1024, 5120, 10240)  # tokens, as the paper reports


@dataclass(frozen=True)
class Losses:
    """What a model loses on each piece: ``bits`` float64 and ``tokens`` int64, both [pieces, columns].

    Column k sums over a piece's first ``lengths[k]`` target tokens (``</s>`` is the last), shorter pieces
    whole; one more column, where there is one, over all. ``token_bits`` are the losses themselves, float64 [n] for each
    piece, n at most the largest length.
    """

    lengths: tuple[int, ...]
    bits: np.ndarray
    tokens: np.ndarray
    token_bits: Sequence[np.ndarray] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Of the columns: ``1024`` and the like, and ``whole``."""
        return (*map(str, self.lengths), WHOLE)[: self.bits.shape[1]]

    def perplexity(self, column: int, bootstrap: Bootstrap) -> Estimate:
        """2 to the mean bits a token, weighted by token; pieces are what is resampled."""
        sums = np.column_stack([self.bits[:, column], self.tokens[:, column]])
        return bootstrap.estimate(lambda total: 2 ** (total[0] / total[1]), sums)

    def bits_per_token(self, column: int) -> float:
        """The mean loss to base 2: what ``fairseq-validate`` prints as ``loss``."""
        return float(self.bits[:, column].sum() / self.tokens[:, column].sum())


@dataclass(frozen=True)
class Model:
    """A checkpoint's model with the task it was trained on, which reads ``truncate`` tokens of a piece at most, 0 for
    all; ``facts`` name it in a report."""

    model: Any
    task: Any
    facts: dict[str, Any]
    truncate: int = 0


def load_model(checkpoint: Path, data_bin: Path, truncate: int = 0) -> Model:
    """Load a checkpoint, on a GPU where there is one, for the pieces of ``data_bin``; ``truncate``: for so many of
    their first tokens alone, 0 for all.

    Raises CommandError when it is missing, not to be trusted, or of another dictionary.
    """
    if not checkpoint.is_file():
        raise CommandError(f"There is no checkpoint at {checkpoint}.")
    logging.getLogger("fairseq.tasks").setLevel(logging.WARNING)
    overrides = {"data": str(data_bin), "truncate_test": truncate, "truncate_valid": truncate}
    try:
        state = checkpoint_utils.load_checkpoint_to_cpu(str(checkpoint), overrides)
        updates = (state.get("optimizer_history") or [{}])[-1].get("num_updates")
        (model,), cfg, task = checkpoint_utils.load_model_ensemble_and_task([str(checkpoint)], state=state)
    except Exception as error:  # whatever broken bytes raise; defects of the program have no sentence
        raise _told(error, checkpoint) from error
    model.eval()
    if torch.cuda.is_available():
        model.cuda()
    facts = {
        "checkpoint": str(checkpoint),
        "parameters": sum(parameter.numel() for parameter in model.parameters()),
        "updates": updates,
        "architecture": facts_of(model),
        "training_seed": int(cfg.common.seed),
    }
    return Model(model, task, facts, truncate)


def measure_losses(loaded: Model, subset: str, lengths: Sequence[int] = LENGTHS) -> Losses:
    """The losses of a model on every piece of ``subset``, with all their context; of whole pieces where it reads them.

    The model is causal, so the loss of a piece's first tokens does not depend on what follows them, and
    one pass serves all ``lengths``. Raises CommandError when the subset is missing or breaks the grammar.
    """
    try:
        loaded.task.load_dataset(subset)
    except Exception as error:
        raise _told(error, subset) from error
    dataset = loaded.task.dataset(subset)
    longest, most = int(max(dataset.sizes)), loaded.model.max_positions()
    if longest > most:
        raise CommandError(f"{subset}: a piece has {longest:,} tokens, and the model reads {most:,} at most.")
    lengths = [length for length in lengths if not loaded.truncate or length <= loaded.truncate]
    columns = [*lengths] if loaded.truncate else [*lengths, longest]
    bits = np.zeros((len(dataset), len(columns)))
    tokens = np.zeros((len(dataset), len(columns)), dtype=np.int64)
    token_bits = []
    for index in tqdm(range(len(dataset)), desc="perplexity", unit="piece", leave=False):
        losses = _piece_losses(loaded, dataset.collater([dataset[index]]))
        for column, length in enumerate(columns):
            bits[index, column] = losses[:length].sum()
            tokens[index, column] = min(length, len(losses))
        token_bits.append(losses[: max(lengths)])
    return Losses(tuple(lengths), bits, tokens, tuple(token_bits))


@torch.no_grad()
def _piece_losses(loaded: Model, sample: dict[str, Any]) -> np.ndarray:
    """float64 [n]: bits of each target token of the one piece in ``sample``."""
    if next(loaded.model.parameters()).is_cuda:
        sample = utils.move_to_cuda(sample)
    scores = loaded.model.get_normalized_probs(loaded.model(**sample["net_input"]), log_probs=True)
    chosen = scores[0].gather(1, sample["target"][0].unsqueeze(1)).squeeze(1)
    return -chosen.double().cpu().numpy() / math.log(2)


def _told(error: Exception, about: object) -> Exception:
    """The error as a sentence where the plugin has one for it; else the error itself."""
    sentence = sentence_for(error)
    return CommandError(f"{about}: {sentence}") if sentence else error
