"""Stages one after another under one clock: a stage that fails or hangs costs no more than its own time.

Each stage is a program of its own, in a process group of its own. What it writes goes to a file, which is shown as
it grows, so that nothing waits for a pipe that some grandchild holds open.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

LEAST = 3.0  # a stage with less time than this is not begun
_TO_END, _TO_DIE = 3.0, 1.0  # seconds that a stage has when it is asked to end, and when it is ended
GRACE = _TO_END + _TO_DIE + 1
_LOOK = 0.1  # seconds between looks at a running stage


@dataclass(frozen=True)
class Stage:
    """A command, the seconds it may take at most, and what its environment has beside that of the runner."""

    name: str
    seconds: float
    command: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Outcome:
    """How a stage ended; ``verdict`` is "done" or says what went wrong."""

    name: str
    verdict: str
    seconds: float
    log: Path

    @property
    def tail(self) -> str:
        """The end of what it wrote."""
        written = self.log.read_text(errors="replace").rstrip().splitlines() if self.log.exists() else []
        return "\n".join(line for line in written[-15:] if not line.startswith("| "))


class StoppedError(Exception):
    """The runner itself was told to end."""


def run_stages(
    stages: Sequence[Stage], seconds: float, logs: Path, each: Callable[[list[Outcome]], None]
) -> list[Outcome]:
    """Run ``stages`` in order, within ``seconds`` for all, GRACE included.

    ``each`` is called with all outcomes so far whenever there is one more. A stage for which no time is left is not
    begun. Told to end (SIGTERM, SIGINT), it ends the running stage, and returns what there is.
    """
    with _stopped_by(signal.SIGTERM, signal.SIGINT):
        return _run_all(stages, time.monotonic() + seconds, logs, each)


def _run_all(stages: Sequence[Stage], end: float, logs: Path, each: Callable[[list[Outcome]], None]) -> list[Outcome]:
    outcomes: list[Outcome] = []
    for stage in stages:
        print(f"== {stage.name}", flush=True)
        log = logs / f"{stage.name}.txt"
        began = time.monotonic()
        limit = min(stage.seconds, end - began - GRACE)
        stopped = False
        if limit < LEAST:
            verdict = "not begun: no time was left"
        else:
            try:
                verdict = _run(stage, limit, log)
            except StoppedError:
                verdict, stopped = "stopped with the whole run", True
        outcomes.append(Outcome(stage.name, verdict, time.monotonic() - began, log))
        print(f"-- {stage.name}: {verdict} ({outcomes[-1].seconds:.0f} s)", flush=True)
        each(outcomes)
        if stopped:
            break
    return outcomes


@contextmanager
def _stopped_by(*numbers: signal.Signals) -> Iterator[None]:
    before = {number: signal.signal(number, _stop) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def _stop(_signal_number: int, _frame: object) -> None:
    raise StoppedError


def _run(stage: Stage, limit: float, log: Path) -> str:
    with log.open("wb") as out:
        try:
            process = subprocess.Popen(
                stage.command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=subprocess.STDOUT,
                env={**os.environ, **stage.environment, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )
        except OSError as error:
            out.write(f"{error}\n".encode())
            return f"failed: {error}"
    try:
        in_time = _wait(process, limit, log)
    finally:
        _end(process)
    if not in_time:
        return f"stopped after {limit:.0f} s"
    if process.returncode < 0:
        return f"killed by {signal.Signals(-process.returncode).name}"
    return "done" if process.returncode == 0 else f"failed with status {process.returncode}"


def _wait(process: subprocess.Popen[bytes], limit: float, log: Path) -> bool:
    """Show what it writes until it ends; whether it did in time."""
    deadline = time.monotonic() + limit
    with log.open("rb") as written:
        while True:
            ended = process.poll() is not None
            sys.stdout.write(written.read().decode(errors="replace"))
            sys.stdout.flush()
            if ended or time.monotonic() > deadline:
                return ended
            time.sleep(_LOOK)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Ask all processes of the stage to end, then end them."""
    deadline = time.monotonic() + _TO_END
    _signal(process, signal.SIGTERM)
    while process.poll() is None and time.monotonic() < deadline:
        time.sleep(_LOOK)
    _signal(process, signal.SIGKILL)
    try:
        process.wait(_TO_DIE)
    except subprocess.TimeoutExpired:  # a driver call may hold it; the runner does not wait for that
        print("(the process does not die; going on without it)", flush=True)


def _signal(process: subprocess.Popen[bytes], number: int) -> None:
    try:
        os.killpg(process.pid, number)
    except ProcessLookupError:
        return
