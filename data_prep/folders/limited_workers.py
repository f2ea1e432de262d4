"""Run a function on many items in worker processes that may hang, die or run out of memory.

A batch over files of strangers must outlive each of them: every item has a time and a memory limit, and
whatever becomes of its worker is reported as that item's failure while the others go on.
"""

from __future__ import annotations

import contextlib
import logging
import math
import multiprocessing
import resource
import signal
import time
import traceback
from collections.abc import Callable, Generator, Iterable, Sequence
from dataclasses import dataclass
from itertools import islice
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkProcess
from pathlib import Path
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Result = TypeVar("Result")

_MIB = 2**20
_ALARM_SLACK_SECONDS = 5
_fork = multiprocessing.get_context("fork")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Limits:
    """What one item may take: wall-clock seconds, and MiB of memory on top of the empty worker's."""

    seconds: float = 60.0
    memory_mib: int = 384


@dataclass(frozen=True)
class Failure:
    """Why an item has no result; ``reason`` reads ``fault: what exactly``."""

    reason: str


@dataclass
class _Worker(Generic[Item]):
    process: ForkProcess
    connection: Connection
    item: Item
    deadline: float


def run_limited(
    function: Callable[[Item], Result], items: Iterable[Item], workers: int, limits: Limits
) -> Generator[tuple[Item, Result | Failure], None, None]:
    """Yield (item, result or Failure) for every item, in the order in which they finish.

    ``items`` are taken one by one as workers become free.

    ``function`` runs in forked processes, ``workers`` at a time; its results must be picklable. An
    exception in it, a crash, and a limit that is passed become a Failure. Closing the iterator ends the
    workers.
    """
    waiting = iter(items)
    busy: list[_Worker[Item]] = []
    try:
        for item in islice(waiting, workers):
            busy.append(_start(function, item, limits, busy))
        while busy:
            patience = min(worker.deadline for worker in busy) - time.monotonic()
            answered = wait([worker.connection for worker in busy], timeout=max(0.0, patience))
            for worker in list(busy):
                if worker.connection in answered:
                    outcome, alive = _receive(worker, limits)
                elif time.monotonic() >= worker.deadline:
                    outcome, alive = Failure(f"too slow: it takes more than {limits.seconds:g} s"), False
                else:
                    continue
                item, following = worker.item, list(islice(waiting, 1))
                if alive and following:
                    _give(worker, following[0], limits)
                else:
                    _end(worker)
                    busy.remove(worker)
                    busy += [_start(function, next_item, limits, busy) for next_item in following]
                yield item, outcome
    finally:
        for worker in busy:
            _end(worker)


def _start(
    function: Callable[[Item], Any], item: Item, limits: Limits, others: Sequence[_Worker[Item]]
) -> _Worker[Item]:
    ours, theirs = _fork.Pipe()
    # A forked worker inherits our ends of all pipes; it must close them, or no worker would ever see
    # that this process is gone.
    inherited = [ours, *(other.connection for other in others)]
    process = _fork.Process(target=_serve, args=(function, theirs, inherited, limits), daemon=True)
    process.start()
    theirs.close()
    worker = _Worker(process, ours, item, math.inf)
    _give(worker, item, limits)
    return worker


def _give(worker: _Worker[Item], item: Item, limits: Limits) -> None:
    worker.item, worker.deadline = item, time.monotonic() + limits.seconds
    with contextlib.suppress(BrokenPipeError):  # a dead worker is noticed when its answer is read
        worker.connection.send(item)


def _receive(worker: _Worker[Item], limits: Limits) -> tuple[Any, bool]:
    """The outcome of the worker's item, and whether the worker can take another."""
    try:
        kind, value = worker.connection.recv()
    except (EOFError, OSError):
        worker.process.join()
        code = worker.process.exitcode or 0  # never None behind join
        how = f"killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return Failure(f"crash: the process that read it was {how}"), False
    if kind == "result":
        return value, True
    if kind == "memory":
        return Failure(f"too large: it takes more than {limits.memory_mib} MiB of memory"), False
    _logger.debug("%s: %s", worker.item, value)
    return Failure(f"crash: {value.strip().splitlines()[-1]}"), True


def _end(worker: _Worker[Any]) -> None:
    worker.connection.close()
    worker.process.kill()
    worker.process.join()


def _serve(
    function: Callable[[Item], Any], connection: Connection, inherited: Sequence[Connection], limits: Limits
) -> None:
    """The life of a worker: items come through ``connection`` until it closes."""
    for other in inherited:
        other.close()
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # Ctrl-C is the parent's to handle
    signal.signal(signal.SIGALRM, signal.SIG_DFL)
    _limit_memory(limits.memory_mib)
    with contextlib.suppress(EOFError, BrokenPipeError, ConnectionResetError):
        while True:
            item = connection.recv()
            # Should the parent be killed, nobody else ends a worker that hangs.
            signal.alarm(math.ceil(limits.seconds) + _ALARM_SLACK_SECONDS)
            try:
                answer = ("result", function(item))
            except MemoryError:
                answer = ("memory", "")
            except Exception:  # whatever it is, it belongs to this item and must not end the batch
                answer = ("error", traceback.format_exc())
            signal.alarm(0)
            connection.send(answer)
            if answer[0] == "memory":
                return  # its heap may be in pieces; a fresh worker takes over


def _limit_memory(memory_mib: int) -> None:
    """Let the address space grow by no more than ``memory_mib``; without /proc nothing is limited."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    try:
        pages = int(Path("/proc/self/statm").read_text().split()[0])
    except OSError:
        return
    limit = pages * resource.getpagesize() + memory_mib * _MIB
    _, hard = resource.getrlimit(resource.RLIMIT_AS)
    if hard != resource.RLIM_INFINITY:
        limit = min(limit, hard)
    resource.setrlimit(resource.RLIMIT_AS, (limit, hard))
