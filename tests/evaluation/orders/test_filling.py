"""What fits that is filled in, on songs whose notes are known."""

import numpy as np
import pytest

from data_prep.command import CommandError
from evaluation.orders.filling import BASS, MELODY, joint, measure, note_overlap, report, requests_for
from evaluation.steering import SPAN
from museformer_plugin.steering.conditions import Role


def bar(pitch, onset=0):
    return [(onset, 80, pitch, 12), (onset, 43, pitch - 24, 12), (0, 128, 164, 12)]


@pytest.fixture
def song(piece_of):
    return piece_of([bar(60 + number) for number in range(12)])


def test_overlap_counts_notes_that_are_the_same(piece_of):
    notes = piece_of([[(0, 80, 60, 12), (12, 80, 62, 12)], [(0, 0, 60, 12)]]).notes
    # another length is the same note; another bar, track or pitch is not
    other = piece_of([[(0, 80, 60, 18), (12, 0, 62, 12)], [(0, 0, 60, 12), (0, 0, 61, 12)]]).notes
    assert note_overlap(notes, notes) == 1
    assert note_overlap(notes, other) == pytest.approx(2 * 2 / (3 + 4))
    assert note_overlap(notes[:0], notes) == 0
    assert np.isnan(note_overlap(notes[:0], notes[:0]))


def test_the_joint_lies_between_the_last_notes_and_the_first(piece_of):
    before = piece_of([bar(50)] * (SPAN - 1) + [[*bar(60), (24, 80, 67, 12), (24, 80, 64, 12), (12, 43, 30, 12)]]).notes
    after = piece_of([[(12, 80, 69, 12), (12, 80, 65, 12), (0, 43, 41, 12), (0, 43, 29, 12), (0, 128, 164, 12)]]).notes
    similarity, melody, bass = joint(before, after)
    assert melody == 69 - 67  # the highest of notes at one onset
    assert bass == 1  # 30 to the lowest, 29
    assert similarity == pytest.approx(1 / (6 + 5 - 1))  # the drum alone is the same
    assert joint(before, before[before[:, 0] == SPAN - 1] - np.eye(6, dtype=int)[0] * (SPAN - 1))[0] == 1


def test_a_joint_that_is_not_played_is_none(piece_of):
    silent, drums = piece_of([[]] * SPAN).notes, piece_of([[(0, 128, 164, 12)]]).notes
    assert np.isnan(joint(silent, silent)).all()
    assert joint(silent, drums)[0] == 0
    assert np.isnan(joint(drums, drums)[1:]).all()
    assert {MELODY, BASS} == {80, 43}


def test_bars_around_are_given_on_both_sides_or_before(song, families):
    filling, continuing = requests_for(song, 5, 3, families)
    assert [(given.number, given.role) for given in filling.given] == [(n, Role.GIVEN) for n in (3, 4, 5, 10, 11, 12)]
    assert [(given.number, given.role) for given in continuing.given] == [(n, Role.WRITTEN) for n in (3, 4, 5)]
    assert filling.written == continuing.written == [6, 7, 8, 9]
    assert not filling.open_ended and not continuing.open_ended
    assert not continuing.guide.features.any()  # nothing is said


class TrueWriter:
    """Fills in the true bars, and continues with empty ones."""

    def __init__(self, song, piece_of, families, around):
        self.song, self.piece_of, self.families, self.around = song, piece_of, families, around

    def write(self, requests):
        return [self._piece(request) for request in requests]

    def _piece(self, request):
        first = request.written[0] - 1
        begin = max(0, first - self.around)
        if any(given.role == Role.GIVEN for given in request.given):
            return self.song.excerpt(begin, min(len(self.song), first + SPAN + self.around) - begin, self.families)
        empty = self.piece_of([[]] * SPAN)
        return type(empty).of(np.concatenate([*self.song.bars[begin:first], empty.tokens]), self.families)


@pytest.mark.parametrize("around", [3, 32])
def test_true_bars_overlap_wholly_and_join_as_in_the_song(song, piece_of, families, around):
    found = measure(TrueWriter(song, piece_of, families, around), [song, song], 2, around, seed=1)
    assert found["filled in"].shape == (2, 4)
    assert found["filled in"].tolist() == found["the song's own"].tolist()
    assert found["filled in"][0].tolist() == [1, 0.2, 1, 1]  # drums at the joint are the same, all else moves by 1
    assert (found["continued"][:, 0] == 0).all() and np.isnan(found["continued"][:, 2:]).all()
    assert found["copied"][0, 0] == pytest.approx(1 / 3)  # the drums
    table = report(TrueWriter(song, piece_of, families, around), [song, song], 2, around, seed=1)
    lines = {line.split(" | ")[0]: line for line in table.splitlines()}
    assert lines["| filled in"].split(" | ")[1] == "100.0 [100.0, 100.0]"
    assert lines["| filled in, above the song's own"].split(" | ")[1] == "0.0 [0.0, 0.0]"


def test_songs_without_room_for_a_hole_are_refused(piece_of, families):
    short = piece_of([bar(60)] * 8)
    with pytest.raises(CommandError, match="9 bars"):
        measure(TrueWriter(short, piece_of, families, 32), [short], 1, 32, seed=1)
