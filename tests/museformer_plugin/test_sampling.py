import pytest
import torch

from museformer_plugin.sampling import SamplingOptions, choose_tokens

PROBABILITIES = torch.tensor([0.4, 0.3, 0.2, 0.1])
ALL = torch.ones(1, 4, dtype=torch.bool)
GREEDY = SamplingOptions(sampling=False, topk=-1, topp=-1.0, temperature=1.0)


def shares(options, allowed=ALL, draws=20_000):
    """How often each of four entries is drawn."""
    generator = torch.Generator().manual_seed(0)
    logits = PROBABILITIES.log().expand(draws, -1)
    tokens, _ = choose_tokens(logits, allowed.expand(draws, -1), options, generator)
    return (torch.bincount(tokens, minlength=4) / draws).tolist()


def sampling(topk=-1, topp=-1.0, temperature=1.0):
    return SamplingOptions(sampling=True, topk=topk, topp=topp, temperature=temperature)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (sampling(), [0.4, 0.3, 0.2, 0.1]),
        (sampling(topk=2), [4 / 7, 3 / 7, 0, 0]),
        (sampling(topk=99), [0.4, 0.3, 0.2, 0.1]),
        (sampling(topp=0.6), [4 / 7, 3 / 7, 0, 0]),
        (sampling(topp=0.71), [4 / 9, 3 / 9, 2 / 9, 0]),
        (sampling(topp=0.01), [1, 0, 0, 0]),
        (sampling(temperature=0.5), [16 / 30, 9 / 30, 4 / 30, 1 / 30]),
        (sampling(topk=2, temperature=0.5), [16 / 25, 9 / 25, 0, 0]),
        (GREEDY, [1, 0, 0, 0]),
    ],
    ids=["all", "top_2", "top_99", "nucleus", "nucleus_of_3", "nucleus_of_1", "cold", "cold_top_2", "greedy"],
)
def test_shares(options, expected):
    assert shares(options) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (sampling(), [0, 0, 2 / 3, 1 / 3]),
        (sampling(topk=2), [0, 0, 2 / 3, 1 / 3]),
        (sampling(topp=0.5), [0, 0, 1, 0]),
        (GREEDY, [0, 0, 1, 0]),
    ],
    ids=["all", "top_2", "nucleus", "greedy"],
)
def test_what_is_not_allowed_is_never_drawn(options, expected):
    """Not even when fewer entries are allowed than top-k asks for."""
    assert shares(options, torch.tensor([[False, False, True, True]])) == pytest.approx(expected, abs=0.02)


@pytest.mark.parametrize("options", [sampling(), sampling(topk=3), sampling(topp=0.9), GREEDY])
def test_the_only_allowed_entry_is_drawn(options):
    assert shares(options, torch.tensor([[False, False, False, True]])) == [0, 0, 0, 1]


def test_scores_are_log_probabilities_before_masking():
    allowed = torch.tensor([[False, False, True, False]])
    tokens, scores = choose_tokens(PROBABILITIES.log()[None], allowed, sampling(topk=2), torch.Generator())
    assert tokens.tolist() == [2]
    assert scores.exp().tolist() == pytest.approx([0.2])


def test_streams_are_drawn_independently():
    logits = torch.zeros(400, 4)
    tokens, _ = choose_tokens(logits, ALL.expand(400, -1), sampling(), torch.Generator().manual_seed(0))
    assert len(tokens.unique()) == 4


def test_the_generator_decides():
    logits = torch.zeros(50, 4)
    drawn = [
        choose_tokens(logits, ALL.expand(50, -1), sampling(), torch.Generator().manual_seed(seed))[0].tolist()
        for seed in (1, 1, 2)
    ]
    assert drawn[0] == drawn[1] != drawn[2]
