"""What is launched, copied and waited for in a training update, and how full tiles are, against counting by hand."""

import numpy as np
import pytest
import torch

from benchmarks.attention_candidates import draw_layout
from benchmarks.expected import count_operator, count_step, count_update
from benchmarks.launches import STAND_IN, counting
from benchmarks.pieces import random_piece, six_track_dictionary
from benchmarks.tiles import walked_by_aligned_blocks, walked_by_queries, whole_blocks
from museformer_plugin.fc_attention.reference import mask_of
from museformer_plugin.fc_attention.triton.index_lists import IndexLists
from museformer_plugin.models.museformer import MuseformerConfig

pytest.importorskip("triton")
KERNELS = {"summary_fwd_kernel", "ragged_fwd_kernel", "summary_bwd_kernel", "ragged_bwd_kernel_dq"}
KERNELS |= {"ragged_bwd_kernel_dkdv"}
SMALL = {"decoder_embed_dim": 32, "decoder_attention_heads": 2, "decoder_ffn_embed_dim": 32}


def pieces_of(*lengths):
    return [random_piece(length, six_track_dictionary(), seed=length) for length in lengths]


def test_the_operator_launches_each_kernel_once_and_waits_for_nothing():
    counted = [count_operator(draw_layout(tokens, seed=0)) for tokens in (700, 1900)]
    for one in counted:
        assert dict(one.kernels) == dict.fromkeys(KERNELS, 1)
        assert one.transfers == one.reads == 0
        names = [operation.name for operation in one.plain]
        assert names.count("cat") == 2  # keys, and values, once
        assert names.count("add") == 1  # gradients of summaries; those of tokens are added where they are written
        assert "zeros" not in names
    assert counted[0].launches == counted[1].launches
    longer = count_operator(draw_layout(5000, seed=0))  # the sums of keys that over 2,048 queries see come in parts
    assert longer.kernels - counted[0].kernels == {"ragged_bwd_kernel_add": 1}
    assert longer.plain != counted[0].plain
    assert len(longer.plain) == len(counted[0].plain)


@pytest.mark.parametrize(
    ("options", "most_a_layer"), [({}, 130), ({"positions": "rotary", "qk_norm": True, "previous_tokens": 2}, 200)]
)
def test_an_update_copies_its_inputs_once_and_waits_for_nothing(options, most_a_layer):
    found = []
    for layers in (1, 2):
        cfg = MuseformerConfig(**SMALL, **options, decoder_layers=layers)
        counted, _ = count_update(pieces_of(700, 300), cfg)
        assert dict(counted.kernels) == dict.fromkeys(KERNELS, layers)
        assert (counted.transfers, counted.reads) == (1, 0)
        found.append(counted.launches)
    cfg = MuseformerConfig(**SMALL, **options, decoder_layers=2)
    assert count_update(pieces_of(1900, 100), cfg)[0].launches == found[1]  # however long
    assert found[1] - found[0] < most_a_layer


def test_a_step_of_writing_launches_as_much_for_many_streams():
    one, four = (len(count_step(streams)[0].plain) for streams in (1, 4))
    assert one == four > 40


def test_what_waits_is_counted():
    rows = torch.arange(4.0)
    with counting(torch.device("cpu")) as counted:
        rows.sum().item()
        (rows > 1).nonzero()
    assert counted.reads == 2
    with counting() as counted:
        (rows.to(STAND_IN) * 2).view(2, 2)
    assert (counted.transfers, [one.name for one in counted.plain]) == (1, ["mul"])
    assert counted.plain[0].moved == 2 * 4 * 4


def test_operations_of_products():
    rows, weight = torch.empty(5, 3, device=STAND_IN), torch.empty(7, 3, device=STAND_IN)
    with counting() as counted:
        torch.nn.functional.linear(rows, weight)
        torch.nn.functional.linear(rows, weight, torch.empty(7, device=STAND_IN))
    assert [one.operations for one in counted.plain] == [2 * 5 * 3 * 7] * 2


def test_tiles_of_query_blocks_are_those_of_the_lists():
    plan = draw_layout(3000, seed=1).token_plan
    blocks = IndexLists.of(plan).to(torch.device("cpu")).query_blocks.numpy()
    assert walked_by_queries(plan, 64) == whole_blocks(plan, 64) == (64 * -(-blocks[:, 4] // 64) * 64).sum()
    assert walked_by_queries(plan, 128) < whole_blocks(plan, 128)


@pytest.mark.parametrize("size", [32, 128])
def test_tiles_of_aligned_blocks_are_those_of_the_mask(size):
    plan = draw_layout(900, seed=2).token_plan
    mask = mask_of(plan).numpy()
    rows, columns = (np.arange(length) // size for length in mask.shape)
    seen = {(row, column) for row, column in zip(rows[mask.nonzero()[0]], columns[mask.nonzero()[1]])}
    assert walked_by_aligned_blocks(plan, size) == len(seen) * size**2
