"""What a training window asks for: to be written from its beginning, or in part, between and over given bars."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from data_prep.tokens.vocabulary import SIX_TRACK

from ..errors import UserError
from ..token_families import TokenFamilies
from .conditions import KINDS, NEW, BarConditions, ConditionColumns, Role
from .gap_repeats import told_distances
from .guide import BarGuide
from .heard_conditions import heard_conditions
from .sequence_bars import INSTRUMENT, SequenceBar, cut_bars, guide_of, only_tracks

_TASKS = ("fill", "accompany", "vary")
_SPANS = (1, 2, 4, 4, 4, 8, 16)  # bars in a row that are written between given ones
_MELODY_ALONE = 0.6  # share of accompaniments whose given track is the melody, where there is one
_GUESSED = 0.5  # share of fillings in which what is repeated is told as far as the bars around a hole tell it
_BARS_A_HOLE = 12  # of a window, on average, so that long ones are not almost all given
_KEPT = 0.6  # of each kind of conditions, in windows that have any
_WITH_GAPS = 0.3  # share of those windows in which each bar has its conditions with a chance of one half

_MELODY = SIX_TRACK.instruments.index(SIX_TRACK.instrument_of("melody"))


@dataclass(frozen=True)
class TrainingShares:
    """Shares of training windows: of each task, the rest being plain; and, ``conditions``, of those with conditions."""

    tasks: dict[str, float]
    conditions: float

    @staticmethod
    def parse(tasks: str, conditions: float) -> TrainingShares:
        """Of ``--task-shares``, such as ``fill=0.2,vary=0.1``, and ``--condition-share``.

        Raises UserError when they are no shares.
        """
        found: dict[str, float] = {}
        for part in filter(None, tasks.split(",")):
            name, _, number = (piece.strip() for piece in part.partition("="))
            if name not in _TASKS or name in found:
                raise UserError(
                    f"--task-shares takes {', '.join(_TASKS)}, once each, as in fill=0.2,vary=0.1, not {part!r}."
                )
            try:
                found[name] = float(number)
            except ValueError:
                found[name] = -1.0
            if not 0 <= found[name] <= 1:
                raise UserError(f"--task-shares: the share of {name} must be from 0 to 1, not {number!r}.")
        if sum(found.values()) > 0.5:
            raise UserError(f"--task-shares {tasks} leaves less than half to plain pieces, which would be unlearnt.")
        if not 0 <= conditions <= 1:
            raise UserError(f"--condition-share must be from 0 to 1, not {conditions}.")
        return TrainingShares(found, conditions)


class TrainingTasks:
    """Draws what each window asks for; a function of the seed, the epoch and the window.

    Args:
        families: of the dictionary.
        shares: how often what is drawn.
        seed: of the choice.
    """

    def __init__(self, families: TokenFamilies, shares: TrainingShares, seed: int) -> None:
        self._families = families
        self._columns = ConditionColumns.of(families)
        self._shares = shares
        self._seed = seed
        self._heard: dict[int, BarConditions] = {}  # of pieces read before: to hear a form takes a while

    def __call__(
        self, piece: int, tokens: np.ndarray, span: tuple[int, int], first_bar: int, epoch: int
    ) -> tuple[np.ndarray, BarGuide]:
        """The targets of a window, and what is told of its bars.

        Args:
            piece: its index.
            tokens: all of it, int64 [n + 1], ``</s>`` last.
            span: where the window begins and ends among them.
            first_bar: the number of its first bar, from 1.
            epoch: from 1 up.
        """
        chance = np.random.default_rng([self._seed, epoch, piece, span[0]])
        target = tokens[span[0] : span[1]]
        bars = cut_bars(target, self._families.end_of_bar)
        conditions = self._conditions(piece, tokens)
        task = self._draw_task(chance) if len(bars) > 1 else ""
        sequence = self._sequence(task, bars, first_bar, tokens, conditions, chance)
        given = [bar.number - 1 for bar in sequence if bar.role is Role.GIVEN]
        if given and chance.random() < _GUESSED:
            conditions = _told_across_gaps(conditions, given)
        of_bars = conditions.at(np.array([bar.number - 1 for bar in sequence]))
        guide = guide_of(sequence, self._said(of_bars, sequence, chance), self._columns)
        if not any(bar.role for bar in sequence):
            return target, guide
        # a task is over when its bars are written: </s> would only follow by its count
        return np.concatenate([bar.tokens for bar in sequence]), guide

    def _conditions(self, piece: int, tokens: np.ndarray) -> BarConditions:
        if piece not in self._heard:
            self._heard[piece] = heard_conditions(tokens, self._families)
        return self._heard[piece]

    def _draw_task(self, chance: np.random.Generator) -> str:
        drawn = chance.random()
        for task, share in self._shares.tasks.items():
            drawn -= share
            if drawn < 0:
                return task
        return ""

    def _sequence(
        self,
        task: str,
        bars: list[np.ndarray],
        first_bar: int,
        tokens: np.ndarray,
        conditions: BarConditions,
        chance: np.random.Generator,
    ) -> list[SequenceBar]:
        if task == "accompany":
            return self._accompanied(bars, first_bar, chance)
        if task == "vary":
            whole = cut_bars(tokens, self._families.end_of_bar)
            distances = conditions.distances[first_bar - 1 :][: len(bars)]
            models = [whole[first_bar - 1 + n - distance] for n, distance in enumerate(distances)]
            alike = [not np.array_equal(bar, model) for bar, model in zip(bars, models)]  # and not the same
            varied = _draw_span(np.flatnonzero((distances > NEW) & alike), chance)
            lengths = np.cumsum([len(bars[n]) + len(models[n]) for n in varied])
            varied = varied[lengths <= sum(map(len, bars))]
            if len(varied):
                return _varied(bars, first_bar, varied, [models[n] for n in varied])
            task = "fill"  # there is nothing in the window that could stand for another
        if task == "fill":
            return _filled(bars, first_bar, _draw_holes(len(bars), chance))
        return _plain(bars, first_bar)

    def _accompanied(self, bars: list[np.ndarray], first_bar: int, chance: np.random.Generator) -> list[SequenceBar]:
        """The first bars, as many as fit with what is given of them into the window."""
        tracks = self._draw_tracks(np.concatenate(bars), chance)
        parts = [only_tracks(bar, tracks, self._families) for bar in bars]
        lengths = np.cumsum([len(bar) + len(part) for bar, part in zip(bars, parts)])
        count = int(np.searchsorted(lengths, sum(map(len, bars)), side="right"))
        if not count:
            return _plain(bars, first_bar)
        given = [SequenceBar(part, first_bar + n, Role.PART) for n, part in enumerate(parts[:count])]
        return given + [SequenceBar(bar, first_bar + n) for n, bar in enumerate(bars[:count])]

    def _draw_tracks(self, tokens: np.ndarray, chance: np.random.Generator) -> set[int]:
        """Some of the instruments that play, as ranks; not all of them where there are several."""
        family, value = self._families.family_of_token[tokens], self._families.value_of_token[tokens]
        playing = np.unique(value[family == INSTRUMENT])
        melody = self._families.representation is SIX_TRACK and _MELODY in playing
        if melody and chance.random() < _MELODY_ALONE:
            return {_MELODY}
        count = int(chance.integers(1, max(2, len(playing))))
        return set(chance.choice(playing, min(count, len(playing)), replace=False).tolist())

    def _said(
        self, conditions: BarConditions, sequence: Sequence[SequenceBar], chance: np.random.Generator
    ) -> BarConditions:
        """Some of what could be said."""
        everywhere = np.ones(len(conditions), dtype=bool)
        if chance.random() >= self._shares.conditions:
            return conditions.without(list(KINDS), everywhere)
        dropped = [kind for kind in KINDS if chance.random() >= _KEPT]
        conditions = conditions.without(dropped, everywhere)
        if chance.random() < _WITH_GAPS:
            conditions = conditions.without(list(KINDS), chance.random(len(conditions)) < 0.5)
        # what plays in the whole bar does not play in a part of it, nor in the bar that it is like
        apart = np.array([bar.role in (Role.PART, Role.VARIED) for bar in sequence])
        return conditions.without(["tracks", "density"], apart)


def _told_across_gaps(conditions: BarConditions, given: Sequence[int]) -> BarConditions:
    """What bars repeat, as the ``given`` ones, counted from 0, tell."""
    bars = np.arange(len(conditions))
    repeats = np.where(conditions.distances > NEW, bars - conditions.distances, -1)
    return conditions.told(distances=told_distances(repeats, ~np.isin(bars, given)))


def _plain(bars: Sequence[np.ndarray], first_bar: int) -> list[SequenceBar]:
    return [SequenceBar(bar, first_bar + n) for n, bar in enumerate(bars)]


def _draw_span(bars: np.ndarray, chance: np.random.Generator) -> np.ndarray:
    """Some of ``bars``, rising, that lie in a row."""
    if not len(bars):
        return bars
    runs = np.split(bars, np.flatnonzero(np.diff(bars) > 1) + 1)
    run = runs[int(chance.integers(len(runs)))]
    length = min(int(chance.choice(_SPANS)), len(run))
    start = int(chance.integers(len(run) - length + 1))
    return run[start : start + length]


def _draw_holes(count: int, chance: np.random.Generator) -> np.ndarray:
    """Which of ``count`` bars are written, rising: one or more rows of them, not all."""
    written = np.zeros(count, dtype=bool)
    for _ in range(1 + int(chance.integers(max(2, 2 * count // _BARS_A_HOLE)))):
        length = min(int(chance.choice(_SPANS)), count - 1)
        start = int(chance.integers(count - length + 1))
        written[start : start + length] = True
    if written.all():
        written[int(chance.integers(count))] = False
    return np.flatnonzero(written)


def _filled(bars: list[np.ndarray], first_bar: int, holes: np.ndarray) -> list[SequenceBar]:
    """The bars around the ``holes``, then those in them."""
    written = set(holes.tolist())
    given = [SequenceBar(bar, first_bar + n, Role.GIVEN) for n, bar in enumerate(bars) if n not in written]
    return given + [SequenceBar(bars[n], first_bar + n) for n in sorted(written)]


def _varied(
    bars: list[np.ndarray], first_bar: int, varied: np.ndarray, models: Sequence[np.ndarray]
) -> list[SequenceBar]:
    """The bars with ``models`` in place of those that are ``varied``, then these; bars far from them are left out.

    Altogether they have no more tokens than the bars, so that a window stays as long as it is.
    """
    span = set(varied.tolist())
    room = sum(map(len, bars)) - sum(map(len, models)) - sum(len(bars[n]) for n in span)
    given = [SequenceBar(model, first_bar + int(n), Role.VARIED) for n, model in zip(varied, models)]
    first, last = int(varied[0]), int(varied[-1])
    for n in sorted(set(range(len(bars))) - span, key=lambda n: max(first - n, n - last)):
        room -= len(bars[n])
        if room < 0:
            break
        given.append(SequenceBar(bars[n], first_bar + n, Role.GIVEN))
    given.sort(key=lambda bar: bar.number)
    return given + [SequenceBar(bars[n], first_bar + n) for n in sorted(span)]


# What a dataset asks; see ``TrainingTasks``.
DrawTask = Callable[[int, np.ndarray, tuple[int, int], int, int], tuple[np.ndarray, BarGuide]]
