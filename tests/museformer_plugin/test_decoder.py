"""The model against the original's numbers, and against itself read in other ways."""

import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from fairseq.sequence_generator import SequenceGenerator
from torch import nn

from museformer_plugin.models.museformer import MuseformerConfig, MuseformerDecoder, MuseformerLanguageModel
from museformer_plugin.steering.guide import BarGuide
from tests.architectures import ARCHITECTURES, KINDS, WITHOUT_WEIGHTS

SHIPPABLE = [
    ("six_track", "six_track_checkpoint", "six_track__band_0"),
    ("six_track", "six_track_checkpoint", "six_track__band_1"),
    ("six_track", "six_track_checkpoint", "six_track__duo_0"),
    ("six_track", "six_track_checkpoint", "six_track__duo_1"),
    ("general", "general_checkpoint", "general__any_0"),
]
REFERENCE = [
    ("six_track", "lmd6remi_official_checkpoint", "lmd6remi_B"),
    ("six_track", "lmd6remi_official_checkpoint", "lmd6remi_D"),
    ("six_track", "lmd6remi_official_checkpoint", "lmd6remi_E"),
    ("six_track", "lmd6remi_official_checkpoint", "lmd6remi_F"),
    ("general", "general_official_checkpoint", "general_G"),
]


@pytest.fixture(scope="module", params=SHIPPABLE + REFERENCE, ids=lambda case: case[2])
def original(request, golden, load_original, golden_case):
    """An original's (decoder in float64, recorded case)."""
    name, checkpoint, case = request.param
    folder = golden if request.param in SHIPPABLE else request.getfixturevalue("shared") / "golden" / "reference"
    folder = folder / "model"
    return load_original(folder / f"{checkpoint}.pt", name), golden_case(folder / f"{case}.npz")


def logits_of(decoder, tokens):
    """Logits [n, V] of one piece, int64 [n]."""
    with torch.no_grad():
        return decoder(tokens[None])[0][0]


def test_logits_are_those_of_the_original_in_float64(original):
    decoder, case = original
    tokens, rows = (torch.from_numpy(case[name]).long() for name in ("src_tokens", "logits_rows"))
    logits = logits_of(decoder.double(), tokens)
    torch.testing.assert_close(logits[rows], torch.from_numpy(case["logits"]), rtol=0, atol=1e-9)
    losses = F.cross_entropy(logits, torch.from_numpy(case["target"]).long(), reduction="none")
    torch.testing.assert_close(losses, torch.from_numpy(case["nll"]), rtol=0, atol=1e-9)
    assert losses.sum().item() == pytest.approx(float(case["nll_sum"]), rel=1e-12)


def test_logits_are_those_of_the_original_in_float32(original):
    decoder, case = original
    tokens, rows = (torch.from_numpy(case[name]).long() for name in ("src_tokens", "logits_rows"))
    logits = logits_of(decoder.float(), tokens)[rows].double()
    expected = torch.from_numpy(case["logits"])
    assert ((logits - expected).abs().max() / expected.abs().max()).item() < 1e-4


def test_bars_and_beats_are_those_of_the_original(original):
    decoder, case = original
    inputs = decoder.inputs_of([torch.from_numpy(case["src_tokens"]).long()])
    piece = inputs.layout.pieces[0]
    np.testing.assert_array_equal(inputs.positions.beats, case["beat_ids"])
    np.testing.assert_array_equal(inputs.layout.bar_ids, case["bar_ids"])
    assert piece.num_complete == case["num_complete_bars"]
    # the original's list goes on to the end of the last bar
    np.testing.assert_array_equal(piece.starts, case["bar_starts"][: len(piece.starts)])
    assert case["bar_starts"][len(piece.starts) :].tolist() in ([], [piece.num_tokens])


@pytest.mark.parametrize(("name", "of_the_original"), [("six_track", 16_141_312), ("general", 16_616_448)])
def test_paper_size(dictionary_of, name, of_the_original):
    with torch.device("meta"):
        decoder = MuseformerDecoder(MuseformerConfig(), dictionary_of(name))
    # the original's table of summary embeddings has a padding entry of width 512
    assert sum(parameter.numel() for parameter in decoder.parameters()) == of_the_original - 512


def test_initialisation(dictionary_of):
    torch.manual_seed(0)
    decoder = MuseformerDecoder(MuseformerConfig(decoder_layers=1), dictionary_of("six_track"))
    width = 512
    xavier_uniform = (6 / (width + width)) ** 0.5
    projections = decoder.layers[0].projections
    for matrix in (*projections.weight.chunk(3), *projections.summary_kv_weight.chunk(2)):
        assert matrix.abs().max().item() == pytest.approx(xavier_uniform / 2**0.5, rel=1e-3)
    assert decoder.layers[0].out_proj.weight.abs().max().item() == pytest.approx(xavier_uniform, rel=1e-3)
    assert decoder.output_projection.weight.std().item() == pytest.approx(width**-0.5, rel=0.01)
    embeddings = decoder.embedding.token.weight[decoder.dictionary.pad() + 1 :]
    assert embeddings.std().item() == pytest.approx(1, rel=0.01)
    biases = [p for name, p in decoder.named_parameters() if name.endswith("bias") and "norm" not in name]
    assert biases
    assert not any(bias.any() for bias in biases)


ROTARY = {"positions": "rotary", "rotary_index": "onset", "qk_norm": True, "previous_tokens": 3}  # as the sizes have it
VARIANTS = {
    **KINDS,
    **{f"{name}_rotary": {**kind, **ROTARY} for name, kind in KINDS.items()},
    "no_coarse": {"no_coarse_attention": True},
    "no_structure_bars": {"structure_bars": ""},
    "far_structure_bars": {"structure_bars": "3,5"},
    "rotary": {"positions": "rotary"},
    "rotary_no_coarse": {"positions": "rotary", "qk_norm": True, "no_coarse_attention": True},
    "qk_norm": {"qk_norm": True},
    "previous_tokens": {"previous_tokens": 2},
    "transformer_xl_without_memory": {"architecture": "transformer_xl", "memory_tokens": 0},
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def variant(request):
    return request.param


@pytest.mark.parametrize("name", ["six_track", "general"])
def test_no_position_sees_a_later_one(build_decoder, read_piece, name, variant):
    """Every token in turn becomes another, in training mode; what comes before it may not notice."""
    decoder = build_decoder(name, **variant, dropout=0, attention_dropout=0)
    decoder.train()
    tokens = read_piece(name, bars=6, seed=0)
    others = torch.randint(4, len(decoder.dictionary), tokens.shape, generator=torch.Generator().manual_seed(0))
    end_of_bar = decoder.families.end_of_bar
    for replacements in (others, torch.full_like(tokens, end_of_bar)):
        changed = tokens.repeat(len(tokens), 1)
        changed[range(len(tokens)), range(len(tokens))] = replacements
        changed[0, 0] = tokens[0]  # the begin token stays
        with torch.no_grad():
            expected, found = decoder(tokens[None])[0][0], decoder(changed)[0]
        for place in range(1, len(tokens)):
            torch.testing.assert_close(found[place, :place], expected[:place], rtol=0, atol=1e-12)
            if replacements[place] != tokens[place]:
                assert (found[place, place] - expected[place]).abs().max() > 1e-6


def test_every_position_hears_of_the_first_token(build_decoder, read_piece):
    """Through structure bars or summaries, however far."""
    decoder = build_decoder(structure_bars="1,3")
    tokens = read_piece("six_track", bars=8, seed=1)
    changed = tokens.clone()
    changed[1] += 1
    difference = (logits_of(decoder, changed) - logits_of(decoder, tokens)).abs().amax(dim=1)
    assert difference[0] == 0
    assert (difference[1:] > 1e-9).all()


def test_a_batch_of_unequal_pieces_equals_each_alone(build_decoder, read_piece, variant):
    decoder = build_decoder(**variant)
    pieces = [read_piece("six_track", bars, seed=bars)[: -bars % 3 or None] for bars in (5, 1, 12, 2)]
    pieces.append(pieces[0][:1])  # the begin token alone
    padded = nn.utils.rnn.pad_sequence(pieces, batch_first=True, padding_value=decoder.dictionary.pad())
    with torch.no_grad():
        logits = decoder(padded)[0]
    for row, piece in zip(logits, pieces):
        torch.testing.assert_close(row[: len(piece)], logits_of(decoder, piece), rtol=0, atol=1e-12)
        assert not row[len(piece) :].any()


@pytest.mark.parametrize("kind", KINDS)
@torch.no_grad()
def test_laying_out_in_the_workers_changes_nothing(build_decoder, read_piece, kind):
    """What lays out goes to them, and what they lay out comes back."""
    decoder = build_decoder(**KINDS[kind])
    tokens = read_piece("six_track", bars=4, seed=0)
    made = decoder(tokens[None])[0]
    decoder.inputs = pickle.loads(pickle.dumps(decoder.inputs))
    inputs = pickle.loads(pickle.dumps(decoder.inputs_of([tokens])))
    given = decoder(tokens[None], inputs=inputs)[0]
    assert torch.equal(given, made)


@pytest.mark.parametrize("name", ["six_track", "general"])
@torch.no_grad()
def test_token_by_token_equals_the_full_forward(build_decoder, read_piece, variant, name):
    decoder = build_decoder(name, **variant)
    tokens = read_piece(name, bars=9, seed=2)
    logits, streams = decoder.read_prompts([tokens[:1]])
    found = [logits[0][-1], *(decoder.step(token[None], streams)[0] for token in tokens[1:])]
    torch.testing.assert_close(torch.stack(found), logits_of(decoder, tokens), rtol=0, atol=1e-11)


@torch.no_grad()
def test_a_prompt_read_at_once_equals_token_by_token(build_decoder, read_piece, variant):
    """Wherever it stops: in the first bar, right before and after a bar's end, bars later."""
    decoder = build_decoder(**variant)
    tokens = read_piece("six_track", bars=5, seed=3)
    expected = logits_of(decoder, tokens)
    for length in range(1, len(tokens)):
        logits, streams = decoder.read_prompts([tokens[:length]])
        torch.testing.assert_close(logits[0], expected[:length], rtol=0, atol=1e-11)
        for place in range(length, min(length + 12, len(tokens))):
            found = decoder.step(tokens[place][None], streams)
            torch.testing.assert_close(found[0], expected[place], rtol=0, atol=1e-11)


@torch.no_grad()
def test_streams_of_a_batch_go_on_as_each_alone(build_decoder, read_piece, variant):
    decoder = build_decoder("general", **variant)
    pieces = [read_piece("general", bars=10, seed=seed, notes_a_bar=2 + seed) for seed in range(4)]
    prompts = [1, 17, 2, 30]
    _, streams = decoder.read_prompts([piece[:length] for piece, length in zip(pieces, prompts)])
    expected = [logits_of(decoder, piece) for piece in pieces]
    steps = min(len(piece) - length for piece, length in zip(pieces, prompts))
    assert steps > 40
    for offset in range(steps):
        places = [length + offset for length in prompts]
        found = decoder.step(torch.stack([piece[place] for piece, place in zip(pieces, places)]), streams)
        for row, logits, place in zip(found, expected, places):
            torch.testing.assert_close(row, logits[place], rtol=0, atol=1e-11)


@torch.no_grad()
def test_selected_streams_go_on_by_themselves(build_decoder, read_piece, variant):
    decoder = build_decoder(**variant)
    start = read_piece("six_track", bars=3, seed=0)
    ends = [read_piece("six_track", bars=4, seed=seed)[1:] for seed in (1, 2, 3)]
    other = read_piece("six_track", bars=2, seed=4)
    _, streams = decoder.read_prompts([other, start])
    streams.select([1, 1, 1])  # one prompt, three pieces
    pieces = [torch.cat([start, end]) for end in ends]
    expected = [logits_of(decoder, piece) for piece in pieces]
    kept = [0, 1, 2]
    for offset in range(min(map(len, ends))):
        if offset == 10:
            streams.select([2, 0])
            kept = [2, 0]
        place = len(start) + offset
        found = decoder.step(torch.stack([pieces[number][place] for number in kept]), streams)
        for row, number in zip(found, kept):
            torch.testing.assert_close(row, expected[number][place], rtol=0, atol=1e-11)


@torch.no_grad()
def test_a_stream_takes_the_place_of_another(build_decoder, read_piece, variant):
    decoder = build_decoder(**variant)
    old, other, new = (read_piece("six_track", bars=4, seed=seed) for seed in (1, 2, 3))
    expected = [logits_of(decoder, piece) for piece in (new, other)]
    _, streams = decoder.read_prompts([old[:9], other[:9]])
    _, entering = decoder.read_prompts([new[:20]])
    streams.put(0, entering)
    for place in range(9, min(len(other), len(new) - 11)):
        found = decoder.step(torch.stack([new[place + 11], other[place]]), streams)
        torch.testing.assert_close(found[0], expected[0][place + 11], rtol=0, atol=1e-11)
        torch.testing.assert_close(found[1], expected[1][place], rtol=0, atol=1e-11)


@torch.no_grad()
def test_incremental_protocol_of_fairseq(build_decoder, read_piece):
    """Growing prefixes, one token or several at a time, reordered in between."""
    decoder = build_decoder()
    first, second = (read_piece("six_track", bars=6, seed=seed) for seed in (0, 1))
    length = min(len(first), len(second))
    batch = torch.stack([first[:length], second[:length]])
    state, read = {}, 0
    for until in (4, 5, 6, 11, 12, length):
        found, _ = decoder(batch[:, :until], incremental_state=state)
        expected = torch.stack([logits_of(decoder, row[:until]) for row in batch])
        torch.testing.assert_close(found, expected[:, read:], rtol=0, atol=1e-11)
        read = until
        decoder.reorder_incremental_state_scripting(state, torch.tensor([1, 0]))
        batch = batch[[1, 0]]


@pytest.mark.parametrize("beam", [1, 3], ids=lambda n: f"beam_{n}")
@torch.no_grad()
def test_fairseqs_own_generator_finds_the_same_incrementally(build_decoder, beam):
    decoder = build_decoder(dtype=torch.float64, seed=1)
    model = MuseformerLanguageModel(decoder)
    dictionary = decoder.dictionary
    sample = {"net_input": {"src_tokens": torch.full((2, 1), dictionary.eos()), "src_lengths": torch.ones(2)}}
    generator = SequenceGenerator([model], dictionary, beam_size=beam, max_len_b=40, match_source_len=False, min_len=30)
    rows = []  # that were read at each step
    decoder.output_projection.register_forward_hook(lambda _, inputs, output: rows.append(len(output)))
    incremental = generator.generate([model], sample)
    assert max(rows) == 2 * beam
    generator.model.has_incremental = False
    whole = generator.generate([model], sample)
    assert max(rows) > 2 * 30
    for found, expected in zip(incremental, whole):
        assert [h["tokens"].tolist() for h in found] == [h["tokens"].tolist() for h in expected]


def test_checkpointed_activations_give_the_same_gradients(build_decoder, read_piece):
    tokens = read_piece("six_track", bars=6, seed=0)[None]
    gradients, runs = [], []
    for checkpoint_activations in (False, True):
        decoder = build_decoder(checkpoint_activations=checkpoint_activations, dropout=0.2, attention_dropout=0.2)
        decoder.train()
        count = []
        decoder.layers[0].ffn_in.register_forward_hook(lambda *_, count=count: count.append(1))
        torch.manual_seed(7)
        decoder(tokens)[0].square().mean().backward()
        runs.append(len(count))
        gradients.append({name: parameter.grad for name, parameter in decoder.named_parameters()})
    assert runs == [2, 4]  # for tokens and for summaries; again in the backward
    plain, checkpointed = gradients
    for name, gradient in plain.items():
        assert gradient is not None, name
        torch.testing.assert_close(checkpointed[name], gradient, rtol=0, atol=1e-14)


def test_every_parameter_learns_from_a_batch(build_decoder, read_piece):
    decoder = build_decoder(structure_bars="1", dropout=0, attention_dropout=0).train()
    decoder(read_piece("six_track", bars=6, seed=0)[None])[0].square().mean().backward()
    assert all(parameter.grad.any() for parameter in decoder.parameters())


@pytest.mark.parametrize("architecture", sorted({*ARCHITECTURES} - WITHOUT_WEIGHTS))
def test_dropout_acts_in_training_alone(build_decoder, read_piece, architecture):
    tokens = read_piece("six_track", bars=3, seed=0)
    for rates in ({"dropout": 0.5, "attention_dropout": 0}, {"dropout": 0, "attention_dropout": 0.5}):
        decoder = build_decoder(architecture=architecture, **rates)
        assert torch.equal(logits_of(decoder, tokens), logits_of(decoder, tokens))
        decoder.train()
        assert not torch.equal(logits_of(decoder, tokens), logits_of(decoder, tokens))


def test_dropout_reaches_embeddings_and_both_branches(build_decoder, read_piece):
    """Where all is dropped nothing comes through, of summaries neither."""
    decoder = build_decoder(dropout=0, attention_dropout=0).train()
    decoder.dropout = 1.0
    decoder(read_piece("six_track", bars=6, seed=0)[None])[0].square().sum().backward()
    assert decoder.output_projection.weight.grad.any()
    assert not any(parameter.grad.any() for parameter in decoder.embedding.parameters())
    rows = torch.randn(2, 5, 16, dtype=torch.float64)
    for layer in decoder.layers:
        layer.dropout = 1.0
        assert torch.equal(layer.finish(rows[0], rows[1].view(5, 2, 8)), rows[0])


def test_positions_have_no_end(build_decoder):
    decoder = build_decoder()
    ends = torch.full((3001,), decoder.families.end_of_bar)
    ends[0] = decoder.dictionary.eos()
    assert logits_of(decoder, ends).isfinite().all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16], ids=str)
def test_half_precision_trains(build_decoder, read_piece, dtype, kind):
    """As fairseq's --fp16 and --bf16 cast the whole model."""
    tokens = read_piece("six_track", bars=12, seed=0)[None]
    exact, half = (
        build_decoder(dtype=precision, dropout=0, attention_dropout=0, **KINDS[kind]).train()
        for precision in (torch.float64, dtype)
    )
    logits = [decoder(tokens)[0] for decoder in (exact, half)]
    for decoder_logits in logits:
        decoder_logits.float().square().mean().backward()
    expected, found = logits
    assert found.dtype == dtype
    assert (found.double() - expected).abs().max() < 30 * torch.finfo(dtype).eps * expected.abs().max()
    for (name, parameter), other in zip(half.named_parameters(), exact.parameters()):
        assert parameter.grad.isfinite().all(), name
        error = (parameter.grad.double() - other.grad).norm()
        assert error < 50 * torch.finfo(dtype).eps * other.grad.norm() + 1e-6, name


def test_kernels_are_tried_where_a_model_is_built_and_moved(build_decoder, monkeypatch):
    """By the device and dtype it has then; no forward pass does it."""
    tried = []
    monkeypatch.setattr("museformer_plugin.models.decoder.try_kernels", lambda *like: tried.append(like))
    decoder = build_decoder()  # built in float32, then made float64
    cpu = torch.device("cpu")
    assert tried == [(cpu, torch.float32, 8), (cpu, torch.float64, 8)]
    nn.Sequential(decoder).to(torch.bfloat16)
    assert tried[2:] == [(cpu, torch.bfloat16, 8)]


@pytest.mark.parametrize("options", [{}, {"positions": "rotary", "previous_tokens": 2}], ids=["embedded", "rotary"])
def test_steps_through_bars_that_are_not_numbered_in_order(build_decoder, read_piece, options):
    """As where bars are written into a song: positions and structure bars go by the numbers."""
    decoder = build_decoder(structure_bars="-2,-1,0,1,4", **options)
    pieces = [read_piece("six_track", bars=8, seed=seed) for seed in (3, 4)]
    guides = [BarGuide.plain(numbers, 0) for numbers in ([1, 2, 7, 8, 3, 4, 4, 6], range(1, 9))]
    steps = min(map(len, pieces))
    with torch.no_grad():
        rows = decoder.extract_features(torch.cat(pieces), decoder.inputs_of(pieces, guides))
        expected = decoder.output_projection(rows).split([len(piece) for piece in pieces])
        other = decoder(pieces[0][None])[0][0]
        _, streams = decoder.read_prompts([piece[:12] for piece in pieces], guides)
        for place in range(12, steps):
            found = decoder.step(torch.stack([piece[place] for piece in pieces]), streams)
            for logits, whole in zip(found, expected):
                torch.testing.assert_close(logits, whole[place], rtol=0, atol=1e-10)
    assert (other - expected[0]).abs().max() > 1e-3
