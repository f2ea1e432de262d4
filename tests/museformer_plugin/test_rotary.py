"""Rotary positions: turns depend on distances alone, and the whole model is what its definition says."""

import math

import pytest
import torch

from museformer_plugin import layer as layer_module
from museformer_plugin.fc_attention.reference import fc_attention_reference
from museformer_plugin.models import museformer
from museformer_plugin.positions import Positions
from museformer_plugin.rotary import RotaryPositions, normalise, turn

ROTARY = {"positions": "rotary", "qk_norm": True, "previous_tokens": 3}


def turned(rotary, rows, bar, onset, index):
    ids = [torch.tensor([number]) for number in (bar, onset, index)]
    bars, onsets, indices = ids
    return turn(rows, rotary(Positions(bars, bars, onsets, indices + 1, indices), rows).keys)


def test_products_depend_on_distances_alone():
    rotary = RotaryPositions(32, in_onset=True)
    q, k = torch.randn(2, 1, 3, 32, generator=torch.Generator().manual_seed(0)).double()

    def product(bar, onset, index):
        first = turned(rotary, q, 40 + bar, 12 + onset, 70 + index)
        return (first * turned(rotary, k, 36 + bar, 6 + onset, 61 + index)).sum(-1)

    expected = product(0, 0, 0)
    torch.testing.assert_close(product(100, 0, 0), expected, rtol=0, atol=1e-4)  # angles are float32
    torch.testing.assert_close(product(0, 30, 400), expected, rtol=0, atol=1e-4)
    other = (turned(rotary, q, 40, 12, 70) * turned(rotary, k, 37, 6, 61)).sum(-1)
    assert (other - expected).abs().max() > 1e-2


def test_one_pair_of_each_kind_turns_by_its_first_angle():
    rows = torch.tensor([[[1.0, 0.0, 1.0, 0.0, 1.0, 0.0]]]).double()
    found = turned(RotaryPositions(6, in_onset=True), rows, 1, 2, 3)
    angles = torch.tensor([math.pi / 2, 2 * math.pi / 3, 3.0]).double()
    torch.testing.assert_close(
        found.flatten(), torch.stack([angles.cos(), angles.sin()], dim=1).flatten(), rtol=0, atol=1e-6
    )


def test_nothing_is_turned_at_the_origin():
    rows = torch.randn(1, 2, 8)
    assert torch.equal(turned(RotaryPositions(8, in_onset=True), rows, 0, 0, 0), rows)


def test_indices_count_from_the_bar_or_from_the_onset():
    positions = Positions(*(torch.tensor([n]) for n in (3, 0, 7, 11, 4)))
    rows = torch.randn(1, 2, 8)
    found = [turn(rows, RotaryPositions(8, in_onset)(positions, rows).keys) for in_onset in (False, True)]
    for index, rotated in zip((11, 4), found):
        same = positions._replace(in_bar=torch.tensor([index]))
        assert torch.equal(turn(rows, RotaryPositions(8, in_onset=False)(same, rows).keys), rotated)
    assert not torch.equal(*found)


def test_gradients_are_those_of_the_formula():
    rotary = RotaryPositions(8, in_onset=False)
    by, _ = rotary(Positions(*torch.randint(50, (5, 5))), torch.zeros((), dtype=torch.float64))
    rows = torch.randn(5, 2, 8, dtype=torch.float64, requires_grad=True)
    assert torch.autograd.gradcheck(lambda rows: turn(rows, by), rows)
    transposed = torch.randn(8, 2, 5, dtype=torch.float64).transpose(0, 2)
    found = [torch.autograd.grad(turn(rows, by), rows, grad)[0] for grad in (transposed, transposed.contiguous())]
    assert torch.equal(*found)


def test_queries_that_look_back_stand_in_the_earlier_bar():
    rotary, rows = RotaryPositions(8, in_onset=True), torch.randn(2, 3, 8)
    here = Positions(*torch.tensor([[9, 9], [1, 2], [5, 7], [3, 4], [1, 0]]))
    there = here._replace(bars=torch.tensor([2, 9]))
    found = rotary.looking_back(rotary(here, rows), torch.tensor([7, 0]), heads=3, looking=2)
    own, expected = turn(rows, rotary(here, rows).queries), turn(rows, rotary(there, rows).queries)
    assert torch.equal(turn(rows, found.keys), turn(rows, rotary(here, rows).keys))
    turned_rows = turn(rows, found.queries)
    torch.testing.assert_close(turned_rows[:, :1], own[:, :1])
    torch.testing.assert_close(turned_rows[:, 1:], expected[:, 1:])
    assert not torch.allclose(turned_rows[0, 1:], own[0, 1:])


@pytest.mark.parametrize("width", [4, 7, 33])
def test_heads_that_have_no_three_pairs(width):
    with pytest.raises(ValueError, match=f"even number from 6 up, not {width}"):
        RotaryPositions(width, in_onset=True)


def test_normalised_rows_and_their_gradients():
    rows = torch.randn(5, 2, 8, dtype=torch.float64, requires_grad=True)
    torch.testing.assert_close(normalise(rows), torch.nn.functional.rms_norm(rows, (8,)))
    assert torch.autograd.gradcheck(normalise, rows)
    assert not normalise(torch.zeros(1, 1, 8)).any()


def plain_turn(rows, by):
    first, second = rows[..., 0::2], rows[..., 1::2]
    turned = first * by.real - second * by.imag, second * by.real + first * by.imag
    return torch.stack(turned, dim=-1).flatten(-2)


def plain_normalise(rows):
    return rows * rows.shape[-1] ** 0.5 / rows.square().sum(-1, keepdim=True).sqrt()


@pytest.mark.parametrize("options", [{"positions": "rotary"}, ROTARY], ids=["rotary", "preset"])
@pytest.mark.parametrize("name", ["six_track", "general"])
def test_logits_and_gradients_are_those_of_the_definition(build_decoder, read_piece, monkeypatch, name, options):
    """With dense masks, and autograd through every step."""
    decoder = build_decoder(name, **options)
    tokens = torch.stack([read_piece(name, bars=9, seed=seed)[:80] for seed in (5, 6)])

    def logits_and_gradients():
        logits = decoder(tokens)[0]
        return logits, *torch.autograd.grad(logits.square().mean(), list(decoder.parameters()))

    ours = logits_and_gradients()
    monkeypatch.setattr(
        museformer,
        "fc_attention",
        lambda *arguments, place_summary_keys: fc_attention_reference(
            *arguments, place_summary_keys=place_summary_keys
        ),
    )
    monkeypatch.setattr(layer_module, "turn", plain_turn)
    monkeypatch.setattr(layer_module, "normalise", plain_normalise)
    for found, expected in zip(ours, logits_and_gradients()):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)


@pytest.mark.parametrize("indices", [("bar", "onset"), ("onset", "bar")], ids=["bar_to_onset", "onset_to_bar"])
def test_weights_are_refused_where_they_learnt_the_other_index(build_decoder, indices):
    learnt, other = (build_decoder(positions="rotary", rotary_index=index) for index in indices)
    with pytest.raises(RuntimeError, match="counts_from_onset"):
        other.load_state_dict(learnt.state_dict())
    build_decoder(positions="rotary", rotary_index=indices[0]).load_state_dict(learnt.state_dict())


@pytest.mark.parametrize("index", ["bar", "onset"])
@pytest.mark.parametrize("qk_norm", [False, True])
@pytest.mark.parametrize("learnt", ["embedded", "rotary"])
def test_weights_are_refused_where_they_learnt_other_positions(build_decoder, index, qk_norm, learnt):
    embedded = build_decoder(qk_norm=qk_norm)
    rotary = build_decoder(positions="rotary", rotary_index=index, qk_norm=qk_norm)
    learnt, other = (embedded, rotary) if learnt == "embedded" else (rotary, embedded)
    with pytest.raises(RuntimeError, match=f"counts_from_{index}"):
        load_as_fairseq(other, learnt.state_dict())
    load_as_fairseq(learnt, learnt.state_dict())


def load_as_fairseq(decoder, state):
    state = {f"decoder.{name}": tensor for name, tensor in state.items()}
    decoder.upgrade_state_dict_named(state, "decoder")
    decoder.load_state_dict({name.removeprefix("decoder."): tensor for name, tensor in state.items()})


@pytest.mark.parametrize("options", [{"positions": "rotary", "rotary_index": "bar"}, {}], ids=["bar", "embedded"])
def test_weights_from_before_positions_left_a_mark_load(build_decoder, options):
    decoder = build_decoder(qk_norm=True, **options)
    marks = {"rotary.counts_from_bar", "embedded_positions"}
    before = {name: tensor for name, tensor in decoder.state_dict().items() if name not in marks}
    assert len(before) == len(decoder.state_dict()) - 1
    load_as_fairseq(decoder, before)
