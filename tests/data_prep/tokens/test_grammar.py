import copy
import random

import pytest

from data_prep.tokens.grammar import GrammarState, check_piece, obeys_grammar, require_grammar, tokens_to_end_bar
from data_prep.tokens.vocabulary import REPRESENTATIONS, TokenError


def passes_check_piece(tokens, representation):
    try:
        check_piece(tokens, representation)
    except TokenError:
        return False
    return True


def mutated(tokens, symbols, rng):
    """A copy with one token replaced, dropped, doubled, swapped with another, or the end cut off."""
    tokens = list(tokens)
    a, b = rng.randrange(len(tokens)), rng.randrange(len(tokens))
    kind = rng.randrange(5)
    if kind == 0:
        # Mostly a token of the same family, so that the ranges and orders are what decides.
        family = tokens[a][:2]
        tokens[a] = rng.choice([s for s in symbols if s.startswith(family)] if rng.random() < 0.8 else symbols)
    elif kind == 1:
        del tokens[a]
    elif kind == 2:
        tokens.insert(a, tokens[a])
    elif kind == 3:
        tokens[a], tokens[b] = tokens[b], tokens[a]
    else:
        del tokens[a:]
    return tokens


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_agrees_with_the_grammar_on_right_and_wrong_pieces(golden, name):
    representation = REPRESENTATIONS[name]
    symbols = representation.symbols()
    rng = random.Random(1)
    verdicts = {True: 0, False: 0}
    for path in sorted((golden / "encode" / name).glob("*.txt")):
        piece = path.read_text().split()[:400]
        for _ in range(60):
            tokens = mutated(piece, symbols, rng)
            expected = passes_check_piece(tokens, representation)
            assert obeys_grammar(tokens, representation) == expected, (path.stem, tokens)
            verdicts[expected] += 1
    assert min(verdicts.values()) > 100


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s-9",
        "b-1",
        "s-126 b-1",  # a bar of 1/64 is shorter than a position
        "s-8 o-36 t-1 i-0 p-1 d-1 v-1 b-1",  # 3/4 has 36 positions
        "s-9 o-1 t-1 i-0 p-1 d-1 v-1 o-1 t-1 i-0 p-1 d-1 v-1 b-1",
        "s-9 o-1 t-1 i-1 p-1 d-1 v-1 i-0 p-1 d-1 v-1 b-1",
        "s-9 o-1 t-1 i-1 p-1 d-1 v-1 p-1 d-1 v-2 b-1",
        "s-9 o-1 t-1 i-1 p-128 d-1 v-1 b-1",
        "s-9 o-1 t-1 i-128 p-127 d-1 v-1 b-1",
        "s-9 o-1 t-1 i-0 p-1 d-96 v-1 b-1",
        "s-9 u-1 b-1",
        "s-9 b-0",
    ],
)
def test_faults(text):
    assert not obeys_grammar(text.split(), REPRESENTATIONS["general"])
    with pytest.raises(TokenError):
        require_grammar(text.split(), REPRESENTATIONS["general"])


def ways_out(state):
    """The fewest tokens that end the bar, found by trying one token of each family."""
    if state.may_end:
        return 0
    if "b" in state.bounds():
        return 1
    found = []
    for family, (low, _) in state.bounds().items():
        following = copy.deepcopy(state)
        following.advance(f"{family}-{state.representation.instruments[low] if family == 'i' else low}")
        found.append(1 + ways_out(following))
    return min(found)


@pytest.mark.parametrize(("name", "most"), [("six_track", 5), ("general", 6)])
def test_a_bar_can_be_ended_from_anywhere(golden, name, most):
    representation = REPRESENTATIONS[name]
    state, needed = GrammarState(representation), set()
    for token in next((golden / "encode" / name).glob("*.txt")).read_text().split()[:300]:
        state.advance(token)
        needed.add(ways_out(state))
    assert max(needed) == tokens_to_end_bar(representation) == most
