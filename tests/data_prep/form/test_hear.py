import numpy as np
import pytest

from data_prep.form.hear import form_of
from data_prep.form.likeness import MAX_LAG
from data_prep.form.sections import form_text
from data_prep.tokens.coded_notes import BAR, INSTRUMENT, ONSET, PITCH, VELOCITY

MELODY = 80


def heard(notes, bars, melody=MELODY):
    return form_text(form_of(notes, bars, melody).sections)


FORMS = ["A8A8B8B8A8", "i4A8A8A8B8B8A8B8o4", "A8B8B8C8A8C8C8", "i4A8B8B8b4b4A8A8B8o4", "A4A4B4B4A4B4A4", "A8A8X8A8"]


@pytest.mark.parametrize("form", FORMS)
@pytest.mark.parametrize("seed", range(3))
def test_the_form_of_a_song_that_repeats_to_the_note(form, seed, write_song):
    assert heard(*write_song(form, seed)) == form


def test_varied_sections_keep_their_letter(write_song):
    notes, bars = write_song("i4A8A8B8B8A8")
    varied = notes.copy()
    last = np.flatnonzero((notes[:, BAR] >= 36) & (notes[:, INSTRUMENT] == MELODY) & (notes[:, ONSET] > 30))
    varied[last, PITCH] += 2
    assert (varied != notes).any()
    assert heard(varied, bars) == "i4A8A8B8B8A8"


def test_velocity_order_and_doubled_notes_do_not_count(write_song):
    notes, bars = write_song("i4A8B8B8A8")
    other = np.random.default_rng(1).permutation(notes)
    other[:, VELOCITY] = np.arange(len(other)) % 32
    assert heard(other, bars) == heard(notes, bars)
    assert np.array_equal(form_of(other, bars, MELODY).repeats, form_of(notes, bars, MELODY).repeats)


def test_transposed_songs_have_the_same_form(write_song):
    notes, bars = write_song("A8A8B8B8A8")
    other = notes.copy()
    other[notes[:, INSTRUMENT] != 128, PITCH] += 3
    assert heard(other, bars) == "A8A8B8B8A8"


def test_sections_repeat_the_latest_of_their_letter_bar_by_bar(write_song):
    found = form_of(*write_song("A8A8B8A8B8"), MELODY).repeats
    assert found.dtype == np.int64
    assert found[8:16].tolist() == list(range(8))
    assert found[24:].tolist() == list(range(8, 24))
    assert (found < np.arange(40)).all() and (found >= -1).all()


def test_without_a_named_melody_the_highest_notes_are_it(write_song):
    notes, bars = write_song("A8A8B8B8A8")
    notes[notes[:, INSTRUMENT] == MELODY, INSTRUMENT] = 73
    assert heard(notes, bars, melody=None) == "A8A8B8B8A8"
    assert heard(notes, bars, melody=MELODY).upper() != heard(notes, bars, melody=MELODY)  # none is there


def empty(bars):
    return np.zeros((0, 6), dtype=np.int64), bars


def equal(bars, instrument=MELODY):
    return np.array([(bar, instrument, 0, 60, 12, 20) for bar in range(bars)], dtype=np.int64).reshape(-1, 6), bars


@pytest.mark.parametrize("melody", [MELODY, None])
@pytest.mark.parametrize(
    ("notes", "bars"),
    [empty(0), empty(1), empty(40), equal(1), equal(2), equal(3), equal(30), equal(50, 128), equal(9, 0)],
)
def test_odd_pieces_have_a_form_that_covers_all_bars(notes, bars, melody):
    form = form_of(notes, bars, melody)
    assert sum(section.bars for section in form.sections) == bars
    assert [section.first_bar for section in form.sections[1:]] == [
        section.first_bar + section.bars for section in form.sections[:-1]
    ]
    assert form.repeats.shape == (bars,)
    if not len(notes):
        assert (form.repeats == -1).all()
    else:
        assert form.repeats[0] == -1 and (form.repeats[1:] >= 0).all()


def test_empty_bars_repeat_nothing(write_song):
    notes, bars = write_song("A8A8")
    notes = notes[notes[:, BAR] != 12]
    repeats = form_of(notes, bars, MELODY).repeats
    assert repeats[12] == -1
    assert repeats[13] == 5


def test_a_long_song(write_song):
    form = "A8A8B8C8C8" * 20
    notes, bars = write_song(form)
    assert bars > 2 * MAX_LAG
    assert heard(notes, bars) == form
