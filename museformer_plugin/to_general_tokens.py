"""A six-track model to train on with general tokens: ``python -m museformer_plugin.to_general_tokens MODEL OUT.pt``.

Tokens that six-track pieces hold keep their rows; a program has those of the track that would take it; any other token
that pieces may hold has the mean of its family, or of all tokens where the family is new. So the logits of what both
know are what they were, and probabilities are not: all programs of a track begin as likely as it was alone. That, and
that tempos stand behind the onset and metres before it, is learnt in a few dozen updates of
``fairseq-train --finetune-from-model OUT.pt``.
"""

from __future__ import annotations

import logging
import sys
from collections.abc import Sequence
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
# ids, by family: that general pieces hold; and six-track ones, of those in their dictionary
_HELD = {family.letter: family.ids for family in FAMILIES}
_HELD_IN_4_4 = _HELD | {"o": range(bar_length(*DEFAULT_METRE))}


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
    known: dict[str, Tensor] = {}
    of_family: dict[str, list[Tensor]] = {}
    never = []  # of entries that no piece has: learnt to be impossible
    for symbol, row in zip(SIX_TRACK.symbols(), rows[SPECIALS:], strict=True):
        family, _, number = symbol.partition("-")
        if family in _HELD_IN_4_4 and int(number) in _HELD_IN_4_4[family]:
            known[symbol] = row
            of_family.setdefault(family, []).append(row)
        else:
            never.append(row)

    def row_of(symbol: str) -> Tensor:
        family, number = split_token(symbol)
        if number not in _HELD.get(family, ()):
            return _mean(never)
        if family == "i":
            symbol = f"i-{_track_for(number)}"
        return known[symbol] if symbol in known else _mean(of_family.get(family, list(known.values())))

    return torch.cat([rows[:SPECIALS], torch.stack([row_of(symbol) for symbol in GENERAL.symbols()])])


def _rows_of_conditions(rows: Tensor) -> Tensor:
    """float [features of general, D] of those of six_track. Raises UserError where these are of another number."""
    columns = ConditionColumns(len(SIX_TRACK.instruments))
    if len(rows) != columns.width:
        raise UserError(f"The model is told of bars by {len(rows)} numbers, where models are now by {columns.width}.")
    of_tracks = dict(zip(SIX_TRACK.instruments, rows[columns.instruments]))
    mean = _mean(list(of_tracks.values()))
    of_instruments = [of_tracks.get(_track_for(instrument), mean) for instrument in GENERAL.instruments]
    return torch.cat([rows[: columns.instruments.start], torch.stack(of_instruments)])


def _track_for(instrument: int) -> int:
    """The instrument of the six-track track that would take it, or itself."""
    return SIX_TRACK.taken_by().get(instrument, instrument)


def _mean(rows: Sequence[Tensor]) -> Tensor:
    return torch.stack(list(rows)).mean(dim=0)


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
    return run_checkpoint_command(
        to_general_tokens,
        __doc__,
        "of six-track tokens, such as pretrained/six_track/model.pt",
        "checkpoint to write, for --finetune-from-model",
        logger,
    )


if __name__ == "__main__":
    sys.exit(main())
