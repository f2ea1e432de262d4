"""The loss of bars that are told about, against a plain forward."""

import math
from dataclasses import replace

import numpy as np
import pytest
import torch

from evaluation.steering import SPAN, measure, random_places, sequences_of, span_bits
from museformer_plugin.models.museformer import MuseformerConfig, MuseformerDecoder
from museformer_plugin.steering.asked import wishes_of
from museformer_plugin.steering.conditions import KINDS, Role
from museformer_plugin.steering.heard_conditions import heard_conditions
from museformer_plugin.steering.sequence_bars import cut_bars
from museformer_plugin.task_options import MuseformerTaskConfig


@pytest.fixture(scope="module")
def decoder():
    from fairseq.data import Dictionary

    from data_prep.tokens.vocabulary import SIX_TRACK

    dictionary = Dictionary()
    for symbol in SIX_TRACK.symbols():
        dictionary.add_symbol(symbol)
    torch.manual_seed(0)
    sizes = {"decoder_layers": 1, "decoder_embed_dim": 16, "decoder_attention_heads": 2, "decoder_ffn_embed_dim": 16}
    decoder = MuseformerDecoder(MuseformerConfig(**sizes, steerable=True), dictionary)
    torch.nn.init.normal_(decoder.conditions.embedding)
    return decoder.eval()


@pytest.fixture(scope="module")
def piece(decoder):
    words = [f"t-31 o-{bar} i-80 p-{60 + bar % 3} d-12 v-20 b-1" for bar in range(11)]
    return np.array([decoder.dictionary.index(word) for word in " ".join(words).split()])


def test_the_scored_bars_are_the_same_everywhere(decoder, piece):
    bars = cut_bars(piece, decoder.families.end_of_bar)
    sequences = sequences_of(bars, 3, 32)
    for sequence in sequences.values():
        assert [bar.number for bar in sequence[-SPAN:]] == [4, 5, 6, 7]
        assert all(bar.role == Role.WRITTEN for bar in sequence[-SPAN:])
    assert [bar.number for bar in sequences["filled in"]] == [1, 2, 3, 8, 9, 10, 11, 4, 5, 6, 7]


@torch.no_grad()
def test_what_is_continued_untold_is_the_plain_loss(decoder, piece):
    bars = cut_bars(piece, decoder.families.end_of_bar)
    sequence = sequences_of(bars, 3, 32)["continued"]
    heard = heard_conditions(piece, decoder.families).at(np.arange(len(sequence)))
    untold = heard.without(list(KINDS), np.ones(len(sequence), dtype=bool))
    bits, count = span_bits(decoder, sequence, untold)
    tokens = torch.tensor([decoder.dictionary.eos(), *np.concatenate([bar.tokens for bar in sequence])])
    logits = decoder(tokens[None, :-1])[0][0].double().log_softmax(-1)
    expected = -logits.gather(1, tokens[1:, None])[-count:].sum() / math.log(2)
    assert count == 7 * SPAN
    assert bits == pytest.approx(expected.item(), rel=1e-6)
    assert span_bits(decoder, sequence, heard)[0] != pytest.approx(bits, rel=1e-6)


def test_short_pieces_are_left_out(decoder, piece):
    found = measure(decoder, [piece, piece[:21], piece], around=2)
    assert {name: rows.shape for name, rows in found.items()} == dict.fromkeys(found, (2, 2))


def test_random_places_leave_bars_on_both_sides_and_follow_from_the_seed():
    drawn = [random_places(12, 3, np.random.default_rng(seed)) for seed in range(50)]
    assert {int(first) for firsts in drawn for first in firsts} == {4, 5, 6, 7}
    assert all((np.diff(firsts) > 0).all() for firsts in drawn)
    assert np.array_equal(drawn[7], random_places(12, 3, np.random.default_rng(7)))
    assert not len(random_places(8, 3, np.random.default_rng(0)))


@torch.no_grad()
def test_random_places_of_a_piece_are_summed_up(decoder, piece):
    # 11 bars: spans may begin with bars 5, 6 and 7, so that three places are all of them
    found = measure(decoder, [piece, piece[:56]], around=2, places=3)
    bars = cut_bars(piece, decoder.families.end_of_bar)
    bits = 0.0
    for first in (4, 5, 6):
        sequence = sequences_of(bars, first, 2)["filled in"]
        assert [bar.number for bar in sequence[-SPAN:]] == [first + 1 + n for n in range(SPAN)]
        start = first - 2
        wishes = wishes_of(MuseformerTaskConfig(fill_bars=f"3-{2 + SPAN}"), decoder.families.representation)
        # seven tokens a bar
        guide = wishes.request_for(piece[7 * start : 7 * (first + SPAN + 2)], decoder.families).guide
        guide = replace(guide, numbers=guide.numbers + start)
        tokens = torch.tensor([decoder.dictionary.eos(), *np.concatenate([bar.tokens for bar in sequence])])
        inputs = decoder.inputs_of([tokens[:-1]], [guide])
        logits = decoder(tokens[None, :-1], inputs=inputs)[0][0].double().log_softmax(-1)
        bits -= logits.gather(1, tokens[1:, None])[-7 * SPAN :].sum().item() / math.log(2)
    assert found["filled in"].shape == (1, 2)  # the second piece has 8 bars, one too few
    assert found["filled in"][0].tolist() == pytest.approx([bits, 3 * 7 * SPAN])
