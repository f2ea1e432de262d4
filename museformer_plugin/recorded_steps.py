"""A decoding step recorded as a CUDA graph: to launch its kernels one by one takes longer than to run them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

_SEEN_BEFORE = 8  # steps of the same shape before one is recorded: a recording takes as long as some steps


def cuda_graph(function: Callable[[Tensor], Tensor], inputs: Tensor) -> Callable[[Tensor], Tensor]:
    """``function``, recorded on inputs of this shape: it may read and write no memory that moves between calls.

    It is called a few times, so to call it again with the same inputs must change nothing.
    """
    own_inputs = inputs.clone()
    beside = torch.cuda.Stream()
    beside.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(beside):  # libraries make ready what they may not while recording
        for _ in range(3):
            function(own_inputs)
    torch.cuda.current_stream().wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        outputs = function(own_inputs)

    def replay(inputs: Tensor) -> Tensor:
        own_inputs.copy_(inputs)
        graph.replay()
        return outputs.clone()

    return replay


class RecordedSteps:
    """Recordings of a step, one for every shape that comes often.

    The first output of each is compared with that of the step itself; if it differs, or if recording fails, no step is
    recorded any more, and the log says so.
    """

    def __init__(self, record: Callable[..., Callable[[Tensor], Tensor]] = cuda_graph) -> None:
        self._record = record
        self._seen: Counter[Hashable] = Counter()
        self._recorded: dict[Hashable, Callable[[Tensor], Tensor]] = {}
        self._works = True

    def run(self, step: Callable[[Tensor], Tensor], inputs: Tensor, shape: tuple[int, ...]) -> Tensor:
        """``step(inputs)``. Steps of the same ``shape`` differ only in what their inputs and memory hold.

        ``shape`` begins with the address of the memory: recordings of another one are forgotten.
        """
        if not self._works:
            return step(inputs)
        if shape in self._recorded:
            return self._recorded[shape](inputs)
        self._seen[shape] += 1
        outputs = step(inputs)
        if self._seen[shape] > _SEEN_BEFORE:
            self._recorded = {known: replay for known, replay in self._recorded.items() if known[0] == shape[0]}
            self._try(step, inputs, shape, outputs)
        return outputs

    def _try(self, step: Callable[[Tensor], Tensor], inputs: Tensor, shape: tuple[int, ...], expected: Tensor) -> None:
        try:
            replay = self._record(step, inputs)
            found = replay(inputs)
        except RuntimeError as error:
            self._works = False
            logger.warning("decoding goes on without CUDA graphs: %s", str(error).splitlines()[0])
            return
        if torch.allclose(found.float(), expected.float(), rtol=1e-2, atol=1e-2):
            self._recorded[shape] = replay
        else:
            self._works = False
            logger.warning("decoding goes on without CUDA graphs: a recorded step computed other logits")
