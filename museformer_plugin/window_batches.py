"""Windows of pieces as fairseq takes them: a dataset, and the batches of an epoch."""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
import torch
from fairseq.data.iterators import CountingIterator, EpochBatchIterator
from torch import Tensor

from .dataset import PieceDataset
from .errors import UserError
from .models.protocol import MakeInputs
from .steering.training_tasks import DrawTask
from .token_families import TokenFamilies
from .transposition import Transposition
from .windows import BatchLimits, Window, WindowSchedule, bar_edges, draw_epoch

logger = logging.getLogger(__name__)


class WindowDataset(PieceDataset):
    """Pieces of which windows are read: an index of an example is a ``Window``, so that no epoch is kept here.

    Args:
        inputs: as ``PieceDataset`` takes it, here always for models that know bars, whose numbers come with it.
        tasks: draws what is asked for in a window, to a steerable model; without it windows are written as they are.
        all others: as there.
    """

    def __init__(
        self,
        pieces: Sequence[Tensor],
        sizes: np.ndarray,
        families: TokenFamilies,
        *,
        inputs: MakeInputs | None,
        transposition: Transposition | None = None,
        tasks: DrawTask | None = None,
    ) -> None:
        super().__init__(pieces, sizes, families, inputs=inputs, transposition=transposition)
        self._tasks = tasks
        self.edges = [bar_edges(pieces[number].numpy(), families.end_of_bar) for number in range(len(pieces))]

    def __getitem__(self, window: Window) -> dict[str, Any]:
        tokens = self.read(window.piece)
        if self._tasks is None:
            return {"id": window.piece, "first_bar": window.first_bar, "target": tokens[window.start : window.end]}
        span = window.start, window.end
        asked = self._tasks(window.piece, tokens.numpy(), span, window.first_bar, self._epoch)
        target = torch.from_numpy(asked.target)
        return {"id": window.piece, "first_bar": asked.first_bar, "target": target, "guide": asked.guide}

    def prefetch(self, indices: Sequence[Window]) -> None:
        """Read the windows' pieces ahead, where the underlying data can."""
        super().prefetch([window.piece for window in indices])


class WindowBatches(EpochBatchIterator):
    """One epoch's batches of windows, in the order of the updates, and where a run stands in them.

    They are a function of the seed, the epoch, and how many updates came before it. An update is what fairseq
    takes it for, ``update_freq`` batches of each process, counted also where it was skipped (fp16).

    Args:
        schedule, limits: how long windows are at which update, and what fits into a batch.
        update_freq: batches of a process in an update, epoch by epoch; the last number for all further.
        first_update: how many updates came before this epoch; a checkpoint that is loaded says so itself.
        keywords: as ``EpochBatchIterator`` takes them.
    """

    def __init__(
        self,
        dataset: WindowDataset,
        schedule: WindowSchedule,
        limits: BatchLimits,
        update_freq: Sequence[int],
        first_update: int,
        **keywords: Any,
    ) -> None:
        fixed = {"disable_shuffling": True, "reuse_dataloader": False, "persistent_workers": False}
        super().__init__(dataset, dataset.collater, self._draw, **keywords, **fixed)
        self._schedule = schedule
        self._limits = limits
        self._update_freqs = update_freq
        # with another update_freq than the epoch began with, updates do not begin at multiples of it: a fraction
        self._first_update = Fraction(first_update)

    @property
    def updates(self) -> int:
        """How many updates there have been, in this epoch and before."""
        return math.ceil(self._first_update + Fraction(self.iterations_in_epoch, self._update_freq))

    @property
    def _update_freq(self) -> int:
        return self._update_freqs[min(self.epoch, len(self._update_freqs)) - 1]

    def _draw(self, dataset: WindowDataset, epoch: int) -> list[list[Window]]:
        batches_an_update = self._update_freq * self.num_shards
        phases = [(length, n * batches_an_update) for length, n in self._schedule.phases(self._first_update)]
        chance = np.random.default_rng([self.seed, epoch])
        return draw_epoch(dataset.edges, phases, self._limits, chance, self._schedule.overlap)

    def next_epoch_itr(self, *arguments: Any, **keywords: Any) -> CountingIterator:
        """The batches of this process from where the run stands, as fairseq hands them out."""
        batches = super().next_epoch_itr(*arguments, **keywords)
        logger.info(
            "epoch %d from update %d on: %d windows in %d batches of %.0f tokens on average",
            self.epoch,
            self.updates,
            sum(map(len, self.frozen_batches)),
            len(self.frozen_batches),
            sum(window.end - window.start for batch in self.frozen_batches for window in batch)
            / max(1, len(self.frozen_batches)),
        )
        return batches

    def state_dict(self) -> dict[str, Any]:
        """What fairseq keeps in a checkpoint, the number of updates, how many processes share the batches, and the
        options by which they were drawn."""
        ours = {"updates": self.updates, "num_shards": self.num_shards, "drawn_by": self._drawn_by()}
        return {**super().state_dict(), **ours}

    def _drawn_by(self) -> dict[str, str]:
        lengths, updates = (",".join(map(str, of)) for of in (self._schedule.lengths, self._schedule.updates))
        return {
            "--window-tokens": lengths,
            "--window-updates": updates,
            "--window-overlap": str(self._schedule.overlap),
            "--seed": str(self.seed),
            "--batch-size": str(self._limits.windows),
            "--max-tokens": str(self._limits.tokens),
        }

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        """Go on where a run stood, also with another ``--update-freq`` or number of processes.

        With options that draw other windows the rest of the epoch is of these, and that is told.

        Raises UserError for a checkpoint of a run on whole pieces.
        """
        if "updates" not in state_dict:
            raise UserError(
                "The checkpoint was trained on whole pieces: pass --reset-dataloader to go on with --window-tokens, "
                "from their first length."
            )
        now = self._drawn_by()
        before = {**now, **state_dict.get("drawn_by", {})}  # older checkpoints do not say
        changes = [f"{name} {before[name]} (now {now[name]})" for name in now if before[name] != now[name]]
        if changes and state_dict["iterations_in_epoch"]:
            logger.warning(
                "The checkpoint stopped in an epoch with %s: of what is left of it some is read twice and some not at "
                "all. --reset-dataloader begins an epoch.",
                ", ".join(changes),
            )
        self.epoch = state_dict["epoch"]
        self.dataset.set_epoch(self.epoch)  # workers begin to read at once, before fairseq says it
        # rounded down: with another number of processes a few batches come again, and none is missed
        batches_read = state_dict["iterations_in_epoch"] * state_dict["num_shards"] // self.num_shards
        self._first_update = state_dict["updates"] - Fraction(batches_read, self._update_freq)
        self._frozen_batches = None
        if batches_read >= len(self):  # options have changed: the epoch has fewer batches now
            self.epoch, batches_read = self.epoch + 1, 0
            self._first_update, self._frozen_batches = Fraction(state_dict["updates"]), None
        super().load_state_dict({**state_dict, "epoch": self.epoch, "iterations_in_epoch": batches_read})
