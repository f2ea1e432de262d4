"""What a training window asks for: to be written from its beginning, in part, or as a shorter piece."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from ..errors import UserError
from ..token_families import TokenFamilies
from .conditions import KINDS, NEW, BarConditions, ConditionColumns, Role
from .guide import BarGuide
from .heard_conditions import heard_conditions
from .sequence_bars import INSTRUMENT, SequenceBar, cut_bars, guide_of, only_tracks
from .shortened_pieces import kin_of, shortened
from .task_sequences import draw_holes, draw_span, filled, plain, varied

_SHORTEN = "shorten"
_TASKS = ("fill", "accompany", "vary", _SHORTEN)
_MELODY_ALONE = 0.6  # share of accompaniments whose given track is the melody, where there is one
_KEPT = 0.6  # of each kind of conditions, in windows that have any
_WITH_GAPS = 0.3  # share of those windows in which each bar has its conditions with a chance of one half


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


class AskedWindow(NamedTuple):
    """The targets int64 [n], what is told of their bars, and the number of the first, from 1."""

    target: np.ndarray
    guide: BarGuide
    first_bar: int


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
    ) -> AskedWindow:
        """What is asked in a window.

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
        if task == _SHORTEN:
            shorter = self._shortened(tokens, conditions, len(target), chance)
            if shorter is not None:
                return shorter
            task = ""
        sequence = self._sequence(task, bars, first_bar, tokens, conditions, chance)
        of_bars = conditions.at(np.array([bar.number - 1 for bar in sequence]))
        guide = guide_of(sequence, self._said(of_bars, sequence, chance), self._columns)
        if not any(bar.role for bar in sequence):
            return AskedWindow(target, guide, first_bar)
        # a task is over when its bars are written: </s> would only follow by its count
        return AskedWindow(np.concatenate([bar.tokens for bar in sequence]), guide, first_bar)

    def _shortened(
        self, tokens: np.ndarray, conditions: BarConditions, most: int, chance: np.random.Generator
    ) -> AskedWindow | None:
        """A piece of at most so many tokens out of the piece, told how many bars it has; None where none can be made.

        It is always told, so that pieces of which nothing is said stay as long as they are.
        """
        bars = cut_bars(tokens, self._families.end_of_bar)
        behind = tokens[sum(map(len, bars)) :]  # </s>
        places = np.arange(len(bars))
        repeats = np.where(conditions.distances > NEW, places - conditions.distances, -1)
        kept = shortened(bars, kin_of(repeats), most - len(behind), chance)
        if kept is None:
            return None
        target = np.concatenate([*kept, behind])
        sequence = plain(kept, 1)
        heard = heard_conditions(target, self._families)
        said = self._said(heard, sequence, chance).told(left_in_piece=heard.left_in_piece)
        return AskedWindow(target, guide_of(sequence, said, self._columns), 1)

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
            places = draw_span(np.flatnonzero((distances > NEW) & alike), chance)
            lengths = np.cumsum([len(bars[n]) + len(models[n]) for n in places])
            places = places[lengths <= sum(map(len, bars))]
            if len(places):
                return varied(bars, first_bar, places, [models[n] for n in places])
            task = "fill"  # there is nothing in the window that could stand for another
        if task == "fill":
            return filled(bars, first_bar, draw_holes(len(bars), chance))
        return plain(bars, first_bar)

    def _accompanied(self, bars: list[np.ndarray], first_bar: int, chance: np.random.Generator) -> list[SequenceBar]:
        """The first bars, as many as fit with what is given of them into the window."""
        tracks = self._draw_tracks(np.concatenate(bars), chance)
        parts = [only_tracks(bar, tracks, self._families) for bar in bars]
        lengths = np.cumsum([len(bar) + len(part) for bar, part in zip(bars, parts)])
        count = int(np.searchsorted(lengths, sum(map(len, bars)), side="right"))
        if not count:
            return plain(bars, first_bar)
        given = [SequenceBar(part, first_bar + n, Role.PART) for n, part in enumerate(parts[:count])]
        return given + [SequenceBar(bar, first_bar + n) for n, bar in enumerate(bars[:count])]

    def _draw_tracks(self, tokens: np.ndarray, chance: np.random.Generator) -> set[int]:
        """Some of the instruments that play, as ranks; not all of them where there are several."""
        family, value = self._families.family_of_token[tokens], self._families.value_of_token[tokens]
        playing = np.unique(value[family == INSTRUMENT])
        melody = self._families.melody_ranks.intersection(playing.tolist())
        if melody and chance.random() < _MELODY_ALONE:
            return {*melody}
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


# What a dataset asks; see ``TrainingTasks``.
DrawTask = Callable[[int, np.ndarray, tuple[int, int], int, int], AskedWindow]
