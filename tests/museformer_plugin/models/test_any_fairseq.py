"""fairseq's own language models write here by their own incremental state."""

from argparse import Namespace

import pytest
import torch
from fairseq import models, options
from fairseq.models import ARCH_CONFIG_REGISTRY, ARCH_MODEL_REGISTRY

from museformer_plugin.errors import UserError
from museformer_plugin.generation_options import check_generation
from museformer_plugin.models.any_fairseq import AnyFairseqModel, facts_of, writing_model
from museformer_plugin.task import MuseformerLanguageModelingTask, MuseformerTaskConfig
from museformer_plugin.token_families import TokenFamilies

LSTM = {"decoder_embed_dim": 16, "decoder_hidden_size": 16, "decoder_out_embed_dim": 16, "decoder_layers": 2}
TRANSFORMER = {"decoder_embed_dim": 16, "decoder_ffn_embed_dim": 16, "decoder_layers": 2, "decoder_attention_heads": 2}


@pytest.fixture
def build(dictionary_of):
    """A function from an architecture and its options to the model."""
    return lambda arch, **sizes: build_of_fairseq(dictionary_of, arch, sizes)


@pytest.fixture(params=[("lstm_lm", LSTM), ("transformer_lm_gpt", TRANSFORMER)], ids=lambda arch: arch[0])
def model(request, build):
    arch, sizes = request.param
    return build(arch, **sizes)


def build_of_fairseq(dictionary_of, arch, sizes):
    task = MuseformerLanguageModelingTask(MuseformerTaskConfig(), dictionary_of("six_track"))
    args = Namespace(
        **sizes, criterion="cross_entropy", tokens_per_sample=500, max_target_positions=500, add_bos_token=False
    )
    ARCH_CONFIG_REGISTRY[arch](args)
    torch.manual_seed(0)
    return ARCH_MODEL_REGISTRY[arch].build_model(args, task).eval().double()


@torch.no_grad()
def test_streams_that_enter_and_leave_go_on_as_each_alone(model, dictionary_of, read_piece):
    writer = writing_model(model, TokenFamilies(dictionary_of("six_track")))
    pieces = [read_piece("six_track", bars=3, seed=seed) for seed in range(3)]
    expected = [model(piece[None])[0][0] for piece in pieces]
    logits, streams = writer.read_prompts([pieces[0][:7], pieces[1][:3]])
    torch.testing.assert_close(logits[0], expected[0][:7], rtol=0, atol=1e-6)
    _, entering = writer.read_prompts([pieces[2][:5]])
    streams.select([1, 0, 1])
    streams.put(2, entering)
    order, read = [1, 0, 2], [3, 7, 5]
    for step in range(12):
        found = writer.step(torch.stack([pieces[piece][n + step] for piece, n in zip(order, read)]), streams)
        for row, piece, n in zip(found, order, read):
            torch.testing.assert_close(row, expected[piece][n + step], rtol=0, atol=1e-6)
    assert len(streams) == 3


def test_a_model_of_ours_writes_itself(build_decoder):
    model = models.FairseqLanguageModel(build_decoder())
    assert writing_model(model, model.decoder.families) is model.decoder
    assert facts_of(model)["structure bars"] == "1,2,4"


def test_a_decoder_without_a_state_is_told(dictionary_of):
    with pytest.raises(UserError, match="Linear keeps no state while it writes"):
        AnyFairseqModel(torch.nn.Linear(1, 1), TokenFamilies(dictionary_of("six_track")))


def test_pieces_longer_than_the_learnt_positions_are_told(build):
    learnt = build("transformer_lm_gpt", **TRANSFORMER, decoder_learned_pos=True)
    others = build("transformer_lm_gpt", **TRANSFORMER), build("lstm_lm", **LSTM)
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
