"""Bars told in any order: read at once and token by token alike, and nothing seen before it is written."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from fairseq.models import FairseqLanguageModel

from museformer_plugin.steering.guide import BarGuide

VARIANTS = {
    "embedded": {},
    "rotary": {"positions": "rotary", "rotary_index": "onset", "qk_norm": True, "previous_tokens": 3},
    "no_coarse": {"no_coarse_attention": True},
}


@pytest.fixture(params=VARIANTS.values(), ids=VARIANTS.keys())
def decoder(request, build_decoder):
    return build_decoder(steerable=True, structure_bars="1,3", dropout=0, attention_dropout=0, **request.param)


def logits_of(decoder, tokens, guide):
    with torch.no_grad():
        return decoder(tokens[None], inputs=decoder.inputs_of([tokens], [guide]))[0][0]


def load(decoder, state):
    """As fairseq loads the weights of a model."""
    FairseqLanguageModel(decoder).load_state_dict({f"decoder.{name}": rows for name, rows in state.items()})


@torch.no_grad()
def test_steps_equal_the_full_forward(decoder, read_piece, draw_guide):
    tokens = read_piece("six_track", bars=9, seed=1)
    guide = draw_guide(decoder.families, 9, seed=2)
    expected = logits_of(decoder, tokens, guide)
    for prompt in (1, 2, 30, len(tokens) // 2, len(tokens) - 1):
        logits, streams = decoder.read_prompts([tokens[:prompt]], [guide])
        torch.testing.assert_close(logits[0], expected[:prompt], rtol=0, atol=1e-9)
        for place in range(prompt, len(tokens)):
            found = decoder.step(tokens[place][None], streams)
            torch.testing.assert_close(found[0], expected[place], rtol=0, atol=1e-9)


@torch.no_grad()
def test_streams_that_enter_are_told_their_own(decoder, read_piece, draw_guide):
    pieces = [read_piece("six_track", bars=6, seed=seed) for seed in (1, 2, 3)]
    guides = [draw_guide(decoder.families, 6, seed) for seed in (4, 5, 6)]
    first, second, entering = (logits_of(decoder, *piece) for piece in zip(pieces, guides))
    _, streams = decoder.read_prompts([piece[:9] for piece in pieces[:2]], guides[:2])
    streams.select([1, 0])
    for place in range(9, 14):
        found = decoder.step(torch.stack([pieces[1][place], pieces[0][place]]), streams)
        torch.testing.assert_close(found, torch.stack([second[place], first[place]]), rtol=0, atol=1e-9)
    _, one = decoder.read_prompts([pieces[2][:20]], guides[2:])
    streams.put(0, one)
    for offset in range(min(len(pieces[2]) - 20, len(pieces[0]) - 14)):
        found = decoder.step(torch.stack([pieces[2][20 + offset], pieces[0][14 + offset]]), streams)
        expected = torch.stack([entering[20 + offset], first[14 + offset]])
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


def test_no_position_sees_a_later_one(decoder, read_piece, draw_guide):
    """Whatever numbers bars have: the distances of some are negative, and of some 0."""
    tokens = read_piece("six_track", bars=5, seed=4)
    guide = draw_guide(decoder.families, 5, seed=1)
    guide = replace(guide, numbers=np.array([3, 1, 3, 2, 6]))
    expected = logits_of(decoder, tokens, guide)
    notes = [place for place in range(1, len(tokens)) if decoder.dictionary[tokens[place]][0] == "v"]
    for place in notes:
        changed = tokens.clone()
        changed[place] = decoder.dictionary.index("v-31" if decoder.dictionary[tokens[place]] != "v-31" else "v-0")
        found = logits_of(decoder, changed, guide)
        torch.testing.assert_close(found[:place], expected[:place], rtol=0, atol=1e-12)
        assert (found[place] - expected[place]).abs().max() > 1e-6


def test_what_is_said_of_a_bar_reaches_its_tokens_and_later_bars(decoder, read_piece):
    tokens = read_piece("six_track", bars=4, seed=0)
    plain = BarGuide.plain([1, 2, 3, 4], decoder.condition_columns.width)
    told = replace(plain, features=plain.features.copy())
    told.features[1, 5] = 1
    difference = (logits_of(decoder, tokens, told) - logits_of(decoder, tokens, plain)).abs().amax(dim=1)
    starts = decoder.families.piece_bars(tokens.numpy()).starts
    assert not difference[: starts[1]].any()
    assert (difference[starts[1] :] > 1e-9).all()


@torch.no_grad()
@pytest.mark.parametrize("options", VARIANTS.values(), ids=VARIANTS.keys())
def test_a_plain_guide_changes_nothing(build_decoder, read_piece, options):
    """A steerable model that is told nothing computes what it computed before it could be told anything."""
    before = build_decoder(structure_bars="1,3", **options)
    steerable = build_decoder(structure_bars="1,3", steerable=True, **options)
    load(steerable, before.state_dict())
    tokens = read_piece("six_track", bars=9, seed=1)
    guide = BarGuide.plain(range(1, 10), steerable.condition_columns.width)
    expected = before(tokens[None])[0][0]
    assert torch.equal(logits_of(steerable, tokens, guide), expected)
    assert torch.equal(steerable(tokens[None])[0][0], expected)
    assert torch.equal(logits_of(before, tokens, guide), expected)


@pytest.mark.parametrize("matrix", ["embedding", "late"])
def test_gradients_of_what_is_said(decoder, read_piece, draw_guide, matrix):
    """Against differences, for a few numbers of the matrix."""
    parameter = getattr(decoder.conditions, matrix)
    tokens, guide = read_piece("six_track", bars=4, seed=3), draw_guide(decoder.families, 4, seed=3)

    def loss():
        return decoder(tokens[None], inputs=decoder.inputs_of([tokens], [guide]))[0].square().mean()

    loss().backward()
    gradient = parameter.grad
    for row, column in ((0, 0), (7, 3), (len(gradient) - 1, 15)):
        with torch.no_grad():
            values = []
            for step in (1e-6, -2e-6):
                parameter[row, column] += step
                values.append(loss().item())
            parameter[row, column] += 1e-6
        assert gradient[row, column].item() == pytest.approx((values[0] - values[1]) / 2e-6, rel=1e-5, abs=1e-9)


@torch.no_grad()
def test_weights_from_before_something_was_said_late_are_what_they_were(decoder, read_piece, draw_guide):
    tokens, guide = read_piece("six_track", bars=4, seed=3), draw_guide(decoder.families, 4, seed=3)
    state = {name: rows.clone() for name, rows in decoder.state_dict().items()}
    state["conditions"] = state.pop("conditions.embedding")
    state["late_conditions"] = late = state.pop("conditions.late")
    later = logits_of(decoder, tokens, guide)
    decoder.conditions.late.zero_()
    without = logits_of(decoder, tokens, guide)
    assert not torch.equal(later, without)

    load(decoder, state)
    assert torch.equal(decoder.conditions.late, late)
    assert torch.equal(logits_of(decoder, tokens, guide), later)
    del state["late_conditions"]
    load(decoder, state)
    assert torch.equal(logits_of(decoder, tokens, guide), without)


def test_the_state_of_optimizers_stays_in_its_order(decoder):
    """They keep it by the places of parameters; trainings from before the matrices had a module go on."""
    assert [name for name, _ in decoder.named_parameters()][:2] == ["conditions.embedding", "conditions.late"]


@torch.no_grad()
def test_a_bar_that_repeats_another_looks_for_it(build_decoder, read_piece):
    """Half of the heads of a rotary model; where no bar is named nothing moves."""
    decoder = build_decoder(structure_bars="1,3", steerable=True, **VARIANTS["rotary"])
    tokens = read_piece("six_track", bars=6, seed=1)
    plain = BarGuide.plain(range(1, 7), decoder.condition_columns.width)
    seen = replace(plain, repeats=np.array([-1, -1, -1, 2, 1, -1]))  # at distances 1, seen anyway, and 3
    found = (logits_of(decoder, tokens, seen) - logits_of(decoder, tokens, plain)).abs().amax(dim=1)
    starts = decoder.families.piece_bars(tokens.numpy()).starts
    assert decoder.repeat_heads == 1  # of 2
    assert not found[: starts[3]].any()
    assert (found[starts[3] :] > 1e-9).all()


def test_weights_that_were_told_without_looking_are_refused(build_decoder):
    decoder = build_decoder(structure_bars="1,3", steerable=True, **VARIANTS["rotary"])
    state = {name: rows for name, rows in decoder.state_dict().items() if name != "looks_back"}
    with pytest.raises(RuntimeError, match="looks_back"):
        load(decoder, state)
