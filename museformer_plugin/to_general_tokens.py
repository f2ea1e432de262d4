"""A six-track model to train on with general tokens: ``python -m museformer_plugin.to_general_tokens MODEL OUT.pt``.

Rows of tokens that both dictionaries have are kept; a program gets those of the track that would take it; any other
token gets the mean of its family, or of all tokens where the family is new. ``--finetune-from-model OUT.pt`` goes on
from there.
"""

from __future__ import annotations

import argparse
import logging
import sys
from functools import partial
from pathlib import Path

import torch
from torch import Tensor

from data_prep.tokens.vocabulary import GENERAL, SIX_TRACK, split_token

from .checkpoint_files import checkpoint_of, run_checkpoint_command, write_checkpoint
from .errors import UserError
from .export_checkpoint import SPECIALS, options_of, read_trained
from .steering.conditions import ConditionColumns

logger = logging.getLogger(__name__)

_TRACK_OF = {program: rank for rank, track in enumerate(SIX_TRACK.tracks) for program in track.takes}
_TRACK_OF |= {track.instrument: rank for rank, track in enumerate(SIX_TRACK.tracks)}


def general_parameters(parameters: dict[str, Tensor]) -> dict[str, Tensor]:
    """``parameters`` of a six-track model as those of a model of general tokens, float32.

    Rows of tokens, and what may be said of tracks, are laid out anew; all else is as it was. Raises UserError where the
    model is not of six-track tokens.
    """
    entries = len(parameters.get("decoder.embedding.token.weight", ()))
    if entries != SPECIALS + len(SIX_TRACK.symbols()):
        raise UserError(f"The model has {entries} dictionary entries, not those of six_track.")
    general = {}
    for name, tensor in parameters.items():
        tensor = tensor.float() if tensor.is_floating_point() else tensor.clone()
        if name in ("decoder.embedding.token.weight", "decoder.output_projection.weight"):
            tensor = _rows_of_tokens(tensor)
        elif name.startswith(("decoder.conditions", "decoder.late_conditions")):
            tensor = _rows_of_conditions(tensor)
        general[name] = tensor
    return general


def _rows_of_tokens(rows: Tensor) -> Tensor:
    """float [entries of general, D] of those of six_track."""
    known = {symbol: SPECIALS + n for n, symbol in enumerate(SIX_TRACK.symbols())}
    of_family: dict[str, list[int]] = {}
    for symbol, row in known.items():
        of_family.setdefault(symbol.split("-")[0], []).append(row)

    def row_of(symbol: str) -> Tensor:
        family, number = split_token(symbol)
        if family == "i" and number in _TRACK_OF:
            symbol = f"i-{SIX_TRACK.instruments[_TRACK_OF[number]]}"
        if symbol in known:
            return rows[known[symbol]]
        return rows[of_family.get(family, list(known.values()))].mean(dim=0)

    return torch.cat([rows[:SPECIALS], torch.stack([row_of(symbol) for symbol in GENERAL.symbols()])])


def _rows_of_conditions(rows: Tensor) -> Tensor:
    """float [features of general, D] of those of six_track: the last are whether each instrument plays."""
    tracks = len(SIX_TRACK.instruments)
    before = ConditionColumns(tracks).width - tracks
    of_tracks = rows[before:]
    of_instruments = [
        of_tracks[_TRACK_OF[instrument]] if instrument in _TRACK_OF else of_tracks.mean(dim=0)
        for instrument in GENERAL.instruments
    ]
    return torch.cat([rows[:before], torch.stack(of_instruments)])


def to_general_tokens(trained: Path, out: Path) -> None:
    """Write the checkpoint ``out``; raises UserError where ``trained`` is of another kind or ``out`` is there."""
    if out.exists():
        raise UserError(f"{out} exists already; move it away, or name another file.")
    state = read_trained(trained)
    architecture, options = options_of(state)
    parameters = general_parameters(state["model"])
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
