"""The grammar in tensors against ``data_prep.tokens.vocabulary``, which defines it."""

import random

import pytest
import torch

from data_prep.tokens.grammar import GrammarState
from data_prep.tokens.vocabulary import REPRESENTATIONS
from museformer_plugin.grammar import StreamGrammar

NAMES = ["six_track", "general"]
UNPLAYABLE = {"s-126"}  # a bar of 1/64 is shorter than a position


def allowed_words(state):
    """What may come next by definition, ``</s>`` included."""
    instruments = state.representation.instruments
    words = {"</s>"} if state.may_end else set()
    for family, (low, high) in state.bounds().items():
        for id_ in range(low, high + 1):
            words.add(f"{family}-{instruments[id_] if family == 'i' else id_}")
    return words - UNPLAYABLE


def masked_words(grammar, dictionary):
    """The same by the masks of ``grammar``, a set per stream."""
    return [{dictionary[entry] for entry in row.nonzero().flatten().tolist()} for row in grammar.allowed()]


def choose(state, chance):
    """Some token: a family at random, then its lowest, its highest or any id, so that corners are reached."""
    bounds = state.bounds()
    family = chance.choice(sorted(bounds))
    low, high = bounds[family]
    while True:
        id_ = chance.choice([low, high, chance.randint(low, high)])
        word = f"{family}-{state.representation.instruments[id_] if family == 'i' else id_}"
        if word not in UNPLAYABLE:
            return word
        low += 1


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("name", NAMES)
def test_masks_are_the_definition_along_random_walks(families_of, name, seed):
    families, chance = families_of(name), random.Random(seed)
    dictionary = families.dictionary
    states = [GrammarState(REPRESENTATIONS[name]) for _ in range(6)]
    for number, state in enumerate(states):  # prompts of unequal length
        for _ in range(3 * number):
            state.advance(choose(state, chance))
    grammar = StreamGrammar(families, states, torch.device("cpu"))
    for step in range(250):
        expected = [allowed_words(state) for state in states]
        assert all(expected), "a stream has no way to go on"
        assert masked_words(grammar, dictionary) == expected
        assert grammar.at_bar_end().tolist() == [state.may_end for state in states]
        assert grammar.may_end_bar().tolist() == ["b" in state.bounds() for state in states]
        words = [choose(state, chance) for state in states]
        for state, word in zip(states, words):
            state.advance(word)
        grammar.advance(torch.tensor([dictionary.index(word) for word in words]))
        if step in (80, 160):
            kept = chance.sample(range(len(states)), len(states) - 2)
            grammar.select(kept)
            states = [states[number] for number in kept]


@pytest.mark.parametrize("name", NAMES)
def test_a_bar_as_long_as_the_grammar_lets_it_be(families_of, name):
    """Always the lowest onset and the highest note: every position, instrument and equal note is reached."""
    families = families_of(name)
    state = GrammarState(REPRESENTATIONS[name])
    grammar = StreamGrammar(families, [state], torch.device("cpu"))
    for _ in range(3000):
        assert masked_words(grammar, families.dictionary) == [allowed_words(state)]
        bounds = state.bounds()
        family = next((f for f in "iosdtvp" if f in bounds), "b")
        if family == "b":
            break
        low, high = bounds[family]
        id_ = {"i": low, "o": low, "s": 9}.get(family, high)
        word = f"{family}-{state.representation.instruments[id_] if family == 'i' else id_}"
        state.advance(word)
        grammar.advance(torch.tensor([families.dictionary.index(word)]))


def test_entries_outside_the_grammar_are_never_allowed(families_of):
    families = families_of("general")
    dictionary = families.dictionary
    grammar = StreamGrammar(families, [GrammarState(REPRESENTATIONS["general"])], torch.device("cpu"))
    first = masked_words(grammar, dictionary)[0]
    assert first == {f"s-{id_}" for id_ in range(254)} - UNPLAYABLE | {"</s>"}
