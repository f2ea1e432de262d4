import random
from dataclasses import replace

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary

from data_prep.tokens.grammar import check_piece
from data_prep.tokens.vocabulary import REPRESENTATIONS, TokenError
from museformer_plugin.errors import UserError
from museformer_plugin.positions import Positions
from museformer_plugin.stream_positions import StreamPositions
from museformer_plugin.token_families import TokenFamilies


def entries(families, text):
    """``</s>`` and the tokens of ``text``."""
    dictionary = families.dictionary
    return np.array([dictionary.eos(), *(dictionary.index(word) for word in text.split())])


SIX_TRACK_LINE = "t-30 o-0 i-80 p-60 d-5 v-20 o-12 i-80 p-62 d-5 v-20 b-1 t-31 o-6 i-0 p-60 d-5 v-20 b-1"
GENERAL_LINE = "s-9 o-0 t-30 i-80 p-60 d-5 v-20 o-12 t-31 i-80 p-62 d-5 v-20 b-1 s-8 o-6 t-30 i-0 p-60 d-5 v-20 b-1"


def test_six_track_beats_by_hand(families_of):
    families = families_of("six_track")
    found = families.beat_ids(entries(families, SIX_TRACK_LINE))
    # t is 0 in six_track; o-k is k + 1; the rest carries
    assert found.tolist() == [0, 0, 1, 1, 1, 1, 1, 13, 13, 13, 13, 13, 0, 0, 7, 7, 7, 7, 7, 0]


def test_general_beats_by_hand(families_of):
    families = families_of("general")
    found = families.beat_ids(entries(families, GENERAL_LINE))
    # s is 0 in general, t carries
    assert found.tolist() == [0, 0, *[1] * 6, *[13] * 6, 0, 0, *[7] * 6, 0]


def test_beats_are_carried_over_bars(families_of):
    families = families_of("six_track")
    assert families.beat_ids(entries(families, "t-3 o-5 i-80 b-1 t-3 i-80")).tolist() == [0, 0, 6, 6, 0, 0, 6]


def test_beats_before_the_first_onset_are_zero(families_of):
    families = families_of("six_track")
    assert families.beat_ids(entries(families, "t-3 i-80 p-60")).tolist() == [0, 0, 0, 0]


def test_onsets_and_indices_begin_anew_in_each_bar(families_of):
    families = families_of("six_track")
    tokens = entries(families, "t-3 o-0 i-80 p-60 d-3 v-16 o-5 i-80 p-62 d-3 v-16 b-1 t-3 b-1 t-3 o-2 i-0")
    bars, _, onsets, in_bar, in_onset = families.positions(tokens, families.piece_bars(tokens))
    assert bars.tolist() == [0, *[1] * 12, 2, 2, *[3] * 3]
    assert onsets.tolist() == [0, 0, 0, 0, 0, 0, 0, 5, 5, 5, 5, 5, 5, 0, 0, 0, 2, 2]
    assert in_bar.tolist() == [0, *range(12), 0, 1, 0, 1, 2]
    assert in_onset.tolist() == [0, 0, *range(5), *range(6), 0, 1, 0, 0, 1]


def test_a_tempo_inside_a_bar_has_the_onset_it_stands_at(families_of):
    families = families_of("general")
    tokens = entries(families, "s-9 o-7 t-3 i-0 p-60 d-3 v-16 b-1 s-9")
    _, beats, onsets, *_ = families.positions(tokens, families.piece_bars(tokens))
    assert beats.tolist() == [0, 0, 8, 8, 8, 8, 8, 8, 0, 0]
    assert onsets.tolist() == [0, 0, 7, 7, 7, 7, 7, 7, 7, 0]


@pytest.mark.parametrize("name", ["six_track", "general"])
def test_positions_one_by_one_are_those_of_the_whole(families_of, read_piece, name):
    families = families_of(name)
    pieces = [read_piece(name, bars=8, seed=seed).numpy() for seed in (0, 1)]
    steps = min(map(len, pieces))
    bars = [families.piece_bars(piece) for piece in pieces]
    bars[1] = replace(bars[1], numbers=np.array([4, 4, 1, 9, 2, 3, 3, 7]))
    whole = [np.stack(families.positions(piece, of_piece)) for piece, of_piece in zip(pieces, bars)]
    for start in range(1, steps - 1):
        prompts = [piece[:start] for piece in pieces]
        read = [families.piece_bars(prompt) for prompt in prompts]
        read[1] = replace(read[1], numbers=bars[1].numbers[: len(read[1].starts)])
        upcoming = [[], bars[1].numbers[len(read[1].starts) :]]
        positions = StreamPositions(families, prompts, read, upcoming)
        for place in range(start, min(steps, start + 30)):
            found = positions.advance(torch.tensor([piece[place] for piece in pieces]))
            np.testing.assert_array_equal(torch.stack(found), np.stack([rows[:, place] for rows in whole], axis=1))


@pytest.mark.parametrize("name", ["six_track", "general"])
def test_summaries_stand_where_their_bars_begin(families_of, read_piece, name):
    families = families_of(name)
    piece = read_piece(name, bars=6, seed=0).numpy()
    bars = families.piece_bars(piece)
    of_first_tokens = np.stack(families.positions(piece, bars))[:, bars.starts]
    np.testing.assert_array_equal(torch.stack(Positions.of_bars(torch.from_numpy(bars.bar_numbers))), of_first_tokens)


def test_streams_keep_the_numbers_of_their_bars_to_come(families_of, read_piece):
    """Where they change places and where another takes the place of one."""
    families = families_of("six_track")
    piece = read_piece("six_track", bars=8, seed=1).numpy()
    bars = replace(families.piece_bars(piece), numbers=np.array([4, 4, 1, 9, 2, 3, 3, 7]))
    whole = np.stack(families.positions(piece, bars))
    read = families.piece_bars(piece[:5])
    told = [4, 1, 9, 2, 3, 3, 7]

    def streams(*upcoming):
        of_each = [replace(read, numbers=bars.numbers[: len(read.starts)])] * len(upcoming)
        return StreamPositions(families, [piece[:5]] * len(upcoming), of_each, upcoming)

    positions = streams(told, [], [])
    positions.select([1, 0])
    positions.put(0, streams(told))
    for place in range(5, len(piece)):
        found = positions.advance(torch.from_numpy(piece[[place, place]]))
        np.testing.assert_array_equal(torch.stack(found), whole[:, [place, place]])


@pytest.mark.parametrize(
    ("text", "starts", "num_complete"),
    [
        ("", [], 0),
        ("t-3", [1], 0),
        ("t-3 b-1", [1], 1),
        ("t-3 b-1 t-3", [1, 3], 1),
        ("t-3 b-1 t-3 o-0 b-1 t-3 b-1", [1, 3, 6], 3),
    ],
    ids=["begin_token_alone", "incomplete", "complete", "one_and_a_piece", "three"],
)
def test_piece_bars(families_of, text, starts, num_complete):
    families = families_of("six_track")
    tokens = entries(families, text)
    piece = families.piece_bars(tokens)
    assert piece.starts.tolist() == starts
    assert (piece.num_tokens, piece.num_complete) == (len(tokens), num_complete)


@pytest.mark.parametrize(
    ("name", "line"),
    [
        ("six_track", "t-30 o-0 i-80 p-60 d-5 v-20 b-1 t-31 o-6 i-0 p-60 d-5 v-20 b-1"),
        ("general", "s-9 o-0 t-30 i-80 p-60 d-5 v-20 b-1 s-8 o-6 t-31 i-0 p-60 d-5 v-20 b-1"),
    ],
    ids=["six_track", "general"],
)
def test_pieces_are_told_from_other_sequences(families_of, write_piece, name, line):
    families = families_of(name)

    def is_piece(words):
        return families.is_piece(entries(families, " ".join(words))[1:])

    words = line.split()
    assert is_piece(words)
    assert is_piece(write_piece(name, 20, seed=0))
    assert not is_piece([])
    assert not is_piece(words[:-1])
    assert not is_piece(words[1:])
    for place in range(len(words)):
        assert not is_piece(words[:place] + words[place + 1 :]), f"without {words[place]}"
        assert not is_piece([*words[:place], "b-0", *words[place + 1 :]])
        assert not is_piece([*words[:place], "u-1", *words[place:]])


@pytest.mark.parametrize("name", ["six_track", "general"])
def test_pieces_are_those_of_the_definition(families_of, write_piece, name):
    """A piece with one token replaced by another of its family is a piece when ``check_piece`` says so."""
    families, chance = families_of(name), random.Random(0)
    ids = {family: ids for family, ids in REPRESENTATIONS[name].entries if ids}
    pieces = 0
    for seed in range(1500):
        words = write_piece(name, 3, seed % 50)
        place = chance.randrange(len(words))
        family, _, number = words[place].partition("-")
        near = [id_ for id_ in ids[family] if abs(id_ - int(number)) < 3]
        words[place] = f"{family}-{chance.choice([chance.choice(ids[family]), chance.choice(near), ids[family][-1]])}"
        try:
            check_piece(words, REPRESENTATIONS[name])
            is_piece = True
        except TokenError:
            is_piece = False
        assert families.is_piece(entries(families, " ".join(words))[1:]) == is_piece, " ".join(words)
        pieces += is_piece
    assert 300 < pieces < 1400


def dictionary_with(symbols):
    dictionary = Dictionary()
    for symbol in symbols:
        dictionary.add_symbol(symbol)
    return dictionary


def test_a_foreign_dictionary_is_refused():
    with pytest.raises(UserError, match="neither six_track nor general: entry 1 is 'hello'"):
        TokenFamilies(dictionary_with(["hello", "world"]))


def test_a_dictionary_that_lacks_an_entry_is_refused():
    symbols = REPRESENTATIONS["six_track"].symbols()
    with pytest.raises(UserError, match="entry 501 is .* where six_track has"):
        TokenFamilies(dictionary_with(symbols[:500] + symbols[501:]))


def test_a_reordered_dictionary_is_refused():
    symbols = REPRESENTATIONS["general"].symbols()
    with pytest.raises(UserError, match="entry 1 is"):
        TokenFamilies(dictionary_with(symbols[::-1]))
