import pytest

from examples.notation import Chord, NotationError, Note, parse_chord, parse_strain
from examples.tunes import TUNES


def test_lengths_octaves_and_accidentals():
    strain = parse_strain('"C"C3/2 ^F/ _B, c\'|')
    assert strain.bars == ((Note(0, 18, 60), Note(18, 24, 66), Note(24, 36, 58), Note(36, 48, 84)),)


def test_rests_take_time_and_chords_hold():
    strain = parse_strain('"Am"z2 "E7"A2|G4|')
    assert strain.bars == ((Note(24, 48, 69),), (Note(0, 48, 67),))
    assert strain.harmonies[0] == ((0, Chord(9, (0, 3, 7))), (24, Chord(4, (0, 4, 7, 10))))
    assert strain.harmonies[1] == ((0, Chord(4, (0, 4, 7, 10))),)


def test_a_short_first_bar_is_a_pickup_at_the_end_of_the_bar_before():
    strain = parse_strain('G,/ A,/|"C"C4|')
    assert strain.pickup == (Note(36, 42, 55), Note(42, 48, 57))
    assert len(strain.bars) == 1


def test_chord_symbols():
    assert parse_chord("F#m7") == Chord(6, (0, 3, 7, 10))
    assert parse_chord("Bb").transposed(2) == Chord(0, (0, 4, 7))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('"C"C4|C3|', "lasts 3 quarters, not 4"),
        ('"C"C4 C|', "lasts 5 quarters, not 4"),
        ("C4|", "no chord on its first beat"),
        ('"H"C4|', "is not a chord symbol"),
        ('"C"C4 & |', "cannot be read"),
        ('"C"C/7 C3|', "not a whole number of twelfths"),
        ("C|", "at least one full bar"),
    ],
)
def test_what_cannot_be_read_is_refused_in_words(text, message):
    with pytest.raises(NotationError, match=message):
        parse_strain(text)


@pytest.mark.parametrize("tune", TUNES, ids=lambda tune: tune.slug)
def test_tunes_add_up_to_whole_phrases_and_their_forms_to_32_to_64_bars(tune):
    bars = {letter: len(parse_strain(text).bars) for letter, text in tune.strains.items()}
    assert all(count % 4 == 0 for count in bars.values())
    for form in tune.forms:
        assert 32 <= sum(bars[name.rstrip("'")] for name in form.split()) <= 60
