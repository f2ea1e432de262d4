import random

import pytest

from data_prep.tokens.vocabulary import DRUMS, REPRESENTATIONS
from evaluation.bar_repeats import BAR_KINDS, bar_kinds, exact_repeats
from evaluation.copying import fingerprints_of_lines

MELODY, PIANO = 80, 0


def bar(*pitches, instrument=MELODY, velocity=20, onset=0, duration=6):
    notes = " ".join(f"p-{pitch} d-{duration} v-{velocity}" for pitch in pitches)
    return f"t-30 o-{onset} i-{instrument} {notes} b-1" if pitches else "t-30 b-1"


def kinds(*bars, instrument=None):
    return [BAR_KINDS[place] for place in bar_kinds(" ".join(bars), instrument)]


def repeats(*bars, instrument=None, first_bar=0):
    ((fingerprints,),) = fingerprints_of_lines([" ".join(bars)], [instrument])
    return exact_repeats(fingerprints, first_bar)


def test_what_makes_a_note_another_and_what_does_not():
    first = bar(64, 60)
    same = [bar(64, 60, velocity=9), bar(64, 60, 60), bar(64, 60).replace("t-30", "t-9")]
    other = [bar(64, 60, onset=3), bar(64, 60, duration=7), bar(65, 61), bar(64, 60, instrument=PIANO)]
    for later in same:
        assert kinds(first, later) == ["new", "repeats"]
        assert repeats(first, later) == (1, 2)
    for later in other:
        assert kinds(first, later) == ["new", "new"]
        assert repeats(first, later) == (0, 2)


def test_a_variation_has_half_of_the_notes_in_common():
    assert kinds(bar(64, 60), bar(60)) == ["new", "varies"]  # 1 of 2
    assert kinds(bar(64, 60), bar(65, 60)) == ["new", "new"]  # 1 of 3
    assert kinds(bar(64, 60), bar(65, 64, 60)) == ["new", "varies"]  # 2 of 3
    assert kinds(bar(65, 60), bar(64), bar(64, 60), bar(64, 60)) == ["new", "new", "varies", "repeats"]


def test_empty_bars_repeat_nothing():
    assert kinds(bar(), bar(60), bar(), bar(60)) == ["empty", "new", "empty", "repeats"]
    assert repeats(bar(), bar(60), bar(), bar(60)) == (1, 2)
    assert kinds() == []
    assert repeats() == (0, 0)


def test_a_track_is_looked_at_alone():
    both = "t-30 o-0 i-80 p-60 d-6 v-20 i-0 p-50 d-6 v-20 b-1"
    bars = [bar(60), both, both]
    assert kinds(*bars) == ["new", "varies", "repeats"]
    assert kinds(*bars, instrument=MELODY) == ["new", "repeats", "repeats"]
    assert kinds(*bars, instrument=PIANO) == ["empty", "new", "repeats"]
    assert repeats(*bars, instrument=MELODY) == (2, 3)
    assert repeats(*bars, instrument=PIANO) == (1, 2)
    assert repeats(*bars, instrument=DRUMS) == (0, 0)


def test_only_later_bars_are_counted_but_all_earlier_ones_may_be_repeated():
    bars = [bar(60), bar(61), bar(60), bar(62), bar(61), bar(62)]
    assert [repeats(*bars, first_bar=first) for first in range(7)] == [
        (3, 6),
        (3, 5),
        (3, 4),
        (2, 3),
        (2, 2),
        (1, 1),
        (0, 0),
    ]


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_both_agree_with_a_plain_comparison(name, write_piece):
    written = " ".join(write_piece(REPRESENTATIONS[name], 90, "repeats")).split(" b-1")[:-1]
    shorter = [text.rpartition(" p-")[0] for text in written]  # a note less
    bars = [f"{text} b-1" for text in random.Random(name).choices(written + shorter, k=120)]
    line = " ".join(bars)
    for instrument in (None, MELODY, DRUMS):
        notes = [_notes(text, instrument) for text in bars]
        expected = []
        for place, own in enumerate(notes):
            likeness = [len(own & other) / len(own | other) for other in notes[:place] if own | other]
            nearest = max(likeness, default=0)
            kind = "repeats" if nearest == 1 else "varies" if nearest >= 0.5 else "new"
            expected.append(kind if own else "empty")
        assert kinds(line, instrument=instrument) == expected
        assert repeats(line, instrument=instrument) == (expected.count("repeats"), 120 - expected.count("empty"))
    assert set(kinds(line)) == set(BAR_KINDS)


def _notes(text, chosen):
    found, tokens = set(), text.split()
    onset = instrument = 0
    for token, after in zip(tokens, tokens[1:]):
        onset = int(token[2:]) if token[0] == "o" else onset
        instrument = int(token[2:]) if token[0] == "i" else instrument
        if token[0] == "p" and chosen in (None, instrument):
            found.add((onset, instrument, token, max(1, int(after[2:]))))
    return found
