"""Writing in bfloat16: errors beside those of eager code, weights packed or not, the option that asks for it."""

import pytest
import torch
from omegaconf import OmegaConf

from museformer_plugin import packed_weights
from museformer_plugin.errors import UserError
from museformer_plugin.fc_attention.reference import fc_attention_reference
from museformer_plugin.generator import MuseformerGenerator
from museformer_plugin.models import museformer
from museformer_plugin.models.museformer import MuseformerLanguageModel
from museformer_plugin.packed_weights import pack_weights
from museformer_plugin.piece_rules import PieceRules
from museformer_plugin.sampling import SamplingOptions

SIZES = {
    "decoder_layers": 3,
    "decoder_embed_dim": 64,
    "decoder_attention_heads": 4,
    "decoder_ffn_embed_dim": 128,
    "token_embed_dim": 48,
}
ROTARY = {"positions": "rotary", "qk_norm": True, "previous_tokens": 3}
STEERABLE = {**ROTARY, "rotary_index": "onset", "steerable": True}
PROMPTS = [1, 17, 2, 60]
STEPS = 60

needs_bfloat16 = pytest.mark.skipif(
    not packed_weights.multiplies_bfloat16(torch.device("cpu")), reason="the CPU has no instructions for bfloat16"
)


@pytest.fixture(params=[{}, ROTARY, STEERABLE], ids=["paper", "rotary", "steerable"])
def decoders(request, build_decoder):
    """The same parameters, which bfloat16 can hold, in bfloat16 and in float64."""
    half, exact = (build_decoder(dtype=kind, **SIZES, **request.param) for kind in (torch.bfloat16, torch.float64))
    exact.load_state_dict(half.state_dict())
    return half, exact


@pytest.fixture
def pieces(read_piece):
    return [read_piece("six_track", bars=24, seed=seed, notes_a_bar=2 + seed) for seed in range(5)]


def by_definition(tokens, summaries, weight, layout, dropout, place_summary_keys):
    return fc_attention_reference(tokens, summaries, weight, layout, dropout, place_summary_keys)


@torch.no_grad()
def logits_by_definition(decoder, pieces, monkeypatch):
    with monkeypatch.context() as patched:
        patched.setattr(museformer, "fc_attention", by_definition)
        return [decoder(piece[None])[0][0].double() for piece in pieces]


@torch.no_grad()
def written_logits(decoder, pieces):
    """(piece, place, logits) of every step: four prompts, two of which part with the batch; a fifth enters."""
    _, streams = decoder.read_prompts([piece[:length] for piece, length in zip(pieces, PROMPTS)])
    at = list(enumerate(PROMPTS))
    for offset in range(STEPS):
        if offset == 20:
            streams.select([3, 0])
            at = [at[3], at[0]]
        if offset == 30:
            (logits,), entering = decoder.read_prompts([pieces[4][:25]])
            streams.put(0, entering)
            at[0] = (4, 25)
            yield 4, 24, logits[-1]
        logits = decoder.step(torch.stack([pieces[number][place] for number, place in at]), streams)
        yield from ((number, place, row) for (number, place), row in zip(at, logits))
        at = [(number, place + 1) for number, place in at]


@pytest.mark.parametrize("packed", [pytest.param(True, marks=needs_bfloat16), False], ids=["packed", "not_packed"])
def test_error_is_at_most_twice_that_of_eager_code(decoders, pieces, packed, monkeypatch):
    """Token by token, beside whole pieces by the definition in bfloat16; the truth is the definition in float64."""
    half, exact = decoders
    truth, eager = (logits_by_definition(decoder, pieces, monkeypatch) for decoder in (exact, half))
    if packed:
        pack_weights(half)
    ours, theirs = [], []
    for number, place, logits in written_logits(half, pieces):
        assert logits.dtype == torch.bfloat16
        ours.append(logits.double() - truth[number][place])
        theirs.append(eager[number][place] - truth[number][place])
    assert len(ours) > 150
    error, allowed = (torch.stack(errors).square().mean().sqrt() for errors in (ours, theirs))
    assert 0 < error <= 2 * allowed
    assert torch.stack(ours).abs().max() <= 2 * torch.stack(theirs).abs().max()


@needs_bfloat16
def test_packed_weights_compute_the_same(decoders, pieces):
    half, _ = decoders
    unpacked = torch.stack([logits for _, _, logits in written_logits(half, pieces)])
    pack_weights(half)
    packed = torch.stack([logits for _, _, logits in written_logits(half, pieces)])
    # sums are taken in another order
    assert (packed.double() - unpacked.double()).norm() < 0.02 * unpacked.double().norm()


@needs_bfloat16
def test_packed_weights_are_in_no_checkpoint_and_in_no_gradient(decoders, pieces):
    half, _ = decoders
    names = list(half.state_dict())
    pack_weights(half)
    assert list(half.state_dict()) == names
    half(pieces[0][None])[0].float().square().mean().backward()
    assert half.layers[0].ffn_in.weight.grad.any()


def test_other_dtypes_are_not_packed(build_decoder):
    decoder = build_decoder(dtype=torch.float32)
    pack_weights(decoder)
    assert decoder.output_projection._packed is None


@torch.no_grad()
def test_the_cache_is_in_bfloat16_too(decoders, pieces):
    half, exact = decoders
    sizes = [decoder.read_prompts([pieces[4]])[1].cache.num_bytes() for decoder in (half, exact)]
    assert sizes[0] == sizes[1] / 4


def test_the_same_seed_writes_the_same(decoders):
    half, _ = decoders
    pack_weights(half)

    def write():
        torch.manual_seed(5)
        options = SamplingOptions(sampling=True, topk=8, topp=-1.0, temperature=1.0)
        rules = PieceRules(half.families, 80, 120)
        generator = MuseformerGenerator(half, options, rules, pieces_per_prompt=3, at_once=2)
        begin = torch.full((2, 1), half.dictionary.eos())
        return [[h["tokens"].tolist() for h in found] for found in generator.generate([], _sample(begin))]

    assert write() == write()


def _sample(tokens):
    return {"net_input": {"src_tokens": tokens}}


def _inference(**common):
    return OmegaConf.create({"common": {"bf16": False, "fp16": False, **common}, "generation": {}})


def test_the_option(build_decoder):
    for asked, expected in ((False, torch.float32), (True, torch.bfloat16)):
        model = MuseformerLanguageModel(build_decoder(dtype=torch.float32))
        model.prepare_for_inference_(_inference(bf16=asked))
        assert {parameter.dtype for parameter in model.parameters()} == {expected}


def test_one_precision_at_a_time(build_decoder):
    model = MuseformerLanguageModel(build_decoder(dtype=torch.float32))
    with pytest.raises(UserError, match="--fp16 and --bf16 exclude each other"):
        model.prepare_for_inference_(_inference(bf16=True, fp16=True))
