"""Puts small faults into a copy of the repository, one at a time, and says which of them the tests catch.

    .venv/bin/python tests/faults.py                 # all in fault_table.py: a quarter of an hour or more
    .venv/bin/python tests/faults.py 3 17 40 --count 2  # the first two of these

Not part of ``test.sh``. Exit status 0 when every fault is caught: the tests beside it in the table fail. Tests that are
skipped catch nothing, as those of bfloat16 on a CPU without instructions for it.
"""

from __future__ import annotations

import argparse
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

from fault_table import FAULTS, Fault

REPOSITORY = Path(__file__).resolve().parent.parent
SECONDS = 600  # for the tests of one fault, on a busy machine too
OUTCOMES = {0: "survived", 1: "caught", None: "too slow"}  # by the exit status of pytest


def copy_repository(folder: Path) -> None:
    """All files that git does not ignore, as they are in the working tree, and a link to ``.venv``."""
    listed = ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listed, cwd=REPOSITORY, capture_output=True, check=True, text=True).stdout.split("\0")
    for name in filter(None, names):
        if (REPOSITORY / name).is_file():  # and not removed since the last commit
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy2(REPOSITORY / name, folder / name)
    (folder / ".venv").symlink_to((REPOSITORY / ".venv").resolve())


def run_tests(folder: Path, tests: list[str], seconds: float, output: int | None = None) -> int | None:
    """The exit status of pytest; None when the time is over."""
    # modules compiled with one fault are not those of the next, which may come within the same second
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    command = [sys.executable, "-m", "pytest", "-x", "-q", *(f"tests/{test}" for test in tests)]
    try:
        return subprocess.run(command, cwd=folder, env=environment, stdout=output, timeout=seconds).returncode
    except subprocess.TimeoutExpired:
        return None


def outcome_of(fault: Fault, folder: Path) -> str:
    """``caught``, ``survived``, or why neither can be said."""
    path = folder / fault.file
    text = path.read_text()
    if text.count(fault.old) != 1:
        return f"its text is there {text.count(fault.old)} times"
    path.write_text(text.replace(fault.old, fault.new))
    status = run_tests(folder, fault.tests.split(), SECONDS, subprocess.DEVNULL)
    path.write_text(text)
    return OUTCOMES.get(status, f"pytest ends with {status}")


def main() -> int:
    """The command; returns its exit status."""
    everything = range(1, len(FAULTS) + 1)
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument(
        "numbers", type=int, nargs="*", choices=everything, metavar="N", help="of faults (default: all)"
    )
    parser.add_argument("--count", type=int, help="how many of these, from the first on")
    options = parser.parse_args()
    chosen = (options.numbers or everything)[: options.count]
    outcomes = []
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        copy_repository(folder)
        tests = sorted({test for number in chosen for test in FAULTS[number - 1].tests.split()})
        if run_tests(folder, tests, SECONDS * len(tests)) != 0:
            print("The tests must pass without a fault first.")
            return 1
        for number in chosen:
            fault = FAULTS[number - 1]
            outcomes.append(outcome_of(fault, folder))
            change = f"{' '.join(fault.old.split())} -> {' '.join(fault.new.split()) or 'nothing'}"
            print(f"{number:3}  {outcomes[-1]:8}  {fault.file}: {change}", flush=True)
    print(f"{outcomes.count('caught')} of {len(outcomes)} caught")
    return int(outcomes.count("caught") < len(outcomes))


if __name__ == "__main__":
    sys.exit(main())
