"""fairseq's own language models write here by their own incremental state."""

import pytest
import torch
from fairseq import models, options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf

from museformer_plugin.errors import UserError
from museformer_plugin.generation_options import check_generation
from museformer_plugin.models.any_fairseq import AnyFairseqModel, facts_of, writing_model
from museformer_plugin.task import MuseformerLanguageModelingTask, MuseformerTaskConfig
from museformer_plugin.token_families import TokenFamilies

WIDTHS = {"decoder_embed_dim": 16, "decoder_layers": 2}
LSTM = {**WIDTHS, "decoder_hidden_size": 16, "decoder_out_embed_dim": 16}
TRANSFORMER = {**WIDTHS, "decoder_ffn_embed_dim": 16, "decoder_attention_heads": 2}
# Of logits in float64, read token by token against at once: fairseq's attention takes its softmax in float32 there.
TOLERANCES = {"lstm_lm": 1e-9, "transformer_lm": 1e-6, "transformer_lm_gpt": 1e-6}


@pytest.fixture
def build(dictionary_of):
    """A function from an architecture and its options to the model, in float64."""
    task = MuseformerLanguageModelingTask(MuseformerTaskConfig(), dictionary_of("six_track"))

    def build(arch, *more):
        sizes = LSTM if arch == "lstm_lm" else TRANSFORMER
        words = ["data", "--task", "museformer_language_modeling", "--arch", arch, "--tokens-per-sample", "500", *more]
        for name, size in sizes.items():
            words += [f"--{name.replace('_', '-')}", str(size)]
        told = options.parse_args_and_arch(options.get_training_parser(), words)
        torch.manual_seed(0)
        return task.build_model(convert_namespace_to_omegaconf(told).model).eval().double()

    return build


@pytest.mark.parametrize("arch", TOLERANCES)
@torch.no_grad()
def test_streams_that_enter_and_leave_go_on_as_each_alone(build, dictionary_of, read_piece, arch):
    model, near = build(arch), {"rtol": 0, "atol": TOLERANCES[arch]}
    writer = writing_model(model, TokenFamilies(dictionary_of("six_track")))
    pieces = [read_piece("six_track", bars=3, seed=seed) for seed in range(3)]
    expected = [model(piece[None])[0][0] for piece in pieces]
    logits, streams = writer.read_prompts([pieces[0][:7], pieces[1][:3]])
    torch.testing.assert_close(logits[0], expected[0][:7], **near)
    _, entering = writer.read_prompts([pieces[2][:5]])
    streams.select([1, 0, 1])
    streams.put(2, entering)
    order, read = [1, 0, 2], [3, 7, 5]
    for step in range(12):
        found = writer.step(torch.stack([pieces[piece][n + step] for piece, n in zip(order, read)]), streams)
        for row, piece, n in zip(found, order, read):
            torch.testing.assert_close(row, expected[piece][n + step], **near)
    assert len(streams) == 3


@pytest.mark.parametrize("arch", TOLERANCES)
@torch.no_grad()
def test_a_repeated_stream_goes_on_by_itself(build, dictionary_of, read_piece, arch):
    model = build(arch)
    writer = writing_model(model, TokenFamilies(dictionary_of("six_track")))
    start, *ends = (read_piece("six_track", bars=3, seed=seed)[:20] for seed in range(3))
    _, streams = writer.read_prompts([start])
    _, entering = writer.read_prompts([start])
    streams.select([0, 0, 0])
    streams.put(2, entering)
    for tokens in zip(*ends, ends[0]):
        found = writer.step(torch.stack(tokens), streams)
    for row, end in zip(found, (*ends, ends[0])):
        expected = model(torch.cat([start, end])[None])[0][0, -1]
        torch.testing.assert_close(row, expected, rtol=0, atol=TOLERANCES[arch])
    found = writer.step(ends[1][:1], entering)  # which stayed as it was
    expected = model(torch.cat([start, ends[1][:1]])[None])[0][0, -1]
    torch.testing.assert_close(found[0], expected, rtol=0, atol=TOLERANCES[arch])


@pytest.mark.parametrize("arch", TOLERANCES)
@torch.no_grad()
def test_no_position_sees_a_later_one(build, read_piece, arch):
    """Every token in turn becomes another; what comes before it may not notice."""
    model = build(arch)
    tokens = read_piece("six_track", bars=3, seed=0)
    changed = tokens.repeat(len(tokens), 1)
    places = range(1, len(tokens))  # the begin token stays
    changed[places, places] = torch.where(tokens == 40, 41, 40)[1:]
    expected, found = model(tokens[None])[0][0], model(changed)[0]
    for place in places:
        torch.testing.assert_close(found[place, :place], expected[:place], rtol=0, atol=1e-12)
        assert (found[place, place] - expected[place]).abs().max() > 1e-6


def test_a_model_of_ours_writes_itself(build_decoder):
    model = models.FairseqLanguageModel(build_decoder())
    assert writing_model(model, model.decoder.families) is model.decoder
    assert facts_of(model)["structure bars"] == "1,2,4"


def test_a_decoder_without_a_state_is_told(dictionary_of):
    with pytest.raises(UserError, match="Linear keeps no state while it writes"):
        AnyFairseqModel(torch.nn.Linear(1, 1), TokenFamilies(dictionary_of("six_track")))


def test_pieces_longer_than_the_learnt_positions_are_told(build):
    learnt = build("transformer_lm_gpt", "--decoder-learned-pos")
    others = build("transformer_lm_gpt"), build("lstm_lm")
    for longest in (500, 501):
        for model in others:
            check_generation([model], generation(longest), None)
    check_generation([learnt], generation(500), None)
    with pytest.raises(UserError, match="positions up to 500 tokens.*--max-len-b must be at most that, not 501"):
        check_generation([learnt], generation(501), None)


def generation(longest):
    """fairseq's options of generation."""
    parser = options.get_generation_parser()
    return parser.parse_args(["--path", "model.pt", "--sampling", "--beam", "1", "--max-len-b", str(longest)])
