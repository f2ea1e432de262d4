"""What all stages share: their arguments, and how one goes on after a candidate that failed."""

from __future__ import annotations

import argparse
import os
import sys
import traceback
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import NamedTuple

import torch

from benchmarks.candidates import why_not

from .rows import Rows


class StageArguments(NamedTuple):
    """``names``: what to measure, all if there are none. ``failed``: whether something did before a fresh start."""

    device: torch.device
    rows: Rows
    tokens: int
    names: list[str]
    failed: bool

    @property
    def on_gpu(self) -> bool:
        """Whether sizes are those of the model; else of a trial on a CPU, under the interpreter."""
        return self.device.type == "cuda"


def stage_arguments(stage: str) -> StageArguments:
    """Read the command line of ``stage``."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--device", default="cuda", type=torch.device, help="a trial run takes cpu, and toy sizes")
    parser.add_argument("--rows", type=Path, required=True, help="the file of JSON lines that rows are appended to")
    parser.add_argument("--tokens", type=int, default=0, help="of the piece, where one is measured")
    parser.add_argument("--only", nargs="*", default=[], help="what to measure, by name")
    parser.add_argument("--failed", action="store_true", help="what came before failed")
    args = parser.parse_args()
    return StageArguments(args.device, Rows(stage, args.rows), args.tokens, args.only, args.failed)


def run_each(
    arguments: StageArguments, candidates: Sequence[tuple[str, Callable[[], None]]], may_fail: Sequence[str] = ()
) -> int:
    """Measure one candidate after another; the exit status, 1 where one failed that is not in ``may_fail``.

    What fails gets a row that says why, and its traceback goes to the log. After an error that has cost the process
    its device (an illegal memory access) the rest is measured by a fresh process in its place.
    """
    failed = arguments.failed
    chosen = [one for one in candidates if not arguments.names or one[0] in arguments.names]
    for number, (name, measure) in enumerate(chosen):
        try:
            measure()
        except Exception as error:
            traceback.print_exc()
            arguments.rows.add(name, failed=why_not(error))
            failed = failed or not (name in may_fail or isinstance(error, torch.OutOfMemoryError))
            if _has_lost_its_device(arguments.device):
                rest = [name for name, _ in chosen[number + 1 :]]
                if rest:
                    _start_anew(rest)
                break
        if arguments.on_gpu:
            torch.cuda.empty_cache()
    return int(failed)


def _has_lost_its_device(device: torch.device) -> bool:
    try:
        torch.zeros(1, device=device).item()
    except RuntimeError:
        return True
    return False


def _start_anew(names: Sequence[str]) -> None:
    """Become a fresh process that measures ``names``; what the process had on the device is given back."""
    command = sys.orig_argv[: sys.orig_argv.index("--only")] if "--only" in sys.orig_argv else list(sys.orig_argv)
    command = [argument for argument in command if argument != "--failed"]
    sys.stdout.flush()
    os.execv(sys.executable, [sys.executable, *command[1:], "--failed", "--only", *names])
