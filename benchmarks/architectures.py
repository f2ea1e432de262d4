"""What architectures cost: an update and a written token as pieces grow, and the memory of an update.

    python -m benchmarks.architectures museformer_rotary_tiny longformer_rotary_tiny "lstm_lm --decoder-layers 2"

An architecture is what ``--arch`` takes, with options of its own behind it. An update is forward and backward of one
piece, in a process of its own; its memory is what the process has at its peak beyond what it had before. Tokens are
written behind pieces of all lengths in turns; ``growth`` is the time of one behind the longest over that of one behind
the shortest, the median of the turns. Weights are random, dropout is off.
"""

from __future__ import annotations

import argparse
import json
import resource
import statistics
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import torch
import torch.nn.functional as F
from fairseq.models import FairseqModel
from torch import Tensor
from tqdm import tqdm

from benchmarks.configured import configured
from benchmarks.pieces import random_piece, six_track_dictionary
from benchmarks.turns import Seconds, median_ratios, timed
from museformer_plugin.models.any_fairseq import writing_model
from museformer_plugin.token_families import TokenFamilies

STEPS = 100  # over which the time of a step is taken

Figures = dict[str, float]


def build(arch: str, longest: int) -> FairseqModel:
    """The model of ``--arch``, without dropout; fairseq's own for pieces of ``longest`` tokens."""
    task, cfg = configured(["--tokens-per-sample", str(longest), "--dropout", "0", "--arch", *arch.split()])
    if "attention_dropout" in cfg.model:
        cfg.model.attention_dropout = 0.0
    torch.manual_seed(1)
    return task.build_model(cfg.model)


def measure_update(model: FairseqModel, length: int, repeats: int) -> Figures:
    """Median seconds of forward and backward of a piece, wall-clock and CPU; GiB at its peak beyond those before."""
    model.train()
    before = int(Path("/proc/self/statm").read_text().split()[1]) * resource.getpagesize() / 2**30
    pieces = [random_piece(length, six_track_dictionary(), seed) for seed in range(repeats + 1)]

    def update(piece: Tensor) -> None:
        F.cross_entropy(model(piece[None])[0].float().flatten(0, 1)[:-1], piece[1:]).backward()
        model.zero_grad(set_to_none=True)

    turns = [timed(lambda piece=piece: update(piece)) for piece in pieces][1:]
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return {**_medians(turns), "peak_gib": peak - before}


@torch.no_grad()
def measure_steps(model: FairseqModel, lengths: Sequence[int], repeats: int) -> dict[str, Figures]:
    """Median seconds of a step of one stream behind each of ``lengths`` tokens, of ``repeats`` times ``STEPS`` in
    turns, and the growth from the first length to the last."""
    model.eval()
    dictionary = six_track_dictionary()
    writer = writing_model(model, TokenFamilies(dictionary))
    turns: dict[int, list[Seconds]] = {length: [] for length in lengths}
    pieces = {length: random_piece(length + STEPS * (repeats + 1), dictionary, seed=1) for length in lengths}
    streams = {length: writer.read_prompts([piece[:length]])[1] for length, piece in pieces.items()}

    def write(length: int, turn: int) -> None:
        for token in pieces[length][length:].split(STEPS)[turn]:
            writer.step(token[None], streams[length])

    for turn in range(repeats + 1):
        for length in lengths:
            turns[length].append(timed(lambda turn=turn, length=length: write(length, turn)))
    counted = {length: found[1:] for length, found in turns.items()}
    of_step = {
        f"step {length}": {name: seconds / STEPS for name, seconds in _medians(found).items()}
        for length, found in counted.items()
    }
    wall, cpu = median_ratios(counted[lengths[-1]], counted[lengths[0]])
    return {**of_step, "growth": {"wall": wall, "cpu": cpu}}


def _medians(turns: list[Seconds]) -> Figures:
    return {
        "wall": statistics.median(turn.wall for turn in turns),
        "cpu": statistics.median(turn.cpu for turn in turns),
    }


def _measure_apart(kind: str, arch: str, lengths: Sequence[int], repeats: int) -> dict[str, Figures]:
    """What ``--one`` prints, in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.architectures", arch, "--one", kind, "--repeats", str(repeats)]
    done = subprocess.run([*command, f"--{kind}-lengths", *map(str, lengths)], capture_output=True, text=True)
    if done.returncode:
        raise RuntimeError(done.stderr[-2000:])
    return json.loads(done.stdout.splitlines()[-1])


def _table(results: dict[str, dict[str, Figures]], updates: list[int], steps: list[int]) -> str:
    """A row for each architecture."""
    header = ["architecture", "parameters"]
    header += [f"update of {length:,}, tokens/s" for length in updates] + [f"GiB at {length:,}" for length in updates]
    header += [f"written behind {length:,}, tokens/s" for length in steps] + ["growth"]
    lines = [f"| {' | '.join(header)} |", "|---" * len(header) + "|"]
    for arch, found in results.items():
        seconds = [found[f"step {length}"]["wall"] for length in steps]
        cells = [arch, f"{found['model']['parameters']:,}"]
        cells += [f"{length / found[f'update {length}']['wall']:,.0f}" for length in updates]
        cells += [f"{found[f'update {length}']['peak_gib']:.2f}" for length in updates]
        cells += [f"{1 / second:,.0f}" for second in seconds] + [f"{found['growth']['wall']:.2f}"]
        lines.append(f"| {' | '.join(cells)} |")
    return "\n".join(lines)


def main() -> None:
    """The command: prints a table and writes JSON."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("archs", nargs="+", metavar="ARCH", help='such as longformer_tiny or "longformer --window 99"')
    parser.add_argument("--update-lengths", type=int, nargs="+", default=[2560, 10240, 36864], help="tokens of a piece")
    parser.add_argument("--step-lengths", type=int, nargs="+", default=[1000, 15000], help="tokens read before")
    parser.add_argument("--repeats", type=int, default=3, help="turns after one to warm up")
    parser.add_argument("--json", type=Path, help="write the figures here")
    parser.add_argument("--one", choices=("update", "step"), help=argparse.SUPPRESS)
    args = parser.parse_args()
    if args.one:
        lengths = args.update_lengths if args.one == "update" else args.step_lengths
        model = build(args.archs[0], max(lengths) + STEPS * (args.repeats + 1))
        if args.one == "update":
            print(json.dumps({f"update {lengths[0]}": measure_update(model, lengths[0], args.repeats)}))
        else:
            print(json.dumps(measure_steps(model, lengths, args.repeats)))
        return
    results: dict[str, dict[str, Figures]] = {}
    for arch in tqdm(args.archs, desc="architectures"):
        parameters = sum(parameter.numel() for parameter in build(arch, 1000).parameters())
        results[arch] = {"model": {"parameters": parameters}}
        for length in args.update_lengths:
            results[arch].update(_measure_apart("update", arch, [length], args.repeats))
        results[arch].update(_measure_apart("step", arch, args.step_lengths, args.repeats))
        if args.json:
            args.json.write_text(json.dumps(results, indent=1) + "\n")
    print(_table(results, args.update_lengths, args.step_lengths))


if __name__ == "__main__":
    main()
