"""Windows of whole bars: where pieces are cut in an epoch, and which windows share a batch.

A piece is its targets ``t1 ... tn </s>``. Its ``edges``, int64 [bars + 1], are where its bars start among
them, and its length last, so that ``</s>`` counts with the last bar. All that is drawn here is a function of
the arguments and of the random generator.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import NamedTuple

import numpy as np

from .errors import UserError

# A window may still join one of this many batches that have room: fuller batches, in time linear in the windows.
_OPEN_BATCHES = 64


class Window(NamedTuple):
    """The targets ``start`` to ``end`` (half-open) of a piece: whole bars, the first has number ``first_bar``."""

    piece: int
    start: int
    end: int
    first_bar: int


@dataclass(frozen=True)
class BatchLimits:
    """What a batch holds at most: targets, and windows."""

    tokens: float = math.inf
    windows: float = math.inf


@dataclass(frozen=True)
class WindowSchedule:
    """Windows hold at most ``lengths[0]`` targets for ``updates[0]`` updates, then ``lengths[1]``, and so on.

    ``overlap``: the share of a window that the next one reads again.
    """

    lengths: tuple[int, ...]
    updates: tuple[int, ...]
    overlap: float = 0.0

    @staticmethod
    def parse(lengths: str, updates: str, overlap: float = 0.0) -> WindowSchedule:
        """Of ``--window-tokens``, ``--window-updates`` and ``--window-overlap``.

        Raises UserError when they are no schedule.
        """
        if not 0 <= overlap < 1:
            raise UserError(f"--window-overlap must be from 0 to below 1, not {overlap}.")
        if overlap and not lengths.strip():
            raise UserError(f"--window-overlap {overlap} needs --window-tokens: whole pieces do not overlap.")
        schedule = WindowSchedule(_numbers("--window-tokens", lengths), _numbers("--window-updates", updates), overlap)
        if len(schedule.updates) != len(schedule.lengths) - 1:
            raise UserError(
                f"--window-updates {updates!r} must have one number fewer than --window-tokens {lengths!r}: after "
                f"how many updates each next length begins."
            )
        return schedule

    def check(self, limits: BatchLimits, edges: Sequence[np.ndarray]) -> None:
        """Raises UserError when the longest window, or a bar of a piece, does not fit into a batch.

        And when the shortest window is shorter than most bars, which are never cut: it would not be what was asked.
        """
        if self.lengths[-1] > limits.tokens:
            raise UserError(
                f"Windows of {self.lengths[-1]} tokens do not fit into batches of {limits.tokens}: raise --max-tokens "
                f"or lower --window-tokens."
            )
        longest_bars = [int(np.diff(of_piece).max()) for of_piece in edges]
        longest = max(longest_bars, default=0)
        if longest > limits.tokens:
            raise UserError(
                f"Piece {longest_bars.index(longest) + 1} has a bar of {longest} tokens, which does not fit into "
                f"batches of {limits.tokens}: raise --max-tokens or leave the piece out."
            )
        longer = [np.diff(of_piece) > self.lengths[0] for of_piece in edges]
        if longer and np.concatenate(longer).mean() > 0.5:
            raise UserError(
                f"More than half of the bars have more than the {self.lengths[0]} tokens of a window: raise "
                f"--window-tokens; a bar is never cut."
            )

    def check_model(self, most: float, edges: Sequence[np.ndarray]) -> None:
        """Raises UserError when a window, or a bar of a piece, has more tokens than the model reads at ``most``."""
        longest = max([self.lengths[-1], *(int(np.diff(of_piece).max()) for of_piece in edges)])
        if longest > most:
            raise UserError(
                f"Windows of {longest} tokens are longer than the {most} that the model reads: lower --window-tokens "
                f"or raise --tokens-per-sample; a bar is never cut."
            )

    def phases(self, first_update: Fraction) -> Iterator[tuple[int, Fraction | float]]:
        """From ``first_update`` on: each length, and for how many updates; the last for ever (``inf``)."""
        for length, end in zip(self.lengths, (*self.updates, math.inf)):
            if end > first_update:
                yield length, end - first_update
                first_update = end


def _numbers(option: str, text: str) -> tuple[int, ...]:
    parts = [part.strip() for part in text.split(",")] if text.strip() else []
    if not all(part.isascii() and part.isdigit() and int(part) >= 1 for part in parts):
        raise UserError(f"{option} takes whole numbers from 1 up, separated by commas, not {text!r}.")
    numbers = tuple(int(part) for part in parts)
    if any(later <= earlier for earlier, later in zip(numbers, numbers[1:])):
        raise UserError(f"The numbers of {option} must rise, which {text!r} does not.")
    return numbers


def bar_edges(targets: np.ndarray, end_of_bar: int) -> np.ndarray:
    """The edges of a piece, int64 [bars + 1], from its targets, int [n + 1]."""
    ends = np.flatnonzero(targets == end_of_bar) + 1
    return np.array([0, *ends[ends < len(targets) - 1], len(targets)], dtype=np.int64)


def step_of(length: int, overlap: float) -> int:
    """How many targets lie between the beginnings of windows of ``length`` that overlap by this share; 1 or more."""
    return max(1, round(length * (1 - overlap)))


def cut_piece(piece: int, edges: np.ndarray, length: int, offset: int, step: int | None = None) -> list[Window]:
    """Windows of a piece, in order, as many bars each as fit into ``length`` targets, one every ``step`` targets.

    Without a ``step`` it is ``length``: windows hold every bar once. Else they hold it about ``length / step`` times;
    for its beginning and its end, windows that begin before the piece or end behind it count with what they have in it.

    Windows begin at the last bar start up to ``offset`` (below ``step``), and from each one ``step`` further; those
    before begin with the piece, and end where they would. A bar longer than ``step`` has a window that begins with the
    next, a bar longer than ``length`` is a window by itself. A piece that fits is one window, as often as its beginning
    would be read.
    """
    step = step or length
    last = len(edges) - 1
    early = range((offset + length) // step, 0, -1)  # by how many steps before ``offset`` a window begins
    if edges[-1] <= length:
        return [Window(piece, 0, int(edges[-1]), 1)] * len(early)
    spans = [(0, _last_edge_up_to(offset + length - steps * step, edges)) for steps in early]
    first = _last_edge_up_to(offset, edges)
    while first < last:
        spans.append((first, max(_last_edge_up_to(edges[first] + length, edges), first + 1)))
        first = max(_last_edge_up_to(edges[first] + step, edges), first + 1)
    return [Window(piece, int(edges[a]), int(edges[b]), a + 1) for a, b in spans if a < b]


def _last_edge_up_to(place: int, edges: np.ndarray) -> int:
    return int(np.searchsorted(edges, place, side="right")) - 1


def fill_batches(windows: Iterable[Window], limits: BatchLimits) -> list[list[Window]]:
    """Each window, in turn, joins the earliest batch that has room and is among the latest that were begun."""
    batches: list[list[Window]] = []
    room: list[float] = []
    for window in windows:
        size = window.end - window.start
        for number in range(max(0, len(batches) - _OPEN_BATCHES), len(batches)):
            if size <= room[number] and len(batches[number]) < limits.windows:
                batches[number].append(window)
                room[number] -= size
                break
        else:
            batches.append([window])
            room.append(limits.tokens - size)
    return batches


def draw_epoch(
    edges: Sequence[np.ndarray],
    phases: Iterable[tuple[int, Fraction | float]],
    limits: BatchLimits,
    chance: np.random.Generator,
    overlap: float = 0.0,
) -> list[list[Window]]:
    """The batches of an epoch, in order: every target of every piece is in one window, in more where they overlap.

    ``phases``: the longest window, and in how many batches, one phase after another. Pieces come in random
    order, each phase cuts as many of them as its batches need, and its windows come in random order again. The
    few windows that are over when its batches are full join those of the next phase, as short as they are.
    """
    order = chance.permutation(len(edges))
    batches: list[list[Window]] = []
    over: list[Window] = []
    for length, wanted in phases:
        step = step_of(length, overlap)
        offsets = chance.integers(step, size=len(order))
        cut = [cut_piece(int(piece), edges[piece], length, int(offset), step) for piece, offset in zip(order, offsets)]
        filled, used = _fill_phase(over, cut, wanted, limits, chance)
        kept = len(filled) if wanted >= len(filled) else int(wanted)
        batches += filled[:kept]
        over = [window for batch in filled[kept:] for window in batch]
        order = order[used:]
    return batches


def _fill_phase(
    over: list[Window],
    cut: list[list[Window]],
    wanted: Fraction | float,
    limits: BatchLimits,
    chance: np.random.Generator,
) -> tuple[list[list[Window]], int]:
    """Batches of the windows ``over`` and of as few pieces as fill the ``wanted``, or of all; how many those are."""
    windows = [*over, *(window for piece in cut for window in piece)]
    counts = len(over) + np.cumsum([0, *map(len, cut)])
    place = chance.random(len(windows))

    def fill(pieces: int) -> list[list[Window]]:
        return fill_batches((windows[number] for number in np.argsort(place[: counts[pieces]])), limits)

    used = len(cut)
    if wanted < math.inf:
        # one more, begun when a window did not fit into the last that is wanted, so that this one is not empty
        used = bisect_left(range(used), wanted + 1, key=lambda pieces: len(fill(pieces)))
    return fill(used), used
