"""Chord agreement of made accompaniments."""

import numpy as np

from evaluation.orders.accompaniment import BARS, agreements, melody_of, report

C, G = (48, 52, 55), (43, 47, 50)


def song(piece_of, chords, melody=60, length=16):
    """A bar for each chord, all half bars alike; a melody note at the beginning of each, and a drum."""
    bars = []
    for chord in chords:
        bar = [(onset, 0, pitch, length) for onset in (0, 24) for pitch in chord]
        bars.append([*bar, (0, 80, melody, 12), (0, 128, 164, 12)])
    return piece_of(bars)


def test_agreement_is_the_share_of_what_sounds(piece_of):
    true, other = song(piece_of, [C] * 2), song(piece_of, [G] * 2)
    assert (np.diff(agreements([true], [true])) == 0).all()
    within, sounds = agreements([true], [other])[0]
    assert within / sounds == 1 / 3  # G alone is in C E G
    assert agreements([true], [song(piece_of, [(48, 49)] * 2)])[0].tolist() == [80, 160]


def test_neither_melody_nor_drums_are_scored(piece_of):
    true = song(piece_of, [C] * 2)
    assert agreements([true], [song(piece_of, [C] * 2, melody=61)]).tolist() == agreements([true], [true]).tolist()
    assert len(melody_of(true)) == 2


def test_the_report_asks_for_all_but_the_melody(known_writer, piece_of, families):
    songs = [song(piece_of, [C] * BARS), song(piece_of, [G] * BARS)]
    writer = known_writer([songs[0], song(piece_of, [C] * BARS, melody=61)])
    table = report(writer, songs, 2, seed=1)
    assert [request.given_tracks for request in writer.asked[0]] == [{0}, {0}]
    assert all(len(request.written) == BARS for request in writer.asked[0])
    assert table.startswith("1 of 2 melodies")
    lines = {line.split(" | ")[0]: line for line in table.splitlines()}
    assert "| 66.7 " in lines["| written"]  # C under C, C under G
    assert "| 100.0 " in lines["| the song's own"]
    assert "| 33.3 " in lines["| another song's"]
