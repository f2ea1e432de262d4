"""Guided sampling: the two sides of each piece are those of two readings of it, wherever it enters; and bars that
repeat one have a temperature of their own."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from museformer_plugin.fc_attention import NO_BAR
from museformer_plugin.generator import MuseformerGenerator
from museformer_plugin.piece_rules import PieceRules
from museformer_plugin.sampling import SamplingOptions
from museformer_plugin.steering.asked import Ask, wishes_of
from museformer_plugin.steering.conditions import NEW, UNTOLD, BarConditions, ConditionColumns, Role
from museformer_plugin.steering.guide import BarGuide
from museformer_plugin.steering.untold import tells, untold
from museformer_plugin.task_options import MuseformerTaskConfig

STRENGTH, REPEAT_TEMPERATURE = 0.75, 0.4
CONTINUED = {"form": "a2b3a2"}  # behind five bars
ASKED = [
    CONTINUED,
    # nothing enters, whose logit would be raised; the last three bars repeat those before
    {"form": "i1b2b2", "repeats": "3=2"},
    {"bars": 3, "density": 20},
    {"accompany": "melody"},
    {"fill_bars": "2-3", "density": 20},
    {"vary_bars": "1-2", "repeats": "2=1"},
    {"tracks": "1:-drums,1:-piano"},
]


@pytest.fixture(scope="module", params=[{}, {"positions": "rotary"}], ids=["embedded", "rotary"])
def decoder(request, build_decoder):
    model = build_decoder("six_track", steerable=True, seed=3, **request.param)
    torch.manual_seed(4)
    torch.nn.init.normal_(model.conditions.embedding, std=0.5)  # so that it matters what is told
    return model


@pytest.fixture
def asked(decoder, read_piece):
    """(request, piece) of each kind."""
    found = []
    for seed, options in enumerate(ASKED):
        wishes = wishes_of(MuseformerTaskConfig(**options), decoder.families.representation)
        piece = read_piece("six_track", bars=5, seed=seed).numpy()[1:]
        found.append(Ask(wishes, decoder.families)(piece, len(piece) if options is CONTINUED else 0))
    return found


def write(decoder, requests, guidance, repeat_temperature=1.0):
    """The pieces, two of each request, three at a time."""
    options = SamplingOptions(True, 0, 0, 1.0, None, guidance, repeat_temperature)
    rules = PieceRules(decoder.families, 0, 1500)
    generator = MuseformerGenerator(decoder, options, rules, pieces_per_prompt=2, at_once=3, seed=5, progress=False)
    begin = torch.full((len(requests), 1), decoder.dictionary.eos())
    pieces, entrance = generator._begin({"net_input": {"src_tokens": begin}, "requests": requests}, None)
    with torch.no_grad():
        for _ in generator._write(pieces, entrance):
            pass
    return pieces


@torch.no_grad()
def logits_behind(decoder, prompt, guide, written):
    """[n, V] before each of the ``written`` tokens, by one reading of everything."""
    tokens = torch.from_numpy(np.concatenate([prompt, written]))[:-1]
    return decoder(tokens[None], inputs=decoder.inputs_of([tokens], [guide]))[0][0, len(prompt) - 1 :]


def test_scores_are_those_of_the_definition(decoder, asked):
    columns, families = ConditionColumns.of(decoder.families), decoder.families
    for piece in write(decoder, asked, STRENGTH):
        request = asked[piece.example]
        prompt = np.concatenate([[decoder.dictionary.eos()], request.prompt()])
        written = np.array(piece.tokens[len(prompt) - 1 :])
        told = logits_behind(decoder, prompt, request.guide, written)
        plain = logits_behind(decoder, *untold(prompt, request.guide, columns, families.end_of_bar), written)
        expected = (told + STRENGTH * (told - plain)).log_softmax(-1)[range(len(written)), written]
        torch.testing.assert_close(torch.tensor(piece.scores), expected.float(), rtol=1e-5, atol=1e-5)
        assert not torch.allclose(told, plain)


def test_bars_that_repeat_have_a_temperature_of_their_own(decoder, asked):
    end_of_bar, repeating = decoder.families.end_of_bar, 0
    for piece in write(decoder, asked, 0.0, REPEAT_TEMPERATURE):
        request = asked[piece.example]
        prompt = np.concatenate([[decoder.dictionary.eos()], request.prompt()])
        written = np.array(piece.tokens[len(prompt) - 1 :])
        logits = logits_behind(decoder, prompt, request.guide, written)
        bars = len(request.given) + np.cumsum(written == end_of_bar) - (written == end_of_bar)
        repeats = np.append(request.guide.repeats, NO_BAR)[bars] != NO_BAR  # nothing is told of the end of the piece
        repeating += repeats.sum()
        logits = torch.where(torch.from_numpy(repeats)[:, None], logits / REPEAT_TEMPERATURE, logits)
        expected = logits.log_softmax(-1)[range(len(written)), written]
        torch.testing.assert_close(torch.tensor(piece.scores), expected.float(), rtol=1e-5, atol=1e-5)
    assert repeating


def test_where_nothing_is_told_it_changes_nothing(decoder, asked):
    request = asked[-1]
    nothing = BarGuide.plain(request.guide.numbers, request.guide.features.shape[1])
    alone = [replace(request, guide=nothing)]
    assert [piece.tokens for piece in write(decoder, alone, 2.0)] == [
        piece.tokens for piece in write(decoder, alone, 0.0)
    ]
    together = [*alone, asked[0]]  # beside a piece of which something is told
    guided = write(decoder, together, 2.0)
    assert [piece.scores for piece in guided if piece.example == 0] != []
    for piece in guided[:2]:
        expected = logits_behind(decoder, np.array([decoder.dictionary.eos()]), nothing, np.array(piece.tokens))
        chosen = expected.log_softmax(-1)[range(len(piece.tokens)), piece.tokens]
        torch.testing.assert_close(torch.tensor(piece.scores), chosen.float(), rtol=1e-5, atol=1e-5)


def test_repeats_alone_are_written_without_guidance(families_of):
    families = families_of("six_track")
    wishes = wishes_of(MuseformerTaskConfig(repeats="3-4=1-2"), families.representation)
    request = Ask(wishes, families)(np.empty(0, dtype=np.int64), 0)
    assert not tells(request.guide, ConditionColumns.of(families))
    assert request.guide.bars_back()[:4].tolist() == [0, 0, 2, 2]


def test_the_untold_side_knows_neither_wishes_nor_bars_like_those_to_write(families_of, read_piece):
    families = families_of("six_track")
    columns, end = ConditionColumns.of(families), families.end_of_bar
    for options in ASKED:
        wishes = wishes_of(MuseformerTaskConfig(**options), families.representation)
        request = Ask(wishes, families)(read_piece("six_track", bars=5, seed=1).numpy()[1:], 0)
        prompt = np.concatenate([[families.dictionary.eos()], request.prompt()])
        tokens, guide = untold(prompt, request.guide, columns, end)
        beside = [bar for bar in request.given if bar.role in (Role.GIVEN, Role.WRITTEN)]
        np.testing.assert_array_equal(tokens, np.concatenate([prompt[:1], *(bar.tokens for bar in beside)]))
        np.testing.assert_array_equal(guide.numbers, [bar.number for bar in beside] + request.written)
        roles = [bar.role for bar in beside] + [Role.WRITTEN] * len(request.written)
        np.testing.assert_array_equal(columns.roles(guide.features), roles)
        kept = ~np.isin(columns.roles(request.guide.features), (Role.VARIED, Role.PART))
        np.testing.assert_array_equal(guide.bars_back(), request.guide.bars_back()[kept])
        nothing = BarConditions.nothing(roles, columns.num_instruments)
        distances = np.where(guide.repeats == NO_BAR, UNTOLD, guide.bars_back())
        if {"form", "accompany"} & set(options):  # where all bars are told that
            distances[(guide.repeats == NO_BAR) & (np.array(roles) == Role.WRITTEN)] = NEW
        np.testing.assert_array_equal(guide.features, columns.features(nothing.told(distances=distances)))
        assert tells(request.guide, columns)
        assert not tells(guide, columns)
