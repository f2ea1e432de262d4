"""Made songs, and writers that write what a test knows."""

from dataclasses import dataclass, field

import numpy as np
import pytest
from fairseq.data import Dictionary

from data_prep.tokens.vocabulary import SIX_TRACK
from evaluation.orders.pieces import Piece
from museformer_plugin.token_families import TokenFamilies


@pytest.fixture(scope="session")
def families():
    dictionary = Dictionary()
    for symbol in SIX_TRACK.symbols():
        dictionary.add_symbol(symbol)
    return TokenFamilies(dictionary)


@pytest.fixture(scope="session")
def piece_of(families):
    """A function from bars, each a list of notes (onset, instrument, pitch, duration id), to a piece; tempo 31."""

    def make(bars, tempo=31):
        words = []
        for bar in bars:
            words.append(f"t-{tempo}")
            for onset in sorted({note[0] for note in bar}):
                words.append(f"o-{onset}")
                for instrument in sorted(
                    {note[1] for note in bar if note[0] == onset}, key=SIX_TRACK.instruments.index
                ):
                    words.append(f"i-{instrument}")
                    pitches = {(note[2], note[3]) for note in bar if note[:2] == (onset, instrument)}
                    words += [f"p-{pitch} d-{length} v-20" for pitch, length in sorted(pitches, reverse=True)]
            words.append("b-1")
        line = " ".join(words).split()
        return Piece.of(np.array([families.dictionary.index(word) for word in line], dtype=np.int64), families)

    return make


@dataclass
class KnownWriter:
    """Writes the pieces of ``answers``, call by call, and keeps what was asked."""

    families: TokenFamilies
    answers: list
    asked: list = field(default_factory=list)

    def write(self, requests):
        self.asked.append(requests)
        return self.answers.pop(0)


@pytest.fixture
def known_writer(families):
    """A function from lists of pieces, one for each call, to a writer."""
    return lambda *answers: KnownWriter(families, list(answers))
