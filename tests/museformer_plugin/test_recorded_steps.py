"""Recorded steps: what a CUDA graph would play again, recorded and played here as a graph of PyTorch's operators."""

import pytest
import torch

from museformer_plugin.fc_attention import cache, cache_buffers
from museformer_plugin.fc_attention.cache_buffers import PaddedBuffer
from museformer_plugin.recorded_steps import RecordedSteps, cuda_graph
from tests.museformer_plugin.recordings import Counted


@pytest.fixture
def record():
    """Every operator of a step, with the tensors that it reads and writes, and no Python."""
    return Counted()


@pytest.fixture
def padded_streams(monkeypatch):
    """A function that makes a decoder's streams as they are on a GPU, with small buffers that grow often."""
    monkeypatch.setattr(cache_buffers, "_PADDED_GROWTH", 32)
    monkeypatch.setattr(cache, "_LENGTH_MULTIPLE", 16)
    monkeypatch.setattr(cache, "StreamBuffers", lambda: PaddedBuffer(expected=1))

    def read(decoder, prompts, record, record_ends=None):
        logits, streams = decoder.read_prompts(prompts)
        streams.cache.padded = True
        streams.recorded = RecordedSteps(record)
        streams.recorded_ends = RecordedSteps(record_ends or Counted(), seen_before=4)
        return logits, streams

    return read


@pytest.mark.parametrize("variant", [{}, {"no_coarse_attention": True}], ids=["coarse", "no_coarse"])
@torch.no_grad()
def test_recorded_steps_compute_what_the_model_computes(build_decoder, read_piece, padded_streams, record, variant):
    """A graph holds no number of the step it was recorded at: bars, beats, places, which rows are seen."""
    decoder = build_decoder("general", **variant)
    pieces = [read_piece("general", bars=12, seed=seed, notes_a_bar=2 + seed) for seed in range(3)]
    expected = [decoder(piece[None])[0][0] for piece in pieces]
    prompts = [1, 17, 2]
    ends = Counted()
    _, streams = padded_streams(decoder, [piece[:length] for piece, length in zip(pieces, prompts)], record, ends)
    kept = [0, 1, 2]
    steps = min(len(piece) - length for piece, length in zip(pieces, prompts))
    for offset in range(steps):
        if offset == steps // 2:
            streams.select([2, 0])
            kept = [2, 0]
        places = [prompts[number] + offset for number in kept]
        found = decoder.step(torch.stack([pieces[number][place] for number, place in zip(kept, places)]), streams)
        for row, number, place in zip(found, kept, places):
            torch.testing.assert_close(row, expected[number][place], rtol=0, atol=1e-11)
    assert record.recorded > 3
    assert record.played > steps // 2
    assert (ends.recorded > 1, ends.played > 5) == ((False, False) if variant else (True, True))


@pytest.mark.parametrize("padded", [False, True], ids=["each_alone", "padded"])
@torch.no_grad()
def test_bars_of_unequal_length_that_end_together(build_decoder, read_piece, padded_streams, padded):
    """Their summaries are made together; that they are right shows in the tokens of later bars."""
    decoder = build_decoder("general", structure_bars="2")
    pieces = [read_piece("general", bars=4, seed=seed, notes_a_bar=2 + 3 * seed) for seed in range(3)]
    expected = [decoder(piece[None])[0][0] for piece in pieces]
    end_of_bar = decoder.families.end_of_bar
    ends = [int((piece == end_of_bar).nonzero()[0, 0]) for piece in pieces]
    assert len(set(ends)) == 3
    prompts = [end - 1 for end in ends]
    begun = [piece[:length] for piece, length in zip(pieces, prompts)]
    _, streams = padded_streams(decoder, begun, Counted()) if padded else decoder.read_prompts(begun)
    for offset in range(min(len(piece) - length for piece, length in zip(pieces, prompts))):
        tokens = torch.stack([piece[length + offset] for piece, length in zip(pieces, prompts)])
        for row, of_piece, length in zip(decoder.step(tokens, streams), expected, prompts):
            torch.testing.assert_close(row, of_piece[length + offset], rtol=0, atol=1e-11)


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
@torch.no_grad()
def test_cuda_graphs_compute_what_the_model_computes(build_decoder, read_piece):
    decoder = build_decoder("general").float().cuda()
    pieces = [read_piece("general", bars=12, seed=seed, notes_a_bar=2 + seed).cuda() for seed in range(2)]
    expected = [decoder(piece[None])[0][0] for piece in pieces]
    prompts = [1, 20]
    _, streams = decoder.read_prompts([piece[:length] for piece, length in zip(pieces, prompts)])
    counted, of_ends = Counted(cuda_graph), Counted(cuda_graph)
    streams.recorded, streams.recorded_ends = RecordedSteps(counted), RecordedSteps(of_ends, seen_before=2)
    order, steps = [0, 1], min(len(piece) - length for piece, length in zip(pieces, prompts))
    for offset in range(steps):
        if offset == steps // 2:
            streams.select([1, 0])
            order = [1, 0]
        tokens = torch.stack([pieces[number][prompts[number] + offset] for number in order])
        for row, number in zip(decoder.step(tokens, streams), order):
            torch.testing.assert_close(row, expected[number][prompts[number] + offset], rtol=0, atol=1e-3)
    assert counted.played > steps // 2
    assert of_ends.played > 2


def same_logits(step, inputs, changed):
    """A recording that holds the numbers of its own step."""
    put_back = changed.keep()
    outputs = step(*inputs)
    put_back()
    return lambda *inputs: outputs


def no_graphs(step, inputs, changed):
    raise RuntimeError("operation not permitted when stream is capturing\nmore of it")


@pytest.mark.parametrize(
    ("record", "message"),
    [(same_logits, "a recorded step computed other numbers"), (no_graphs, "operation not permitted when stream")],
    ids=["wrong", "impossible"],
)
@torch.no_grad()
def test_what_cannot_be_recorded_is_computed(build_decoder, read_piece, padded_streams, caplog, record, message):
    decoder = build_decoder()
    piece = read_piece("six_track", bars=4, seed=0)
    expected = decoder(piece[None])[0][0]
    logits, streams = padded_streams(decoder, [piece[:1]], record)
    found = [logits[0][-1], *(decoder.step(token[None], streams)[0] for token in piece[1:])]
    torch.testing.assert_close(torch.stack(found), expected, rtol=0, atol=1e-11)
    assert sum(message in text for text in caplog.messages) == 1


def double(inputs):
    return (inputs * 2.0,)


def test_steps_are_recorded_by_shape(record):
    steps = RecordedSteps(record)

    def run(length, times):
        for number in range(times):
            inputs = torch.full((length,), float(number))
            assert torch.equal(steps.run(double, [inputs], "memory", (length,))[0], 2 * inputs)

    run(4, 5)
    run(3, 5)
    assert record.recorded == 0
    run(4, 20)
    run(3, 20)
    assert record.recorded == 2
    played = record.played
    run(4, 3)
    assert record.played == played + 3


def test_recordings_are_forgotten_with_their_memory(record):
    steps = RecordedSteps(record)
    for memory in (1, 2, 1):
        for _ in range(20):
            steps.run(double, [torch.ones(4)], memory, (4,))
    assert record.recorded == 3


def test_nothing_is_recorded_in_memory_that_moves_at_every_step(record):
    """As under beam search."""
    steps = RecordedSteps(record)
    for number in range(100):
        steps.run(double, [torch.ones(4)], number % 2, (4,))
    assert record.recorded == 0
