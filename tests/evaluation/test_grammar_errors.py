import random
from dataclasses import replace

import pytest

from data_prep.tokens import grammar
from data_prep.tokens.grammar import GrammarState, obeys_grammar
from data_prep.tokens.vocabulary import (
    FAMILIES,
    GENERAL,
    LETTERS,
    REPRESENTATIONS,
    SIX_TRACK,
    Narrowing,
    Order,
    TokenError,
)
from evaluation.grammar_errors import GrammarErrors

RIGHT = "t-30 o-0 i-80 p-60 d-6 v-20 i-128 p-164 d-3 v-20 o-6 i-80 p-62 d-6 v-20 b-1 t-30 b-1"


def places(line, representation=SIX_TRACK):
    return GrammarErrors(representation).indices(line.split()).tolist()


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (RIGHT, []),
        ("", [0]),
        (RIGHT + " t-30", [19]),  # nothing ends it
        (RIGHT.replace(" v-20 i-128", " i-128"), [5]),  # a note without velocity
        (RIGHT.replace("o-6", "o-0"), [10]),  # onsets rise
        (RIGHT.replace("o-6", "o-48"), [10]),  # outside 4/4
        (RIGHT.replace("i-128", "i-80"), [6, 7]),  # the same instrument again, and not with a drum's pitch
        (RIGHT.replace("p-164", "p-36"), [7]),  # drums have pitches of their own
        (RIGHT.replace("p-62", "p-130"), [12]),  # and others have not
        (RIGHT.replace("p-60", "<unk>"), [3, 4]),  # no token, then a duration without pitch
        (RIGHT.replace("d-6 v-20 b-1", "d-96 v-20 b-1"), [13, 14]),  # past the last duration: in no piece
        (RIGHT.replace("b-1 t-30 b-1", "b-1 b-1"), [16]),
        ("t-30 o-0 i-0 p-60 d-6 v-20 p-64 d-6 v-20 b-1", [6]),  # notes fall in pitch
        ("t-30 o-0 i-0 p-60 d-6 v-20 p-60 d-7 v-20 b-1", [7]),  # then in duration
        ("t-30 o-0 i-0 p-60 d-6 v-20 p-60 d-6 v-21 b-1", [8]),  # then in velocity
        ("t-30 o-0 i-0 p-60 d-6 v-20 p-60 d-6 v-20 b-1", []),  # doubled notes stay
        ("o-0 i-0 p-60 d-6 v-20 b-1", [0]),  # one error, not one for every token of the bar
        ("t-30 o-9 i-0 p-60 d-6 v-20 b-1 t-30 o-0 i-0 p-60 d-6 v-20 b-1", []),  # onsets begin again in a bar
    ],
)
def test_errors_by_hand(line, expected):
    assert places(line) == expected


def test_a_metre_bounds_its_bars_and_holds_until_the_next():
    note = "t-30 i-0 p-60 d-6 v-20"
    assert places(f"s-8 o-35 {note} b-1", GENERAL) == []  # 3/4
    assert places(f"s-8 o-36 {note} b-1", GENERAL) == [1]
    assert places(f"s-8 b-1 o-36 {note} b-1", GENERAL) == [2]
    assert places(f"s-19 o-35 {note} b-1 s-9 o-47 {note} b-1", GENERAL) == []


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_broken_pieces_have_their_first_error_where_the_state_machine_stops(name, write_piece):
    representation = REPRESENTATIONS[name]
    errors = GrammarErrors(representation)
    chance = random.Random(name)
    broken = 0
    for seed in range(300):
        words = write_piece(representation, 3, seed)
        assert errors.indices(words).tolist() == []
        place = chance.randrange(len(words))
        kind = chance.randrange(3)
        if kind == 0:
            del words[place]
        elif kind == 1:
            words.insert(place, chance.choice(words))
        else:
            words[place] = chance.choice(representation.symbols())
        found = errors.indices(words)
        assert (len(found) == 0) == obeys_grammar(words, representation)
        if len(found):
            broken += 1
            assert found[0] == first_error(words, representation)
    assert broken > 200


def first_error(words, representation):
    state = GrammarState(representation)
    for place, word in enumerate(words):
        try:
            state.advance(word)
        except TokenError:
            return place
    return len(words)


@pytest.mark.parametrize(
    ("letter", "rule", "line", "place"),
    [
        ("v", {"ids": range(16)}, RIGHT, 5),
        ("o", {"order": Order.FREE}, RIGHT.replace("o-6", "o-0"), None),
        ("i", {"since": "b"}, RIGHT, 11),  # instruments rise through the whole bar
        ("d", {"narrowing": Narrowing("i", lambda instrument: (0, 5 if instrument == 80 else 95))}, RIGHT, 4),
    ],
)
def test_a_rule_is_changed_in_one_place(monkeypatch, letter, rule, line, place):
    """What explains, what checks whole pieces and what counts errors all follow the table."""
    changed = [replace(family, **rule) if family.letter == letter else family for family in FAMILIES]
    monkeypatch.setattr(grammar, "FAMILIES", tuple(changed))
    representation = replace(SIX_TRACK)  # tables are kept for each
    words = line.split()
    found = GrammarErrors(representation).indices(words).tolist()
    assert obeys_grammar(words, SIX_TRACK) != obeys_grammar(words, representation) == (place is None)
    assert first_error(words, representation) == (len(words) if place is None else place)
    assert found[:1] == ([] if place is None else [place])


def test_letters_and_names_are_one_each():
    assert len(set(LETTERS)) == len({family.name for family in FAMILIES}) == len(FAMILIES)
