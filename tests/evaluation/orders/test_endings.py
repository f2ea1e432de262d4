"""Endings of made pieces."""

import numpy as np
import pytest

from evaluation.orders.endings import BARS, FIGURES, cut_off, ending_of, report

LOUD = [(onset, 80, 62, 6) for onset in range(0, 48, 12)] + [(0, 43, 38, 12)]  # five notes, none of the tonic
QUIET = [(0, 80, 72, 48), (0, 43, 36, 48), (0, 43, 43, 12)]


def test_a_long_note_on_the_tonic_is_measured(piece_of):
    piece = piece_of([LOUD] * 7 + [QUIET])
    found = dict(zip(FIGURES, ending_of(piece.notes, 8)))
    assert found["notes a bar"] == 4  # five and three
    assert found["of those in the middle (%)"] == pytest.approx(4 / 5)
    # 48 is an id: 12 * 15 positions, 15 quarters; of the bass the lowest note counts
    assert found["last melody note (quarters)"] == found["last bass note (quarters)"] == 15
    assert found["melody ends on C or A (%)"] == found["bass ends on C or A (%)"] == 1
    assert found["last onset to the end (quarters)"] == 4


def test_before_the_end_nothing_of_the_end_is_heard(piece_of):
    found = dict(zip(FIGURES, ending_of(piece_of([LOUD] * 7 + [QUIET]).notes, 7)))
    assert found["notes a bar"] == 5 and found["of those in the middle (%)"] == 1
    assert found["melody ends on C or A (%)"] == found["bass ends on C or A (%)"] == 0
    assert found["last melody note (quarters)"] == 0.5
    assert found["last onset to the end (quarters)"] == 1


def test_without_notes_there_is_nothing_to_tell(piece_of):
    found = ending_of(piece_of([[]] * 8).notes, 8)
    assert found[0] == 0 and np.isnan(found[1:]).all()


def test_pieces_are_cut_off_before_their_endings(piece_of):
    pieces = [piece_of([LOUD] * bars) for bars in (9, 10, 12)]
    cuts = [cut_off(pieces, np.random.default_rng(seed)) for seed in range(40)]
    assert all(len(cut) == 2 for cut in cuts)
    assert {cut[0][1] for cut in cuts} == {8} and {cut[1][1] for cut in cuts} == {8, 9, 10}


def test_the_report_counts_pieces_of_the_right_length(known_writer, piece_of):
    songs = [piece_of([LOUD] * bars + [QUIET]) for bars in (12, 15)]
    written = [piece_of([LOUD] * (bars - 1) + [QUIET]) for bars in BARS]
    writer = known_writer([*written, songs[0]])
    table = report(writer, songs, 4, seed=1)
    assert [len(request.written) for request in writer.asked[0]] == [16, 24, 32, 16]
    assert table.startswith("3 of 4 pieces")
    lines = {line.split(" | ")[0]: line for line in table.splitlines()}
    assert "100 [100, 100]" in lines["| 4 written pieces"]
    assert "0 [0, 0]" in lines["| written less real"]
