"""Writing on the device, a token of which the host reads a step late, against a host that reads each at once."""

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils._python_dispatch import TorchDispatchMode

from data_prep.tokens.vocabulary import LETTERS
from museformer_plugin.family_temperatures import FamilyTemperatures
from museformer_plugin.fc_attention import cache, cache_buffers
from museformer_plugin.generator import MuseformerGenerator
from museformer_plugin.models.any_fairseq import AnyFairseqModel
from museformer_plugin.models.museformer import MuseformerDecoder
from museformer_plugin.piece_rules import PieceRules
from museformer_plugin.recorded_steps import RecordedSteps
from museformer_plugin.sampling import SamplingOptions
from museformer_plugin.steering.asked import Ask, wishes_of
from museformer_plugin.steering.sequence_bars import cut_bars
from museformer_plugin.task_options import MuseformerTaskConfig
from tests.museformer_plugin.host_loop import write_by_host
from tests.museformer_plugin.recordings import Counted

OPTIONS = {
    "any": SamplingOptions(True, -1, -1.0, 1.0, repeat_temperature=0.4),
    "top_8": SamplingOptions(True, 8, -1.0, 1.0),
    "nucleus": SamplingOptions(True, -1, 0.9, 1.1),
    "greedy": SamplingOptions(False, -1, -1.0, 1.0),
}


def options_of(kind, families):
    if kind == "families":
        return SamplingOptions(True, 8, -1.0, 0.9, FamilyTemperatures(families, {"pitch": 0.5, "duration": 2.0}))
    return OPTIONS[kind]


def write(decoder, prompts, options, rules, *, pieces=1, at_once=0, requests=None, seed=7):
    """Tokens and scores of every piece, in the order of their prompts."""
    generator = MuseformerGenerator(
        decoder, options, rules, pieces_per_prompt=pieces, at_once=at_once, seed=seed, progress=False
    )
    padded = nn.utils.rnn.pad_sequence(prompts, batch_first=True, padding_value=decoder.dictionary.pad())
    sample = {"net_input": {"src_tokens": padded}} | ({"requests": requests} if requests else {})
    under_way, entrance = generator._begin(sample, None)
    with torch.no_grad():
        for _ in generator._write(under_way, entrance):
            pass
    return [(piece.tokens, piece.scores) for piece in under_way]


def assert_same(found, expected):
    """The tokens, and the scores but for rounding: prompts are read together in other ways."""
    assert [tokens for tokens, _ in found] == [tokens for tokens, _ in expected]
    for (_, scores), (_, others) in zip(found, expected):
        assert scores == pytest.approx(others, abs=1e-5)


def prompts_of(decoder, read_piece):
    """A piece of two bars, one that stops in a bar, and none."""
    name = decoder.families.representation.name
    return [read_piece(name, 2, seed=5), read_piece(name, 2, seed=6)[:17], read_piece(name, 1, seed=1)[:1]]


@pytest.fixture
def on_padded(monkeypatch):
    """Caches as they are on a GPU, with small buffers, and a way to record steps, which counts them."""
    monkeypatch.setattr(cache_buffers, "_PADDED_GROWTH", 64)
    counted = Counted()
    monkeypatch.setattr(MuseformerDecoder, "empty_cache", _padded_cache)
    monkeypatch.setattr(
        "museformer_plugin.models.streams.RecordedSteps", lambda **options: RecordedSteps(counted, **options)
    )
    return counted


def _padded_cache(decoder, on_gpu, expected):
    return cache.BarCache(decoder.structure_bars, decoder.coarse, padded=True, expected=expected)


@pytest.mark.parametrize("at_once", [0, 2])
@pytest.mark.parametrize("kind", [*OPTIONS, "families"])
@pytest.mark.parametrize("name", ["six_track", "general"])
def test_tokens_are_those_of_a_host_that_reads_each_at_once(build_decoder, read_piece, name, kind, at_once):
    """Seed for seed, with streams that enter and leave."""
    decoder = build_decoder(name, dtype=torch.float32)
    prompts, options = prompts_of(decoder, read_piece), options_of(kind, decoder.families)
    found = write(decoder, prompts, options, PieceRules(decoder.families, 70, 110), pieces=2, at_once=at_once)
    assert_same(found, write_by_host(decoder, prompts, options, 70, 110, 2, at_once, 7))


@pytest.fixture
def requests_of(read_piece):
    """Requests of every kind but given tracks, some of which fill the room that there is, by a decoder."""

    def make(decoder):
        families = decoder.families
        tracks = "bass,drums,3:-drums" if families.representation.name == "six_track" else "0,drums,3:-drums"
        asked = [
            {"fill_bars": "2-3"},
            {"vary_bars": "1-2"},
            {"bars": 6},
            {"tempo": "96"},
            {"tracks": tracks, "bars": 4},
            {"form": "i1A3B1A3", "tracks": tracks.replace("bass", "bass,melody")},
        ]
        found = []
        for number, options in enumerate(asked):
            song = read_piece(families.representation.name, 3 + number % 3, seed=number).numpy()[1:]
            kept = len(song) if number < 2 else 0
            wishes = wishes_of(MuseformerTaskConfig(**options), families.representation)
            found.append(Ask(wishes, families)(song[:kept] if kept == 0 else song, kept))
        return found

    return make


@pytest.mark.parametrize(("at_once", "max_len"), [(0, 400), (3, 400), (3, 170)])
@pytest.mark.parametrize("name", ["six_track", "general"])
def test_requests_are_kept_as_by_such_a_host(build_decoder, requests_of, name, at_once, max_len):
    decoder = build_decoder(name, seed=3, steerable=True, dtype=torch.float32)
    requests = requests_of(decoder)
    begin = torch.tensor([decoder.dictionary.eos()])
    rules = PieceRules(decoder.families, 0, max_len)
    found = write(decoder, [begin] * 6, OPTIONS["any"], rules, pieces=2, at_once=at_once, requests=requests)
    prompts = [torch.cat([begin, torch.from_numpy(request.prompt())]) for request in requests]
    expected = write_by_host(decoder, prompts, OPTIONS["any"], 0, max_len, 2, at_once, 7, requests)
    assert_same(found, expected)


@pytest.mark.parametrize(("name", "kind"), [("six_track", "top_8"), ("general", "families")])
def test_a_recorded_step_writes_the_same(build_decoder, read_piece, on_padded, name, kind):
    """The whole step is played again: no number of it is the host's; random numbers go on from where they are."""
    decoder = build_decoder(name, positions="rotary", rotary_index="onset", qk_norm=True, previous_tokens=3)
    prompts, options = prompts_of(decoder, read_piece), options_of(kind, decoder.families)
    rules = PieceRules(decoder.families, 70, 110)
    found = write(decoder, prompts, options, rules, pieces=2, at_once=4)
    assert on_padded.recorded > 1
    assert on_padded.played > 30
    assert_same(found, write_by_host(decoder, prompts, options, 70, 110, 2, 4, 7))


def test_requests_are_kept_by_recorded_steps(build_decoder, requests_of, on_padded):
    decoder = build_decoder("six_track", seed=3, steerable=True)
    requests = requests_of(decoder)
    begin = torch.tensor([decoder.dictionary.eos()])
    rules = PieceRules(decoder.families, 0, 240)
    found = write(decoder, [begin] * 6, OPTIONS["any"], rules, at_once=3, requests=requests)
    assert on_padded.played > 20
    prompts = [torch.cat([begin, torch.from_numpy(request.prompt())]) for request in requests]
    assert_same(found, write_by_host(decoder, prompts, OPTIONS["any"], 0, 240, 1, 3, 7, requests))


def test_notes_that_are_given_late_are_kept_by_recorded_steps(build_decoder, on_padded):
    """A step recorded while nothing was given goes on where a stream enters whose notes are."""
    decoder = build_decoder("six_track", seed=3, steerable=True)
    families = decoder.families
    requests = []
    for form in ("A2A2", "A2A2 3-4=1-2:all", "A2A2 3-4=1-2:all"):
        wishes = wishes_of(MuseformerTaskConfig(form=form), families.representation)
        requests.append(Ask(wishes, families)(np.empty(0, dtype=np.int64), 0))
    begin = torch.tensor([decoder.dictionary.eos()])
    found = write(decoder, [begin] * 3, OPTIONS["any"], PieceRules(families, 0, 2000), at_once=1, requests=requests)
    assert on_padded.played > 20
    for piece, _ in found[1:]:
        tokens = np.array(piece)
        bars = cut_bars(tokens[families.family_of_token[tokens] != LETTERS.index("t")], families.end_of_bar)
        assert [bar.tolist() for bar in bars[2:4]] == [bar.tolist() for bar in bars[:2]]


class _HostReads(TorchDispatchMode):
    """Counts what would make the host wait for a device; tensors of the CPU stand for those of a GPU."""

    WAITS = ("_local_scalar_dense", "nonzero", "masked_select", "equal", "is_nonzero", "unique")

    def __init__(self, monkeypatch):
        super().__init__()
        self.count = 0
        self.made_by_host = 0
        for name in ("tolist", "item", "numpy", "cpu", "__bool__", "__int__", "__float__", "__index__", "__array__"):
            monkeypatch.setattr(torch.Tensor, name, self._counted(getattr(torch.Tensor, name)))

    def _counted(self, method):
        def read(tensor, *arguments, **keywords):
            self.count += 1
            return method(tensor, *arguments, **keywords)

        return read

    def __torch_dispatch__(self, operator, types, arguments=(), keywords=None):
        name = operator.__name__.partition(".")[0]
        self.count += name in self.WAITS
        self.made_by_host += name == "lift_fresh"
        return operator(*arguments, **(keywords or {}))


@torch.no_grad()
@pytest.mark.parametrize("steerable", [False, True], ids=["plain", "asked"])
def test_the_host_reads_once_a_step_and_sends_nothing(build_decoder, requests_of, on_padded, monkeypatch, steerable):
    """In the middle of bars; of the steps at a bar's end too, but for what the bar's end itself needs."""
    decoder = build_decoder("six_track", seed=3, steerable=True)
    begin = torch.tensor([decoder.dictionary.eos()])
    requests = [requests_of(decoder)[2]] if steerable else None
    rules = PieceRules(decoder.families, 100, 300)
    generator = MuseformerGenerator(decoder, OPTIONS["top_8"], rules, pieces_per_prompt=6, seed=1, progress=False)
    sample = {"net_input": {"src_tokens": begin[None]}} | ({"requests": requests} if steerable else {})
    under_way, entrance = generator._begin(sample, None)
    counts, end_of_bar = [], decoder.families.end_of_bar
    reads = _HostReads(monkeypatch)
    advance = MuseformerDecoder.advance

    def counted_advance(self, tokens, streams):
        in_bars = all(piece.tokens[-2:].count(end_of_bar) == 0 for piece in under_way)
        counts.append((reads.count, reads.made_by_host, in_bars and len(streams)))
        return advance(self, tokens, streams)

    monkeypatch.setattr(MuseformerDecoder, "advance", counted_advance)
    monkeypatch.setattr("museformer_plugin.models.streams.RecordedSteps", _NeverRecorded)
    with reads:
        for _ in generator._write(under_way, entrance):
            pass
    steps = [
        (after[0] - before[0], after[1] - before[1])
        for before, after in zip(counts, counts[1:])
        if before[2] == after[2] == 6
    ]
    assert len(steps) > 20
    assert {read for read, _ in steps} == {1}
    assert {sent for _, sent in steps} == {0}


class _NeverRecorded:
    def __init__(self, **unused):
        pass

    def run(self, step, inputs, *unused):
        return step(*inputs)


@pytest.mark.parametrize("kind", ["top_8", "nucleus", "greedy"])
def test_where_nothing_is_allowed_writing_stops(build_decoder, kind):
    """It does not go on with tokens that are none."""
    decoder = build_decoder()

    class Strict(PieceRules):
        def allowed(self, lengths, *others):
            return super().allowed(lengths, *others) & (lengths < 20)[:, None]

    begin = torch.tensor([decoder.dictionary.eos()])
    with pytest.raises(RuntimeError, match="a stream has no way to go on"):
        write(decoder, [begin], OPTIONS[kind], Strict(decoder.families, 0, 100), pieces=3)


def test_logits_that_are_no_numbers_stop_writing(build_decoder):
    decoder = build_decoder()
    with torch.no_grad():
        decoder.output_projection.weight.fill_(float("nan"))
    begin = torch.tensor([decoder.dictionary.eos()])
    with pytest.raises(RuntimeError, match="logits are no numbers"):
        write(decoder, [begin], OPTIONS["top_8"], PieceRules(decoder.families, 0, 100))


def test_models_of_fairseq_write_so_too(build_decoder, read_piece):
    decoder = build_decoder(dtype=torch.float32)
    wrapped = AnyFairseqModel(decoder, decoder.families)
    prompts = prompts_of(decoder, read_piece)[1:]
    found = write(wrapped, prompts, OPTIONS["top_8"], PieceRules(decoder.families, 1, 60), pieces=2, at_once=2)
    assert_same(found, write_by_host(decoder, prompts, OPTIONS["top_8"], 1, 60, 2, 2, 7))
