import random

import numpy as np
import pytest

from data_prep.tokens.coded_notes import PITCH, VELOCITY, coded_notes
from data_prep.tokens.grammar import NO_FAMILY, coded_symbols, coded_tokens
from data_prep.tokens.note_table import note_table
from data_prep.tokens.vocabulary import REPRESENTATIONS, SIX_TRACK


def read(tokens, representation):
    return coded_notes(*coded_tokens(tokens, representation).T, representation)


def require_equal(tokens, representation):
    found = read(tokens, representation)
    assert found.dtype == np.int64
    assert found[:, :VELOCITY].tolist() == note_table([" ".join(tokens)]).notes.tolist()
    return found


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_golden_pieces_have_the_notes_of_the_note_table(name, golden):
    paths = sorted((golden / "encode" / name).glob("*.txt"))
    assert paths
    for path in paths:
        tokens = path.read_text().split()
        # the original writes a program that six_track's dictionary lacks
        if (coded_tokens(tokens, REPRESENTATIONS[name])[:, 0] != NO_FAMILY).all():
            found = require_equal(tokens, REPRESENTATIONS[name])
            assert [f"v-{id_}" for id_ in found[:, VELOCITY]] == [token for token in tokens if token[0] == "v"]


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_random_tokens_and_pieces_cut_anywhere(name):
    representation = REPRESENTATIONS[name]
    symbols = np.array(representation.symbols())
    known = symbols[coded_symbols(symbols, representation)[0] != NO_FAMILY].tolist()
    by_family = {letter: [symbol for symbol in known if symbol[0] == letter] for letter in representation.chain + "b"}
    chance = random.Random(name)
    words = ["pdv", "pdv", "ipdv", "o", "i", "b", representation.bar_start, "p", "d", "v", "pd"]
    tokens = [chance.choice(by_family[letter]) for _ in range(300) for letter in chance.choice(words)]
    assert len(require_equal(tokens, representation)) > 50
    for end in range(40):
        require_equal(tokens[:end], representation)


def test_an_empty_piece_and_specials():
    assert read([], SIX_TRACK).shape == (0, VELOCITY + 1)
    note = ["o-3", "i-80", "p-60", "d-6", "v-9"]
    assert read(["<s>", "t-30", *note, "b-1", "</s>"], SIX_TRACK).tolist() == [[0, 80, 3, 60, 6, 9]]
    assert not len(read(["t-30", *note[: PITCH + 1], "<pad>", "v-9"], SIX_TRACK))
