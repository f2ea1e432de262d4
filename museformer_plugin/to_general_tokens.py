"""A six-track model to train on with general tokens: ``python -m museformer_plugin.to_general_tokens MODEL OUT.pt``.

Tokens that six-track pieces hold keep their rows; a program has those of the track that would take it; any other token
that pieces may hold has the mean of its family, or of all tokens where the family is new. So the logits of what both
know are what they were, and probabilities are not: all programs of a track begin as likely as it was alone. That, and
that tempos stand behind the onset and metres before it, is learnt in a few dozen updates of
``fairseq-train --finetune-from-model OUT.pt``.
"""

from __future__ import annotations

import argparse
import logging
import sys
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from data_prep.tokens.vocabulary import DEFAULT_METRE, FAMILIES, GENERAL, SIX_TRACK, bar_length, split_token

from .checkpoint_files import checkpoint_of, run_checkpoint_command, write_checkpoint
from .errors import UserError
from .steering.conditions import ConditionColumns
from .trained_checkpoints import SPECIALS, options_of, read_trained, representation_of_model

logger = logging.getLogger(__name__)

_TOKENS = ("decoder.embedding.token.weight", "decoder.output_projection.weight")
_CONDITIONS = (  # of models as they are now, and from before commit f886ed0
    "decoder.conditions.embedding",
    "decoder.conditions.late",
    "decoder.conditions",
    "decoder.late_conditions",
)
_IDS = {family.letter: family.ids for family in FAMILIES} | {"o": range(bar_length(*DEFAULT_METRE))}


def general_parameters(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """``parameters`` of a six-track model as those of a model of general tokens, copies in float32.

    Rows of tokens, and what may be said of tracks, are laid out anew; all else is as it was. Raises UserError where the
    model is not of six-track tokens, or is told of bars as no model is now.
    """
    if representation_of_model(parameters) is not SIX_TRACK:
        raise UserError("The model is of general tokens already: train on from it as it is.")
    general = {}
    for name, tensor in parameters.items():
        tensor = tensor.to(torch.float32, copy=True) if tensor.is_floating_point() else tensor.clone()
        if name in _TOKENS:
            tensor = _rows_of_tokens(tensor)
        elif name in _CONDITIONS:
            tensor = _rows_of_conditions(tensor)
        general[name] = tensor
    return general


def _rows_of_tokens(rows: Tensor) -> Tensor:
    """float [entries of general, D] of those of six_track."""
    held: dict[str, int] = {}
    of_family: dict[str, list[int]] = {}
    never = []  # rows of entries that no piece has: learnt to be impossible
    for row, symbol in enumerate(SIX_TRACK.symbols(), SPECIALS):
        family, _, number = symbol.partition("-")
        if family in _IDS and int(number) in _IDS[family]:
            held[symbol] = row
            of_family.setdefault(family, []).append(row)
        else:
            never.append(row)

    def row_of(symbol: str) -> Tensor:
        family, number = split_token(symbol)
        if not _may_be_held(family, number):
            return rows[never].mean(dim=0)
        if family == "i":
            symbol = f"i-{SIX_TRACK.taken_by().get(number, number)}"
        return rows[held[symbol]] if symbol in held else rows[of_family.get(family, list(held.values()))].mean(dim=0)

    return torch.cat([rows[:SPECIALS], torch.stack([row_of(symbol) for symbol in GENERAL.symbols()])])


def _may_be_held(family: str, number: int) -> bool:
    """Whether general pieces hold a token."""
    return any(family == of.letter and number in of.ids for of in FAMILIES)


def _rows_of_conditions(rows: Tensor) -> Tensor:
    """float [features of general, D] of those of six_track. Raises UserError where these are of another number."""
    columns = ConditionColumns(len(SIX_TRACK.instruments))
    if len(rows) != columns.width:
        raise UserError(f"The model is told of bars by {len(rows)} numbers, where models are now by {columns.width}.")
    of_tracks = rows[columns.instruments]
    taken_by = SIX_TRACK.taken_by()
    of_instruments = []
    for instrument in GENERAL.instruments:
        track = taken_by.get(instrument, instrument)
        known = track in SIX_TRACK.instruments
        of_instruments.append(of_tracks[SIX_TRACK.instruments.index(track)] if known else of_tracks.mean(dim=0))
    return torch.cat([rows[: columns.instruments.start], torch.stack(of_instruments)])


def to_general_tokens(trained: Path, out: Path) -> None:
    """Write the checkpoint ``out``; raises UserError where ``trained`` is of another kind or ``out`` is there."""
    if out.exists():
        raise UserError(f"{out} exists already; move it away, or name another file.")
    state = read_trained(trained)
    architecture, options = options_of(state)
    parameters = general_parameters(state["model"])
    out.parent.mkdir(parents=True, exist_ok=True)
    write_checkpoint(checkpoint_of(parameters, options, arch=architecture), out)
    logger.info("%s: %d parameters, for general tokens", out, sum(tensor.numel() for tensor in parameters.values()))


def main() -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("model", type=Path, help="of six-track tokens, such as pretrained/six_track/model.pt")
    parser.add_argument("out", type=Path, help="the checkpoint to write")
    arguments = parser.parse_args()
    return run_checkpoint_command(partial(to_general_tokens, arguments.model, arguments.out), logger)


if __name__ == "__main__":
    sys.exit(main())
