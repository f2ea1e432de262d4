"""A batch of pieces being written: the state of attention, and where each stands in the music."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

from ..fc_attention.kept_memory import reordered
from ..positions import Positions
from ..recorded_steps import Changed, RecordedSteps
from ..steering.said import SaidOfStreams
from ..stream_positions import StreamPositions
from .protocol import AttentionCache, Step

_MOST_ENDS = 4  # that are recorded together: each number of them is a recording of its own, and more are rare
_ENDS_SEEN_BEFORE = 32  # ends are a fiftieth of the steps: a song alone has too few of a shape to earn a recording


class Streams:
    """What a step reads and changes stays where it is on the device, so that it can be recorded.

    ``latest`` int64 [3, K, B]: the K tokens before the next, the latest first, with their bar ids and beat ids;
    padding where there are fewer. ``said``: of the bars under way and to come, where the model is steerable.
    """

    def __init__(
        self,
        cache: AttentionCache,
        positions: StreamPositions,
        latest: Tensor,
        said: SaidOfStreams | None = None,
    ) -> None:
        self.cache = cache
        self.positions = positions
        self.latest = latest
        self.said = said
        self.recorded = RecordedSteps()
        self.recorded_ends = RecordedSteps(what="what bars' ends compute", seen_before=_ENDS_SEEN_BEFORE)
        self.num_read = 0  # tokens read, where fairseq's own generator drives and counts

    def __len__(self) -> int:
        return len(self.positions)

    def run(
        self,
        step: Step,
        tokens: Tensor,
        changed: Sequence[Tensor] = (),
        read: Sequence[Tensor] = (),
        random: torch.Generator | None = None,
    ) -> tuple[Tensor, ...]:
        """See ``DecodingState``."""
        self.cache.begin_step()
        if self.cache.padded:
            own = [*self.positions.changed(), self.latest, *self.cache.changed()]
            said = [] if self.said is None else [self.said.rows]
            memory = [*changed, *own, *read, *self.positions.read(), *said]
            addresses = self.cache.address, *(tensor.data_ptr() for tensor in memory)
            outputs = self.recorded.run(step, [tokens], addresses, self.cache.shape, Changed([*changed, *own], random))
        else:
            outputs = step(tokens)
        self.cache.end_step()
        return outputs

    def run_bar_ends(self, end: Callable[..., Tensor], inputs: Sequence[Tensor], count: int) -> Tensor:
        """``end(*inputs)``, rows [count, ...] of so many streams whose bars end: recorded, and played again, where that
        pays. It reads its inputs and weights alone.
        """
        if not self.cache.padded or count > _MOST_ENDS:
            return end(*inputs)
        shape = tuple(rows.shape for rows in inputs)
        (rows,) = self.recorded_ends.run(lambda *inputs: (end(*inputs),), inputs, None, shape)
        return rows.clone()

    def select(self, indices: Sequence[int]) -> None:
        """Keep these streams in this order; for the identity nothing moves."""
        self.cache.select(indices)
        self.positions.select(indices)
        self.latest = reordered(self.latest, indices, 2)
        if self.said is not None:
            self.said.select(indices)

    def put(self, index: int, entering: Streams) -> None:
        """Let the one stream of ``entering``, which stays as it is, take the place of ``index``."""
        self.cache.put(index, entering.cache)
        self.positions.put(index, entering.positions)
        self.latest[:, :, index] = entering.latest[:, :, 0]
        if self.said is not None and entering.said is not None:
            self.said.put(index, entering.said)


def latest_tokens(prompts: Sequence[np.ndarray], positions: Positions, count: int, padding: int) -> np.ndarray:
    """``latest`` of ``Streams``, int64 [3, K, B], the ``count`` last tokens of prompts, int64 [n] each.

    ``positions`` of all tokens, end to end; ``padding``: the token where a prompt has fewer.
    """
    rows = np.stack([np.concatenate(prompts), positions.bars, positions.beats])
    nothing = np.tile([[padding], [0], [0]], count)
    ends = np.cumsum([len(prompt) for prompt in prompts])
    of_piece = [rows[:, end - len(prompt) : end] for prompt, end in zip(prompts, ends)]
    padded = [np.concatenate([nothing, piece], axis=1)[:, ::-1][:, :count] for piece in of_piece]
    return np.stack(padded, axis=2)
