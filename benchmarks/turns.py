"""Several things timed in turns, so that other programs slow all of them alike."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple


class Seconds(NamedTuple):
    """On the clock, and of all threads on CPUs, which other programs disturb less."""

    wall: float
    cpu: float


def timed(action: Callable[[], object]) -> Seconds:
    """Run ``action`` once."""
    began = time.perf_counter(), time.process_time()
    action()
    return Seconds(time.perf_counter() - began[0], time.process_time() - began[1])


def median_ms(turns: Sequence[Seconds]) -> tuple[float, float]:
    """Wall-clock and CPU milliseconds."""
    wall, cpu = (1e3 * statistics.median(clock) for clock in zip(*turns))
    return wall, cpu


def median_ratios(turns: Sequence[Seconds], others: Sequence[Seconds]) -> tuple[float, float]:
    """Of the first to the second, turn by turn: wall-clock and CPU."""
    wall, cpu = (
        statistics.median(mine / other for mine, other in zip(*clocks)) for clocks in zip(zip(*turns), zip(*others))
    )
    return wall, cpu
