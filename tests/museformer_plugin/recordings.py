"""What a CUDA graph would play again, recorded and played here: PyTorch's operators, one after the other."""

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_iter


class _Tape(TorchDispatchMode):
    """Notes every operator, with the tensors that it reads and writes."""

    def __init__(self):
        super().__init__()
        self.calls = []

    def __torch_dispatch__(self, operator, types, arguments=(), keywords=None):
        outputs = operator(*arguments, **(keywords or {}))
        self.calls.append((operator, arguments, keywords or {}, outputs))
        return outputs

    def play(self):
        """The same again: in the same memory, with what it holds now, and no Python of the step's."""
        for operator, arguments, keywords, outputs in self.calls:
            for before, again in zip(tree_iter(outputs), tree_iter(operator(*arguments, **keywords))):
                if isinstance(before, torch.Tensor) and before.data_ptr() != again.data_ptr():
                    before.copy_(again)


def tape(step, inputs, changed):
    """As ``cuda_graph`` does on a GPU. Numbers that a step takes from the host are those of the recording."""
    own_inputs, put_back = [rows.clone() for rows in inputs], changed.keep()
    recorded = _Tape()
    with recorded:
        outputs = step(*own_inputs)
    put_back()

    def play(*inputs):
        for own, rows in zip(own_inputs, inputs):
            own.copy_(rows)
        recorded.play()
        return outputs

    return play


class Counted:
    """A way to record, counting recordings and how often they are played."""

    def __init__(self, record=tape):
        self._record = record
        self.recorded = self.played = 0

    def __call__(self, step, inputs, changed):
        recording = self._record(step, inputs, changed)
        self.recorded += 1

        def play(*inputs):
            self.played += 1
            return recording(*inputs)

        return play
