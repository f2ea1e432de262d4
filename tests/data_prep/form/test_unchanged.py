"""Which tracks of a bar repeat to the note, as numbers and as text."""

import numpy as np
import pytest

from data_prep.form.repeats import NEW
from data_prep.form.sections import FormError
from data_prep.form.unchanged import parse_unchanged, unchanged_syntax, unchanged_text, unchanged_tracks

NAMES = ["melody", "drums", "bass"]
INSTRUMENTS = (80, 128, 43)


def by_pairs(notes, repeated):
    """``unchanged_tracks`` by its definition, bar by bar."""
    found = np.zeros((len(repeated), len(INSTRUMENTS)), dtype=bool)
    for bar, other in enumerate(repeated):
        for rank, instrument in enumerate(INSTRUMENTS):
            of_track = [note for note in notes.tolist() if note[1] == instrument]
            own, earlier = ({tuple(note[2:5]) for note in of_track if note[0] == of} for of in (bar, other))
            found[bar, rank] = other != NEW and own == earlier
    return found


@pytest.mark.parametrize("seed", range(20))
def test_tracks_stay_whose_notes_are_the_same(seed):
    chance = np.random.default_rng(seed)
    bars = int(chance.integers(1, 9))
    repeated = np.array([chance.integers(NEW, bar) for bar in range(bars)])
    count = int(chance.integers(0, 5 * bars))
    columns = [bars, 3, 2, 2, 2, 4]  # bar, instrument, onset, pitch, duration, velocity
    notes = np.column_stack([chance.integers(0, high, count) for high in columns]).reshape(-1, 6)
    notes[:, 1] = np.array(INSTRUMENTS)[notes[:, 1]]
    found = unchanged_tracks(notes, repeated, INSTRUMENTS)
    assert found.shape == (bars, 3)
    np.testing.assert_array_equal(found, by_pairs(notes, repeated))


def test_velocity_and_doubled_notes_do_not_count_but_everything_else_does():
    note = [0, 80, 4, 60, 6, 10]
    repeated = np.array([NEW, 0])

    def melody_stays(*second_bar):
        return bool(unchanged_tracks(np.array([note, *second_bar]), repeated, INSTRUMENTS)[1, 0])

    assert melody_stays([1, 80, 4, 60, 6, 3])
    assert melody_stays([1, 80, 4, 60, 6, 3], [1, 80, 4, 60, 6, 5], [1, 43, 0, 40, 6, 5])
    assert not melody_stays()
    assert not melody_stays([1, 80, 5, 60, 6, 10])
    assert not melody_stays([1, 80, 4, 61, 6, 10])
    assert not melody_stays([1, 80, 4, 60, 7, 10])
    assert not melody_stays([1, 43, 4, 60, 6, 10])
    assert not melody_stays([1, 80, 4, 60, 6, 10], [1, 80, 8, 60, 6, 10])


@pytest.mark.parametrize(
    ("text", "places"),
    [("all", {0, 1, 2}), ("none", set()), ("bass", {2}), ("-bass", {0, 1}), ("-drums-bass", {0})],
)
def test_text_to_tracks_and_back(text, places):
    assert parse_unchanged(text, NAMES) == places
    assert parse_unchanged(unchanged_text([place in places for place in range(3)], NAMES), NAMES) == places
    assert len(unchanged_text([place in places for place in range(3)], NAMES)) <= len(text)


def test_blanks_capitals_and_order_do_not_matter():
    assert parse_unchanged(" Bass + MELODY ", NAMES) == {0, 2}
    assert parse_unchanged("- bass - melody", NAMES) == {1}
    assert parse_unchanged("ALL", NAMES) == {0, 1, 2}
    assert unchanged_syntax(" melody ") == "melody"


@pytest.mark.parametrize(
    "text", ["", " ", "+", "-", "melody+", "+melody", "melody-bass", "-melody+bass", "a,b", "all+"]
)
def test_what_names_no_tracks(text):
    with pytest.raises(FormError, match="does not say which tracks stay to the note; write all, none, those that"):
        unchanged_syntax(text)


@pytest.mark.parametrize("text", ["flute", "melody+flute", "-flute", "melody+all"])
def test_tracks_that_there_are_not(text):
    with pytest.raises(FormError, match="^there is no track '(flute|all)'; there are melody, drums, bass$"):
        parse_unchanged(text, NAMES)
