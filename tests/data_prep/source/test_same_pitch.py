import random

from miditoolkit import Note

from data_prep.source.same_pitch import fit_beside
from data_prep.tokens.decode import _voices


def notes(*spans):
    return [Note(64, 60, start, end) for start, end in spans]


def spans(own, written):
    return [(note.start, note.end) for note in fit_beside(notes(*own), notes(*written))]


def test_a_note_alone_stays():
    assert spans([], [(0, 10)]) == [(0, 10)]
    assert [n.pitch for n in fit_beside(notes((0, 10)), [Note(64, 61, 5, 8)])] == [61]


def test_a_note_ends_where_the_next_of_the_song_begins():
    assert spans([(6, 12)], [(0, 10)]) == [(0, 6)]


def test_a_note_under_one_of_the_song_does_not_end_before_it():
    assert spans([(0, 20)], [(5, 10)]) == [(5, 20)]
    assert spans([(0, 20)], [(5, 30)]) == [(5, 30)]
    assert spans([(0, 20), (10, 25)], [(5, 8)]) == [(5, 20)]


def test_of_notes_that_begin_together_the_longest_stays_and_the_songs_own_wins():
    assert spans([], [(0, 5), (0, 9)]) == [(0, 9)]
    assert spans([(0, 3)], [(0, 9)]) == []


def test_written_notes_under_one_another():
    assert spans([], [(0, 20), (5, 10)]) == [(0, 20), (5, 20)]


def test_what_is_fitted_needs_no_further_track():
    rng = random.Random(3)

    def drawn(count):
        return sorted((start, start + rng.randint(1, 30)) for start in rng.sample(range(200), count))

    for _ in range(500):
        latest, own = 0, []
        for start, end in drawn(rng.randint(0, 12)):  # as a file gives them: they end in the order in which they begin
            latest = max(latest, end)
            own.append((start, latest))
        fitted = fit_beside(notes(*own), notes(*drawn(rng.randint(0, 12))))
        assert all(note.end > note.start for note in fitted)
        assert len(_voices([*notes(*own), *fitted])) <= 1
