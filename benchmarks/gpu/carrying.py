"""A checkpoint of fairseq's made small enough to be carried to the next run: in parts, without what is soon there.

    python -m benchmarks.gpu.carrying pack checkpoint_last.pt FOLDER
    python -m benchmarks.gpu.carrying unpack FOLDER checkpoint_last.pt

Muon's momentum is as large as the weights in float32 and is there again after twenty updates; the weights are carried
as fairseq keeps them, with --bf16 rounded, without the float32 copies that Muon changes; what AdamW keeps, of fewer
parameters, is rounded too. So a carried training goes on nearly as it would have. Schedule, place in the epoch and
number of updates stay. ``unpack`` prints the seconds that have been trained.
"""

from __future__ import annotations

import argparse
import io
import sys
import zlib
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

_PART = 15 << 20  # bytes
_NAME = "checkpoint.part"


def pack(checkpoint: Path, folder: Path) -> list[Path]:
    """Write ``checkpoint`` into parts in ``folder``, in place of those of before; returns them."""
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)
    state["last_optimizer_state"].pop("full_precision", None)
    for kept in state["last_optimizer_state"]["state"].values():
        kept.update({name: _light(name, value) for name, value in kept.items()})
    memory = io.BytesIO()
    torch.save(state, memory)
    written = zlib.compress(memory.getvalue())  # of bfloat16 a fifth is saved
    parts = []
    for number, start in enumerate(range(0, len(written), _PART)):
        parts.append(folder / f"{_NAME}{number}")
        parts[-1].write_bytes(written[start : start + _PART])
    for old in set(_parts(folder)) - set(parts):
        old.unlink()
    return parts


def unpack(folder: Path, checkpoint: Path) -> float:
    """Join the parts in ``folder`` into ``checkpoint``; the seconds trained so far. Raises FileNotFoundError."""
    parts = _parts(folder)
    if not parts:
        raise FileNotFoundError(f"{folder} has no {_NAME}0")
    written = zlib.decompress(b"".join(part.read_bytes() for part in parts))
    state = torch.load(io.BytesIO(written), map_location="cpu", weights_only=True)
    checkpoint.parent.mkdir(parents=True, exist_ok=True)
    checkpoint.write_bytes(written)
    return float(state["extra_state"].get("previous_training_time", 0))


def _parts(folder: Path) -> list[Path]:
    return sorted(folder.glob(f"{_NAME}*"), key=lambda part: int(part.name.removeprefix(_NAME)))


def _light(name: str, value: Any) -> Any:
    if not isinstance(value, Tensor) or not value.is_floating_point() or value.dim() == 0:
        return value
    if name == "momentum_buffer":
        return torch.zeros((), dtype=torch.bfloat16).expand(value.shape)  # one number on the disk
    return value.bfloat16()


def main() -> int:
    """The exit status is 0; errors raise."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("action", choices=("pack", "unpack"))
    parser.add_argument("source", type=Path)
    parser.add_argument("target", type=Path)
    args = parser.parse_args()
    if args.action == "unpack":
        print(unpack(args.source, args.target))
        return 0
    for part in pack(args.source, args.target):
        print(part.name, part.stat().st_size)
    return 0


if __name__ == "__main__":
    sys.exit(main())
