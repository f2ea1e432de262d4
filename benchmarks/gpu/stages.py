"""All that needs a GPU, the most valuable first, in one run that always ends in time with what it has.

    python -m benchmarks.gpu.stages OUT [--wheels FOLDER] [--seconds 520] [--device cpu]

OUT gets three files: ``table.md``, ``rows.jsonl``, ``rest.tar.gz`` (the logs). A stage that fails or hangs says so
in the table, and the next goes on. The operator's stages need PyTorch, Triton and NumPy alone; ``--wheels`` are
installed into a folder of their own for those that need fairseq. ``--device cpu`` is a trial of the same code under
Triton's interpreter, at sizes that say nothing.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path

from .report import ROWS, write_report
from .runner import Stage, run_stages

_TESTS = ("tests/museformer_plugin/fc_attention/triton", "tests/museformer_plugin/test_recorded_steps.py")
_QUICK_TEST = "tests/museformer_plugin/fc_attention/triton/test_dropout.py::test_the_seed_decides"


def all_stages(device: str, rows: Path, wheels: Path | None, site: Path) -> list[Stage]:
    """The stages in their order, with the seconds each may take."""

    def stage(name: str, seconds: float, module: str, *more: str, fairseq: bool = False) -> Stage:
        command = [sys.executable, "-m", f"benchmarks.gpu.{module}", "--device", device, "--rows", str(rows), *more]
        return Stage(name, seconds, command, _for_kernels(device, site if fairseq else None))

    on_gpu = device == "cuda"
    lengths = (15360, 36864) if on_gpu else (200, 300)
    stages = [stage("imports", 30, "imports", "--only", "torch", "numpy", "triton")]
    stages.append(stage("compiling", 90, "compiling"))
    stages.append(stage("checking", 60, "checking"))
    for length in lengths:
        stages.append(stage(f"operator-{length}", 100, "operating", "--tokens", str(length)))
    if wheels is not None:
        stages.append(install_wheels(wheels, site))
    needed = ("numpy", "fairseq.data.data_utils_fast", "museformer_plugin")
    stages.append(stage("fairseq", 40, "imports", "--only", *needed, fairseq=True))
    stages.append(stage("update", 110, "updating", "--tokens", str(lengths[0]), fairseq=True))
    stages.append(stage("decoding", 90, "decoding", fairseq=True))
    tests = _TESTS if on_gpu else (_QUICK_TEST,)
    pytest = [sys.executable, "-m", "pytest", "-q", "-n", "auto" if on_gpu else "2", "--import-mode=importlib", *tests]
    stages.append(Stage("tests", 150, pytest, _for_kernels(device, site)))
    return stages


def install_wheels(wheels: Path, site: Path) -> Stage:
    """The stage that puts ``wheels`` into the folder ``site``, without a network."""
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-index", "--no-deps", "--no-compile", "--target"]
    return Stage("wheels", 40, [*pip, str(site), *map(str, _chosen(wheels))])


def _chosen(wheels: Path) -> list[Path]:
    """All but NumPy's, where there is one: SciPy and scikit-learn beside it do not go with an older one."""
    found = sorted(wheels.glob("*.whl"))
    return found if find_spec("numpy") is None else [wheel for wheel in found if not wheel.name.startswith("numpy-")]


def environment(site: Path | None) -> dict[str, str]:
    """``site`` before the repository, before what ``PYTHONPATH`` names already."""
    given = os.environ.get("PYTHONPATH")
    paths = [str(site)] if site is not None else []
    paths += [str(Path(__file__).resolve().parents[2]), *([given] if given else [])]
    return {"PYTHONPATH": os.pathsep.join(paths), "TRITON_CACHE_AUTOTUNING": "1"}  # shapes tuned are kept


def _for_kernels(device: str, site: Path | None) -> dict[str, str]:
    return environment(site) if device == "cuda" else {**environment(site), "TRITON_INTERPRET": "1"}


def _title(device: str) -> str:
    command, commit = ["git", "rev-parse", "--short", "HEAD"], ""
    if shutil.which("git"):
        commit = subprocess.run(command, capture_output=True, text=True).stdout.strip()
    return f"benchmarks/gpu.sh, commit {commit or 'unknown'}, {'CUDA' if device == 'cuda' else 'a trial on a CPU'}"


def main(arguments: Sequence[str] | None = None) -> int:
    """The exit status: 1 where a stage did not do all it should."""
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("out", type=Path, help="a folder for the three files")
    parser.add_argument("--wheels", type=Path, help="a folder of wheels that fairseq needs here")
    parser.add_argument("--seconds", type=float, default=520, help="for everything")
    parser.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    args = parser.parse_args(arguments)
    args.out.mkdir(parents=True, exist_ok=True)
    rows = (args.out / ROWS).resolve()
    rows.unlink(missing_ok=True)
    title = _title(args.device)
    with tempfile.TemporaryDirectory() as folder:
        logs, site = Path(folder, "logs"), Path(folder, "site")
        logs.mkdir()
        stages = all_stages(args.device, rows, args.wheels, site)
        outcomes = run_stages(stages, args.seconds, logs, lambda found: write_report(args.out, title, found, logs))
        print(write_report(args.out, title, outcomes, logs), flush=True)
    return int(any(outcome.verdict != "done" for outcome in outcomes) or len(outcomes) < len(stages))


if __name__ == "__main__":
    sys.exit(main())
