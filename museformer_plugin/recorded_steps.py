"""A decoding step recorded as a CUDA graph: to launch its kernels one by one takes longer than to run them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable
from dataclasses import dataclass

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

_SEEN_BEFORE = 8  # steps of the same shape before one is recorded: a recording takes as long as some steps

_Step = Callable[[Tensor], Tensor]


def cuda_graph(step: _Step, inputs: Tensor) -> _Step:
    """``step``, recorded on inputs of this shape: it may read and write no memory that moves between calls.

    It is called a few times, so to call it again with the same inputs must change nothing. Raises RuntimeError where
    it does something that a graph cannot hold.
    """
    own_inputs = inputs.clone()
    with torch.cuda.device(inputs.device):
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # libraries make ready what they may not while recording
            for _ in range(3):
                step(own_inputs)
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        # other threads, which pin batches, may go on with what they do
        with torch.cuda.graph(graph, capture_error_mode="thread_local"):
            outputs = step(own_inputs)

    def play(inputs: Tensor) -> Tensor:
        own_inputs.copy_(inputs)
        graph.replay()
        return outputs.clone()

    return play


@dataclass
class _Recording:
    play: _Step
    compared: bool = False


class RecordedSteps:
    """Recordings of a step, one for every shape that comes often.

    Each is compared with the step itself once, at the step after the one that was recorded, so that a number that it
    holds by mistake shows. If it differs, or if recording fails, no step is recorded any more, and the log says so.
    """

    def __init__(self, record: Callable[[_Step, Tensor], _Step] = cuda_graph) -> None:
        self._record = record
        self._works = True
        self._memory: Hashable = None
        self._seen: Counter[Hashable] = Counter()
        self._recordings: dict[Hashable, _Recording] = {}

    def run(self, step: _Step, inputs: Tensor, memory: Hashable, shape: Hashable) -> Tensor:
        """``step(inputs)``. Steps of one ``shape`` in the same ``memory`` differ only in what inputs and memory hold.

        Recordings are forgotten when the memory changes.
        """
        if memory != self._memory:
            self._forget()
            self._memory = memory
        recording = self._recordings.get(shape)
        if recording is not None and recording.compared:
            return recording.play(inputs)
        outputs = step(inputs)
        if recording is not None:
            self._compare(recording, inputs, outputs)
        elif self._works:
            self._seen[shape] += 1
            if self._seen[shape] > _SEEN_BEFORE:
                self._try(step, inputs, shape)
        return outputs

    def _try(self, step: _Step, inputs: Tensor, shape: Hashable) -> None:
        try:
            self._recordings[shape] = _Recording(self._record(step, inputs))
        except RuntimeError as error:
            self._give_up(str(error).partition("\n")[0])

    def _compare(self, recording: _Recording, inputs: Tensor, expected: Tensor) -> None:
        found = recording.play(inputs)
        recording.compared = torch.allclose(found.float(), expected.float(), rtol=1e-2, atol=1e-2)
        if not recording.compared:
            self._give_up("a recorded step computed other logits")

    def _give_up(self, reason: str) -> None:
        self._works = False
        self._forget()
        logger.warning("decoding goes on without CUDA graphs: %s", reason)

    def _forget(self) -> None:
        self._seen.clear()
        self._recordings.clear()
