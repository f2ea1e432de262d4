"""Sharper choices inside a family, the same choice between families."""

import numpy as np
import pytest
import torch

from data_prep.tokens.vocabulary import LETTERS
from museformer_plugin.errors import UserError
from museformer_plugin.family_temperatures import FamilyTemperatures, parse_temperatures
from museformer_plugin.sampling import SamplingOptions, choose_tokens


@pytest.fixture(params=["six_track", "general"])
def families(families_of, request):
    return families_of(request.param)


def by_definition(log_probs, family_of_token, temperatures):
    """One row of float64 probabilities, family by family."""
    probs, found = np.exp(log_probs), np.zeros(len(log_probs))
    for number in np.unique(family_of_token):
        mine = family_of_token == number
        total = probs[mine].sum()
        if total:
            sharpened = (probs[mine] / total) ** (1 / temperatures.get(number, 1.0))
            found[mine] = total * sharpened / sharpened.sum()
    return found


@pytest.mark.parametrize("temperature", [0.3, 0.8, 1.0, 2.0])
def test_the_definition(families, temperature):
    torch.manual_seed(0)
    logits = 3 * torch.randn(5, len(families.family_of_token))
    logits[:, torch.rand(len(families.family_of_token)) < 0.3] = -torch.inf
    logits[:, torch.from_numpy(families.family_of_token) == LETTERS.index("v")] = -torch.inf  # a whole family
    log_probs = torch.log_softmax(logits, dim=-1)
    found = FamilyTemperatures(families, {"pitch": temperature, "duration": 0.5})(log_probs).exp()
    given = {LETTERS.index("p"): temperature, LETTERS.index("d"): 0.5}
    for row, expected in zip(found, log_probs.double().numpy()):
        np.testing.assert_allclose(row, by_definition(expected, families.family_of_token, given), atol=1e-6)


def test_an_unlikely_family_keeps_its_share_when_cold(families):
    """Its probabilities to the power of 20 are no numbers any more."""
    pitches = torch.from_numpy(families.family_of_token) == LETTERS.index("p")
    log_probs = torch.log_softmax(torch.where(pitches, -40.0, 0.0)[None], dim=-1)
    found = FamilyTemperatures(families, {"pitch": 0.05})(log_probs)
    torch.testing.assert_close(found, log_probs)


def test_parsing():
    assert parse_temperatures("") == {}
    assert parse_temperatures("pitch = 0.7, bar end=2") == {"pitch": 0.7, "bar end": 2.0}


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("pich=0.7", "there is no family 'pich'; there are bar end, metre, onset"),
        ("0.7", "there is no family '0.7'"),
        ("pitch", "pitch must have a number from 0.01 to 100, not ''"),
        ("pitch=warm", "pitch must have a number from 0.01 to 100, not 'warm'"),
        ("pitch=0", "pitch must have a number from 0.01 to 100, not '0'"),
        ("pitch=nan", "pitch must have a number from 0.01 to 100, not 'nan'"),
        ("pitch=1e-50", "pitch must have a number from 0.01 to 100, not '1e-50'"),
        ("pitch=1,pitch=1", "pitch is there twice"),
    ],
)
def test_what_is_no_temperature(text, says):
    with pytest.raises(UserError, match=says):
        parse_temperatures(text)


@pytest.mark.parametrize("cut", [{"topk": 3}, {"topp": 0.7}, {}], ids=["topk", "topp", "all"])
def test_the_shares_of_families_are_those_of_what_the_cut_leaves(cut):
    """Two families of two and three tokens; the second is sharpened."""
    log_probs = torch.tensor([[0.30, 0.10, 0.35, 0.20, 0.05]]).log()

    def reshape(left):
        of_second = torch.tensor([False, False, True, True, True])
        share = left[:, of_second].logsumexp(1, keepdim=True)
        sharpened = torch.log_softmax(2 * left, 1).masked_fill(~of_second, -torch.inf)
        return torch.where(of_second, sharpened - sharpened.logsumexp(1, keepdim=True) + share, left)

    options = {"sampling": True, "topk": -1, "topp": -1.0, "temperature": 1.0, **cut}
    drawn = {}
    for name, function in (("plain", None), ("sharp", reshape)):
        random = torch.Generator().manual_seed(0)
        rows = log_probs.expand(20_000, -1)
        chosen, _ = choose_tokens(
            rows, torch.ones_like(rows).bool(), SamplingOptions(**options, reshape=function), random
        )
        drawn[name] = (torch.bincount(chosen, minlength=5) / 20_000).tolist()
    assert [share > 0 for share in drawn["sharp"]] == [share > 0 for share in drawn["plain"]]
    assert sum(drawn["sharp"][2:]) == pytest.approx(sum(drawn["plain"][2:]), abs=0.015)
    assert drawn["sharp"][2] > drawn["plain"][2] + 0.02
