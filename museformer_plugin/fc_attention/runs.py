"""Runs of consecutive numbers, without loops in Python."""

from __future__ import annotations

import numpy as np


def laid_end_to_end(starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """start, start + 1, ... of every run, end to end, in the dtype of ``starts``."""
    begins = np.cumsum(lengths) - lengths
    numbers = np.repeat(starts - begins.astype(starts.dtype), lengths)
    numbers += np.arange(len(numbers), dtype=starts.dtype)
    return numbers


def lay_into(room: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> None:
    """``laid_end_to_end`` into an array as long as all runs: long ones take no other memory."""
    some = lengths > 0
    starts, lengths = starts[some], lengths[some]
    if not len(starts):
        return
    begins = np.cumsum(lengths[:-1])
    room[:] = 1
    room[0] = starts[0]
    room[begins] = starts[1:] - (starts[:-1] + lengths[:-1] - 1)
    np.cumsum(room, out=room)


def cut(lengths: np.ndarray, size: int) -> tuple[np.ndarray, np.ndarray]:
    """Cut runs into pieces of at most ``size``: (the run, the offset in the run) of every piece."""
    pieces = -(-lengths // size)
    return np.repeat(np.arange(len(lengths)), pieces), size * laid_end_to_end(np.zeros_like(pieces), pieces)
