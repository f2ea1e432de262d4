"""A training that runs for minutes at a time: it stops itself, leaves all in one folder, and goes on from there.

    python -m benchmarks.gpu.train_run OUT DATA_BIN [--go-on-from FOLDER_OF_BEFORE] [--wheels FOLDER]

Our recipe (rotary positions, Muon, windows of bars) in bfloat16 on a GPU. OUT gets the checkpoint in parts, the losses
so far (``curve.jsonl``), songs (``songs.tar.gz``), a table of what ran and its logs.
"""

from __future__ import annotations

import argparse
import shlex
import shutil
import sys
import tarfile
import tempfile
from collections.abc import Sequence
from pathlib import Path

from .carrying import unpack
from .report import write_report
from .runner import Stage, run_stages
from .stages import environment, install_wheels

_SONGS, _PACKING, _VALIDATION = 75, 30, 30  # seconds
_PLUGIN = str(Path(__file__).resolve().parents[2] / "museformer_plugin")
_OPTIMIZER = "--optimizer muon --lr 0.04 --adamw-lr 6e-3 --weight-decay 0.01 --dropout 0 --attention-dropout 0"
_TASK = ("--user-dir", _PLUGIN, "--task", "museformer_language_modeling")


def training(args: argparse.Namespace, save_dir: Path, stop_seconds: float) -> list[str]:
    """The command, which stops when ``stop_seconds`` have been trained, those of earlier runs counted in."""
    updates = args.max_update
    command = [sys.executable, "-m", "fairseq_cli.train", str(args.data_bin), *_TASK, "--arch", args.arch]
    command += _OPTIMIZER.split()
    command += f"--lr-scheduler polynomial_decay --warmup-updates 40 --total-num-update {updates} --power 0.5".split()
    command += ["--window-tokens", args.window_tokens]
    command += ["--window-updates", f"{max(1, updates * 3 // 10)},{max(2, updates * 9 // 10)}"]
    command += f"--criterion cross_entropy --batch-size {args.batch_size} --max-update {updates} --seed 1".split()
    command += f"--num-workers {4 if args.device == 'cuda' else 0} --log-format json --log-interval 100".split()
    command += f"--no-epoch-checkpoints --save-interval-updates {args.save_every} --keep-interval-updates 1".split()
    command.append("--disable-validation")  # it comes last, when the checkpoint is safe
    command += ["--save-dir", str(save_dir), "--stop-time-hours", f"{stop_seconds / 3600:.5f}"]
    return [*command, "--bf16" if args.device == "cuda" else "--cpu"]


def writing(args: argparse.Namespace, checkpoint: Path, folder: Path) -> list[str]:
    """A shell command that writes songs from scratch into ``folder`` and packs them into OUT."""
    prompts, text, midi = folder / "prompts.txt", folder / "generated.txt", folder / "midi"
    prompts.write_text("\n" * args.songs)
    python = sys.executable
    write = [python, "-m", "fairseq_cli.interactive", str(args.data_bin), *_TASK, "--path", str(checkpoint)]
    write += ["--input", str(prompts), "--buffer-size", str(args.songs), "--batch-size", str(args.songs), "--seed", "1"]
    write += f"--sampling --sampling-topk 8 --beam 1 --nbest 1 --max-len-b {args.longest_song}".split()
    write.append("--bf16" if args.device == "cuda" else "--cpu")
    read = [python, "-m", "data_prep.tokens_to_midi", str(text), str(midi)]
    pack = ["tar", "czf", str(args.out / "songs.tar.gz"), "-C", str(folder), "generated.txt", "midi"]
    return ["bash", "-c", f"{shlex.join(write)} >{shlex.quote(str(text))} && {shlex.join(read)} && {shlex.join(pack)}"]


def unpacked(archive: Path, folder: Path) -> Path:
    """The folder with the ``dict.txt`` of what ``archive`` holds, whose files are unpacked into ``folder``.

    What is no file, or would lie outside of it, is left out; ``extractall`` has its filters from Python 3.11.4 on.
    """
    with tarfile.open(archive) as packed:
        for member in packed:
            path = (folder / member.name).resolve()
            content = packed.extractfile(member) if path.is_relative_to(folder.resolve()) else None
            if content is not None and member.isfile():
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("wb") as out:
                    shutil.copyfileobj(content, out)
    return min((found.parent for found in folder.rglob("dict.txt")), default=folder)


def all_stages(args: argparse.Namespace, work: Path, logs: Path) -> list[Stage]:
    """The training and what makes files of it; raises FileNotFoundError where there is nothing to go on from."""
    site, checkpoint, songs = work / "site", work / "checkpoints" / "checkpoint_last.pt", work / "songs"
    songs.mkdir()
    trained = 0.0
    if args.go_on_from is not None:
        trained = unpack(args.go_on_from, checkpoint)
        before = args.go_on_from / "curve.jsonl"
        if before.exists() and before.resolve() != (args.out / "curve.jsonl").resolve():
            shutil.copy(before, args.out / "curve.jsonl")
    limit = args.seconds - _SONGS - _PACKING - _VALIDATION - (40 if args.wheels else 0)
    paths = environment(site)
    stages = [install_wheels(args.wheels, site)] if args.wheels else []
    stages.append(Stage("training", limit, training(args, checkpoint.parent, trained + limit - args.around), paths))
    module, curve = [sys.executable, "-m"], str(args.out / "curve.jsonl")
    losses = [*module, "benchmarks.gpu.curve"]
    stages.append(Stage("curve", 15, [*losses, str(logs / "training.txt"), curve], paths))
    pack = [*module, "benchmarks.gpu.carrying", "pack", str(checkpoint), str(args.out)]
    stages.append(Stage("checkpoint", _PACKING, pack, paths))
    stages.append(Stage("songs", _SONGS, writing(args, checkpoint, songs), paths))
    validate = [*module, "fairseq_cli.validate", str(args.data_bin), *_TASK, "--path", str(checkpoint)]
    validate += ["--batch-size", "1", "--log-format", "json", "--bf16" if args.device == "cuda" else "--cpu"]
    stages.append(Stage("validation", _VALIDATION, validate, paths))
    stages.append(Stage("its loss", 15, [*losses, str(logs / "validation.txt"), curve], paths))
    return stages


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 where a stage did not do all it should."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="a folder for all files")
    parser.add_argument("data_bin", type=Path, help="what fairseq-preprocess wrote, or a .tar.gz of its files")
    parser.add_argument("--go-on-from", type=Path, help="the folder that the run before left")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels that fairseq needs here")
    parser.add_argument("--seconds", type=float, default=560, help="for everything")
    parser.add_argument("--around", type=float, default=60, help="of these, before the first update and after the last")
    parser.add_argument("--max-update", type=int, default=20000, help="of all runs together; the rates depend on it")
    parser.add_argument("--save-every", type=int, default=2000, help="updates between checkpoints")
    parser.add_argument("--arch", default="museformer_rotary")
    parser.add_argument("--window-tokens", default="1280,2560,10240")
    parser.add_argument("--batch-size", type=int, default=1, help="windows of an update")
    parser.add_argument("--songs", type=int, default=4)
    parser.add_argument("--longest-song", type=int, default=10240, help="tokens")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    args = parser.parse_args(arguments)
    args.out, args.data_bin = args.out.resolve(), args.data_bin.resolve()
    args.out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        work, logs = Path(folder), Path(folder, "logs")
        logs.mkdir()
        if args.data_bin.is_file():
            args.data_bin = unpacked(args.data_bin, work / "data-bin")
        if not (args.data_bin / "dict.txt").is_file():
            parser.error(f"{args.data_bin} has no dict.txt: name the folder that fairseq-preprocess wrote")
        try:
            stages = all_stages(args, work, logs)
        except FileNotFoundError as error:
            parser.error(f"there is nothing to go on from: {error}")
        title = f"benchmarks/gpu_train.sh, {args.arch}, {args.max_update} updates"
        outcomes = run_stages(stages, args.seconds, logs, lambda found: write_report(args.out, title, found, logs))
        print(write_report(args.out, title, outcomes, logs), flush=True)
    return int(any(outcome.verdict != "done" for outcome in outcomes) or len(outcomes) < len(stages))


if __name__ == "__main__":
    sys.exit(main())
