"""Steps of decoding recorded as CUDA graphs: to launch kernels one by one takes longer than to run them."""

from __future__ import annotations

import logging
from collections import Counter
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

logger = logging.getLogger(__name__)

_SEEN_BEFORE = 8  # steps of the same shape before one is recorded: a recording takes as long as some steps

_Step = Callable[..., tuple[Tensor, ...]]
_Inputs = Sequence[Tensor]


@dataclass(frozen=True)
class Changed:
    """What a step changes and goes on from: tensors, in place, and the random numbers that it draws."""

    tensors: Sequence[Tensor] = ()
    random: torch.Generator | None = None

    def keep(self) -> Callable[[], None]:
        """A function that makes all as it is now, as often as it is called."""
        kept = [tensor.clone() for tensor in self.tensors]
        state = None if self.random is None else self.random.get_state()

        def put_back() -> None:
            for tensor, before in zip(self.tensors, kept):
                tensor.copy_(before)
            if self.random is not None and state is not None:
                self.random.set_state(state)

        return put_back


def cuda_graph(step: _Step, inputs: _Inputs, changed: Changed) -> _Step:
    """``step``, recorded on inputs of these shapes: it may read and write no memory that moves between calls.

    It is called a few times, what it changes being put back, so that all is as before. What the recording returns is
    overwritten when it is played again; it draws on from wherever the random numbers stand. Raises RuntimeError where
    it does something that a graph cannot hold.
    """
    own_inputs, put_back = [rows.clone() for rows in inputs], changed.keep()
    with torch.cuda.device(inputs[0].device):
        beside = torch.cuda.Stream()
        beside.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(beside):  # libraries make ready what they may not while recording
            for _ in range(3):
                step(*own_inputs)
                put_back()
        torch.cuda.current_stream().wait_stream(beside)
        graph = torch.cuda.CUDAGraph()
        if changed.random is not None:
            graph.register_generator_state(changed.random)
        try:
            # other threads, which pin batches, may go on with what they do
            with torch.cuda.graph(graph, capture_error_mode="thread_local"):
                outputs = step(*own_inputs)
        except RuntimeError:
            _stop_recording(changed.random)
            raise

    def play(*inputs: Tensor) -> tuple[Tensor, ...]:
        for own, rows in zip(own_inputs, inputs):
            own.copy_(rows)
        graph.replay()
        return outputs

    return play


def _stop_recording(random: torch.Generator | None) -> None:
    """Let a generator draw again that PyTorch may still count as one of a recording, which has failed."""
    if random is not None:
        state = random.get_state()
        random.graphsafe_set_state(torch.Generator(random.device))
        random.set_state(state)


@dataclass
class _Recording:
    play: _Step
    compared: bool = False


class RecordedSteps:
    """Recordings of a step, one for every shape that comes often.

    Each is compared with the step itself once, at the step after the one that was recorded, so that a number that it
    holds by mistake shows. If it differs, or if recording fails, no step is recorded any more, and the log says so.
    """

    def __init__(
        self,
        record: Callable[[_Step, _Inputs, Changed], _Step] = cuda_graph,
        what: str = "decoding",
        seen_before: int = _SEEN_BEFORE,
    ) -> None:
        """``what`` the log calls it; ``seen_before``: how often a step of a shape comes before one is recorded."""
        self._record, self._what, self._seen_before = record, what, seen_before
        self._works = True
        self._memory: Hashable = None
        self._seen: Counter[Hashable] = Counter()
        self._recordings: dict[Hashable, _Recording] = {}

    def run(
        self, step: _Step, inputs: _Inputs, memory: Hashable, shape: Hashable, changed: Changed = Changed()
    ) -> tuple[Tensor, ...]:
        """``step(*inputs)``, rows [B, ...] each; they are overwritten by a later step of the same shape.

        Steps of one ``shape`` in the same ``memory`` differ only in what inputs and memory hold. Recordings are
        forgotten when the memory changes; None says that there is none but inputs and weights. A step that changes what
        it goes on from says so by ``changed``.
        """
        if memory != self._memory:
            self._forget()
            self._memory = memory
        recording = self._recordings.get(shape)
        if recording is not None and recording.compared:
            return recording.play(*inputs)
        if recording is not None:
            return self._compare(recording, step, inputs, changed)
        if self._works:
            self._seen[shape] += 1
            if self._seen[shape] > self._seen_before:
                self._try(step, inputs, shape, changed)
        return step(*inputs)

    def _try(self, step: _Step, inputs: _Inputs, shape: Hashable, changed: Changed) -> None:
        try:
            self._recordings[shape] = _Recording(self._record(step, inputs, changed))
        except RuntimeError as error:
            self._give_up(str(error).partition("\n")[0])

    def _compare(self, recording: _Recording, step: _Step, inputs: _Inputs, changed: Changed) -> tuple[Tensor, ...]:
        put_back = changed.keep()
        found = [output.clone() for output in recording.play(*inputs)]
        put_back()
        expected = step(*inputs)
        recording.compared = _are_alike(found, expected)
        if not recording.compared:
            self._give_up("a recorded step computed other numbers, or chose other tokens from the same")
        return expected

    def _give_up(self, reason: str) -> None:
        self._works = False
        self._forget()
        logger.warning("%s goes on without CUDA graphs: %s", self._what, reason)

    def _forget(self) -> None:
        self._seen.clear()
        self._recordings.clear()


def _are_alike(found: Sequence[Tensor], expected: Sequence[Tensor]) -> bool:
    """Whether the first, such as logits, are alike but for rounding, and the others where those are to the bit."""
    logits, wanted = found[0].float(), expected[0].float()
    same = (logits == wanted).view(len(logits), -1).all(dim=1)
    close = torch.allclose(logits, wanted, rtol=1e-2, atol=1e-2)
    return close and all(torch.equal(one[same], other[same]) for one, other in zip(found[1:], expected[1:]))
