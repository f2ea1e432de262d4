import random

import pytest

from data_prep.tokens.grammar import GrammarState, check_piece, obeys_grammar
from data_prep.tokens.vocabulary import (
    FAMILIES,
    GENERAL,
    LETTERS,
    METRES,
    REPRESENTATIONS,
    SIX_TRACK,
    TokenError,
    bar_length,
    duration_id,
    duration_of,
    metre_id,
    representation_of,
    split_token,
    tempo_id,
    tempo_of,
    velocity_id,
    velocity_of,
)

PIECE = "s-9 o-0 t-35 i-0 p-60 d-12 v-20 p-60 d-12 v-20 i-128 p-164 d-3 v-20 b-1 s-9 b-1"


def test_dictionaries_keep_the_order_and_size_of_published_checkpoints():
    six, general = SIX_TRACK.dict_txt().splitlines(), GENERAL.dict_txt().splitlines()
    assert (len(six), len(general)) == (556, 1020)
    assert six[:3] == ["b-0 0", "b-1 0", "o-0 0"] and six[66:72:5] == ["i-0 0", "i-128 0"]
    assert "<c> 0" in six and six[-1] == "u-16 0"
    assert general[-1] == "u-39 0" and "e-1 0" in general and "s-253 0" in general


def test_metres():
    assert (metre_id(4, 4), metre_id(3, 4), metre_id(6, 8)) == (9, 8, 19)
    assert len(METRES) == 254 and METRES[253] == (128, 64)
    assert bar_length(4, 4) == 48 and bar_length(5, 32) == 7
    assert set(range(254)) - set(FAMILIES[LETTERS.index("s")].ids) == {126}  # 1/64


def test_durations_are_exact_in_the_first_octave_and_capped_in_the_last():
    assert [duration_id(n) for n in (0, 1, 11, 12, 13, 14, 36, 3059, 3060, 10**6)] == [
        0, 1, 11, 12, 12, 13, 24, 95, 95, 95,
    ]  # fmt: skip
    assert duration_of(0) == 1
    assert duration_of(95) == duration_of(127) == 2932
    for id_ in range(1, 96):
        assert duration_id(duration_of(id_)) == id_
        assert duration_id(duration_of(id_) - 1) == max(id_ - 1, 0)


def test_tempos_and_velocities_come_back():
    assert [tempo_id(tempo_of(id_)) for id_ in range(49)] == list(range(49))
    assert (tempo_id(3.6), tempo_id(120), tempo_id(1e6)) == (0, 35, 48)
    assert [velocity_id(velocity_of(id_)) for id_ in range(32)] == list(range(32))
    assert velocity_id(127) == 31


@pytest.mark.parametrize("token", ["p", "p-", "-3", "p-x", "p--1", "p-1-2", "p-²", "<unk>", ""])
def test_misspelled_tokens(token):
    if token == "-3":
        assert split_token(token) == ("", 3)
        return
    with pytest.raises(TokenError, match="form family-id"):
        split_token(token)


def test_representation_of_names_the_first_difference():
    for representation in REPRESENTATIONS.values():
        assert representation_of(representation.symbols()) is representation
    symbols = GENERAL.symbols()
    symbols[500] = "x-1"
    with pytest.raises(TokenError, match="entry 501 is 'x-1' where general has"):
        representation_of(symbols)
    with pytest.raises(TokenError, match="the end of the dictionary"):
        representation_of(SIX_TRACK.symbols()[:-1])


def test_a_piece_passes_and_a_prefix_only_as_one():
    tokens = PIECE.split()
    check_piece(tokens, GENERAL)
    for length in range(1, len(tokens)):
        check_piece(tokens[:length], GENERAL, complete=False)
        if tokens[length - 1] != "b-1":
            with pytest.raises(TokenError, match="without b-1"):
                check_piece(tokens[:length], GENERAL)


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("o-0", "o-48", "token 2: o-48 may not come here; allowed are o-0 to o-47, b-1"),
        ("p-60 d-12 v-20 i", "p-61 d-12 v-20 i", "token 8: p-61 may not come here"),
        ("p-60 d-12 v-20 i", "p-60 d-12 v-21 i", "token 10: v-21 may not come here; allowed are v-0 to v-20"),
        ("p-164", "p-64", "allowed are p-128 to p-255"),
        ("i-128", "i-0", "i-0 may not come here"),
        ("t-35", "t-49", "allowed are t-0 to t-48"),
        ("s-9 b-1", "s-126 b-1", "s-126 may not come here"),
    ],
)
def test_faults_are_told_with_their_place(old, new, sentence):
    with pytest.raises(TokenError, match=sentence):
        check_piece(PIECE.replace(old, new).split(), GENERAL)


def test_the_grammar_always_has_a_way_on():
    """Walks along the edges of the allowed ranges never get stuck and keep reaching the ends of bars."""
    rng = random.Random(1)
    for representation in REPRESENTATIONS.values():
        state = GrammarState(representation)
        tokens = []
        while len(tokens) < 5000 or not state.may_end:
            family, edges = rng.choice(sorted(state.bounds().items()))
            id_ = rng.choice(edges)
            tokens.append(f"{family}-{representation.instruments[id_] if family == 'i' else id_}")
            state.advance(tokens[-1])
        assert tokens.count("b-1") > 100
        check_piece(tokens, representation)
        assert obeys_grammar(tokens, representation)
