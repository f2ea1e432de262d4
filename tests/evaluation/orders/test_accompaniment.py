"""Chord agreement of made accompaniments."""

from evaluation.orders.accompaniment import BARS, CHORD, MELODY_IN_CHORDS, OTHER_TRACKS, agreements, melody_of, report

C, G = (48, 52, 55), (43, 47, 50)


def song(piece_of, chords, melody=60, length=16):
    """A bar for each chord, all half bars alike; a melody note at the beginning of each, and a drum."""
    bars = []
    for chord in chords:
        bar = [(onset, 0, pitch, length) for onset in (0, 24) for pitch in chord]
        bars.append([*bar, (0, 80, melody, 12), (0, 128, 164, 12)])
    return piece_of(bars)


def agreement(song, other, kind=CHORD):
    return agreements(song, other)[kind]


def test_agreement_is_the_share_of_what_sounds(piece_of):
    true, other = song(piece_of, [C] * 2), song(piece_of, [G] * 2)
    assert agreement(true, true) == [240, 240]  # three notes of 20 positions in each of four half bars
    assert agreement(true, other) == [80, 240]  # G alone is in C E G
    assert agreement(true, song(piece_of, [(48, 49)] * 2)) == [80, 160]


def test_neither_melody_nor_drums_are_scored(piece_of):
    true = song(piece_of, [C] * 2)
    assert agreement(true, song(piece_of, [C] * 2, melody=61)) == agreement(true, true)
    assert len(melody_of(true)) == 2


def test_by_other_tracks_a_note_does_not_vote_for_its_own_chord(piece_of):
    # bass C under a piano that plays G B D: by the bass alone C major, by the piano alone G major
    true = piece_of([[(0, 43, 36, 16), *((0, 0, pitch, 16) for pitch in G)]])
    assert agreement(true, true, OTHER_TRACKS) == [20, 80]  # G is in C E G; C is not in G B D
    assert agreement(true, piece_of([[(0, 43, 43, 16)]]), OTHER_TRACKS) == [20, 20]
    # with one track there are no others
    assert agreement(song(piece_of, [C]), song(piece_of, [C]), OTHER_TRACKS) == [0, 0]


def test_the_melody_is_held_against_the_chords_that_are_measured(piece_of):
    true = song(piece_of, [C] * 2, melody=62)  # D
    assert agreement(true, true, MELODY_IN_CHORDS) == [0, 24]
    assert agreement(true, song(piece_of, [G] * 2), MELODY_IN_CHORDS) == [24, 24]


def test_the_report_asks_for_all_but_the_melody(known_writer, piece_of, families):
    songs = [song(piece_of, [C] * BARS), song(piece_of, [G] * BARS)]
    writer = known_writer([songs[0], song(piece_of, [C] * BARS, melody=61)])
    learnt_from = [song(piece_of, [C, G] * 4), song(piece_of, [C] * 8)]
    table = report(writer, songs, learnt_from, 2, seed=1)
    assert [request.given_tracks for request in writer.asked[0]] == [{0}, {0}]
    assert all(len(request.written) == BARS for request in writer.asked[0])
    assert table.startswith("1 of 2 melodies")
    lines = {line.split(" | ")[0]: line for line in table.splitlines()}
    assert "| 66.7 " in lines["| written"]  # C under C, C under G
    assert "| 100.0 " in lines["| the song's own"]
    assert "| 33.3 " in lines["| another song's"]
    # C behind C is likelier than G under the same melody: right in one of two songs, and G is in both
    assert "| 66.7 " in lines["| the melody's likeliest chords"]
