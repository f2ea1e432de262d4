"""Recorded steps: what a CUDA graph would play again, recorded and played here as a graph of PyTorch's operators."""

import pytest
import torch
from torch.fx.experimental.proxy_tensor import make_fx

from museformer_plugin.fc_attention import cache
from museformer_plugin.recorded_steps import RecordedSteps


class OperatorGraphs:
    """Records every operator of a function, with the tensors that it reads and writes, and no Python."""

    def __init__(self):
        self.recorded = self.played = 0

    def __call__(self, function, inputs):
        graph = make_fx(function)(inputs)
        self.recorded += 1

        def play(inputs):
            self.played += 1
            return graph(inputs)

        return play


@pytest.fixture
def record():
    return OperatorGraphs()


@pytest.fixture
def padded_streams(monkeypatch):
    """A function that makes a decoder's streams as they are on a GPU, with small buffers that grow often."""
    monkeypatch.setattr(cache, "_ROOM", 32)

    def read(decoder, prompts, record):
        logits, streams = decoder.read_prompts(prompts)
        streams.cache.padded = True
        streams.recorded = RecordedSteps(record)
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
    _, streams = padded_streams(decoder, [piece[:length] for piece, length in zip(pieces, prompts)], record)
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


@pytest.mark.skipif(not torch.cuda.is_available(), reason="CUDA graphs need a GPU")
@torch.no_grad()
def test_cuda_graphs_compute_what_the_model_computes(build_decoder, read_piece, caplog):
    decoder = build_decoder("general").float().cuda()
    pieces = [read_piece("general", bars=12, seed=seed).cuda() for seed in range(2)]
    expected = [decoder(piece[None])[0][0] for piece in pieces]
    _, streams = decoder.read_prompts([piece[:1] for piece in pieces])
    for place in range(1, min(map(len, pieces))):
        found = decoder.step(torch.stack([piece[place] for piece in pieces]), streams)
        for row, logits in zip(found, expected):
            torch.testing.assert_close(row, logits[place], rtol=0, atol=1e-3)
    assert "without CUDA graphs" not in caplog.text


def other_logits(function, inputs):
    return lambda inputs: function(inputs) + 1


def no_graphs(function, inputs):
    raise RuntimeError("operation not permitted when stream is capturing\nmore of it")


@pytest.mark.parametrize(
    ("record", "message"),
    [(other_logits, "a recorded step computed other logits"), (no_graphs, "operation not permitted when stream")],
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


def test_steps_are_recorded_by_shape_and_forgotten_with_their_memory(record):
    steps = RecordedSteps(record)
    ran = []

    def step(inputs):
        ran.append(len(inputs))
        return inputs * 2.0

    def run(shape, times):
        for _ in range(times):
            assert torch.equal(steps.run(step, torch.ones(shape[1]), shape), torch.full((shape[1],), 2.0))

    run((1, 4), 5)
    run((1, 3), 5)
    assert record.recorded == 0
    run((1, 4), 20)
    run((1, 3), 20)
    assert record.recorded == 2
    played, calls = record.played, len(ran)
    run((1, 4), 3)
    assert (record.played, len(ran)) == (played + 3, calls)
    run((2, 4), 20)  # other memory
    calls = len(ran)
    run((1, 4), 1)
    assert len(ran) > calls
