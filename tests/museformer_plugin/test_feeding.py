"""What a batch's inputs are on the device, and how often they are copied there."""

import numpy as np
import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils.data._utils.pin_memory import pin_memory

from museformer_plugin.fc_attention.backends import prepare_for_kernels
from museformer_plugin.fc_attention.packed import Packed
from museformer_plugin.fc_attention.triton.index_lists import IndexLists, lists_on

CPU, ELSEWHERE = torch.device("cpu"), torch.device("meta")


class Transfers(TorchDispatchMode):
    """Counts copies between devices."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        out = function(*args, **(kwargs or {}))
        if torch.is_tensor(out) and any(torch.is_tensor(arg) and arg.device != out.device for arg in args):
            self.count += 1
        return out


@pytest.fixture(params=["museformer", "steerable", "sparse_transformer", "full_attention"])
def inputs(request, build_decoder, read_piece):
    """Those of two pieces, with the lists of the kernels where the architecture has any."""
    options = {"architecture": request.param}
    if request.param == "steerable":
        options = {"steerable": True}
    decoder = build_decoder("six_track", **options)
    made = decoder.inputs_of([read_piece("six_track", bars, seed=1) for bars in (5, 3)])
    prepare_for_kernels(*made.attention_plans())
    return made


def test_arrays_on_the_device_are_those_of_the_host(inputs):
    there = inputs.feed._copies(CPU)
    assert there.keys() == inputs.arrays().keys() >= {"positions", "indices"}
    for name, array in inputs.arrays().items():
        np.testing.assert_array_equal(there[name].numpy(), array)
        assert torch.equal(inputs.feed.on(CPU)[name], there[name])
    assert there["indices"].tolist() == [index for length in inputs.lengths for index in range(length)]


def test_kernels_find_the_lists_of_every_plan(inputs):
    inputs.feed._copies(CPU)
    for plan in inputs.attention_plans():
        arrived, made = lists_on(plan, CPU), IndexLists.of(plan).to(CPU)
        assert arrived[:3] == made[:3]
        for ours, theirs in zip(arrived[3:], made[3:]):
            assert torch.equal(ours, theirs)
            assert ours.dtype == theirs.dtype
            assert ours.data_ptr() % 16 == 0


def test_a_batch_is_copied_once(inputs):
    with Transfers() as transfers:
        first = inputs.feed.on(ELSEWHERE)
        for plan in inputs.attention_plans():
            lists_on(plan, ELSEWHERE)
        assert inputs.feed.on(ELSEWHERE) is first
    assert transfers.count == 1
    assert all(tensor.device == ELSEWHERE for tensor in first.values())


def test_the_data_loader_pins_it(inputs, monkeypatch):
    """As PyTorch does in a thread of its own: the buffer that is pinned there is the one that is copied."""
    pinned = []
    plain_empty = torch.empty

    def empty(*size, pin_memory=False, **options):  # a machine without a GPU has no such memory
        made = plain_empty(*size, **options)
        if pin_memory:
            pinned.append(made.data_ptr())
        return made

    monkeypatch.setattr(torch, "empty", empty)
    assert pin_memory({"net_input": {"inputs": inputs}})["net_input"]["inputs"] is inputs
    copied = inputs.feed._copies(CPU)
    assert len(pinned) == 1
    assert next(iter(copied.values())).data_ptr() == pinned[0]


def test_packed_arrays_come_back():
    arrays = [np.arange(5, dtype=np.int32), np.zeros((0, 7), np.int32), np.ones((2, 3)), np.array(7, dtype=np.int64)]
    packed = Packed.of(arrays)
    for ours, theirs in zip(packed.arrays(), arrays):
        np.testing.assert_array_equal(ours, theirs)
        assert ours.dtype == theirs.dtype
