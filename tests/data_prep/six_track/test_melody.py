import math
import shutil
from dataclasses import replace

import numpy as np
import pytest

from data_prep.six_track.melody import MIN_MELODY_NOTES, find_melody, melody_score, name_bonus, program_bonus
from data_prep.six_track.roles import BASS, GUITAR, MELODY, PIANO, STRINGS, assign_roles, merge, role_of
from data_prep.six_track.tracks import Track, features_of, read_tracks
from data_prep.tokens.song import parse_midi
from data_prep.tokens.vocabulary import DRUMS
from examples.make_songs import compose_song, to_midi


def track(number, instrument, rows, name=""):
    """``rows``: (onset, duration, pitch) in positions."""
    table = np.array([(onset, onset + duration, pitch, 80) for onset, duration, pitch in rows], dtype=float)
    return Track(number, instrument, name, table)


def tune(number=1, instrument=73, shift=0, bars=range(8), name=""):
    pitches = (67, 69, 71, 72, 71, 69, 67, 64)
    rows = [
        (48 * bar + onset, 10, pitches[(bar + n) % 8] + shift)
        for bar in bars
        for n, onset in enumerate((0, 12, 18, 36))
    ]
    return track(number, instrument, rows, name)


def chords(number=2, instrument=0, bars=range(8)):
    return track(number, instrument, [(48 * bar, 48, pitch) for bar in bars for pitch in (60, 64, 67)])


def bass(number=3, instrument=33, bars=range(8)):
    return track(number, instrument, [(48 * bar + 12 * n, 12, 36 + n) for bar in bars for n in range(4)])


def chosen(tracks, use_names=False):
    return [found.number for found in find_melody(tracks, features_of(tracks), use_names).tracks]


def test_features_by_hand():
    song = [
        track(1, 0, [(0, 12, 60), (0, 12, 64), (12, 12, 62), (24, 12, 62), (48, 24, 76)]),
        track(2, DRUMS, [(0, 6, 36), (48, 6, 38), (96, 6, 36), (144, 6, 36)]),
    ]
    found = features_of(song)[0]
    assert found.monophony == pytest.approx(3 / 4)
    assert found.overlap == pytest.approx(72 / 60)
    assert (found.coverage, found.density) == (2 / 4, 5 / 2)
    assert found.pitch == pytest.approx((64 + 62 + 62 + 76) / 4)
    assert (found.steps, found.repeats, found.leaps) == (1 / 3, 1 / 3, 1 / 3)
    assert found.variety == 1 and found.above == 0 and found.loudness == 0
    assert found.rhythm == pytest.approx(-(2 / 3) * math.log2(2 / 3) - (1 / 3) * math.log2(1 / 3))


def test_the_tune_is_found():
    assert chosen([bass(1), chords(2), tune(3)]) == [3]


def test_nothing_plausible_is_no_melody():
    found = find_melody([chords(1), bass(2)], features_of([chords(1), bass(2)]), use_names=True)
    assert found.tracks == () and found.score > -math.inf
    short = tune(bars=range((MIN_MELODY_NOTES - 1) // 4))
    assert find_melody([short], features_of([short]), use_names=True).score == -math.inf


def test_names_help_only_when_they_are_looked_at():
    twins = [tune(1, name="harmony"), tune(2, shift=-2, name="Lead vocal")]
    assert chosen(twins, use_names=True) == [2]
    assert chosen(twins) == [1]
    assert name_bonus("MELODY") > 0 > name_bonus("Rhythm guitar") and name_bonus("Track 3") == 0


def test_instruments_that_take_turns_share_the_melody():
    turns = [tune(1, bars=range(4, 16)), chords(2, bars=range(32)), tune(3, instrument=66, bars=range(16, 28))]
    assert sorted(chosen(turns)) == [1, 3]
    assert sorted(chosen([*turns, tune(4, bars=range(4, 16))])) == [1, 3]
    together = [tune(1, bars=range(4, 16)), chords(2, bars=range(32)), tune(3, instrument=66, bars=range(4, 16))]
    assert len(chosen(together)) == 1


def test_what_speaks_against_a_melody():
    good = features_of([bass(1), chords(2), tune(3)])[2]
    for worse in (
        {"monophony": 0.0}, {"overlap": 4.0}, {"coverage": 0.0}, {"pitch": 36.0}, {"leaps": 0.5},
        {"density": 32.0}, {"pitches": 0.0}, {"rhythm": 0.0}, {"variety": 0.0}, {"loudness": -20.0}, {"above": -24.0},
        {"repeats": 1.0, "steps": 0.0},
    ):  # fmt: skip
        assert melody_score(replace(good, **worse)) < melody_score(good)
    assert [program_bonus(p) < 0 for p in (0, 33, 73, 80, 91, 127)] == [False, True, False, False, True, True]


@pytest.mark.parametrize(
    ("played", "role"),
    [
        (chords(1, 4), PIANO),
        (chords(1, 11), PIANO),
        (chords(1, 26), GUITAR),
        (chords(1, 48), STRINGS),
        (chords(1, 61), STRINGS),
        (chords(1, 105), GUITAR),
        (chords(1, 89), STRINGS),
        (chords(1, 119), None),
        (chords(1, 125), None),
        (bass(1), BASS),
        (bass(1, 81), BASS),  # a synthesiser playing the bass
        (bass(1, 58), BASS),
        (tune(1, 34), GUITAR),  # a "bass" above middle C
        (tune(1, 81), PIANO),  # short notes
        (track(1, 81, [(48 * n, 48, 70) for n in range(8)]), STRINGS),  # long ones
        (track(1, DRUMS, [(0, 1, 36)]), DRUMS),
    ],
)
def test_roles(played, role):
    assert role_of(played, features_of([played])[0]) == role


def test_merge_puts_notes_on_the_grid_and_drops_doubles():
    first = track(1, 0, [(0.7, 11.9, 60), (12.7, 0.1, 62)])
    doubled = track(2, 1, [(0.6, 23.0, 60), (12.7, 6, 65)])
    left_out = track(3, 127, [(0, 5, 40)])
    tracks = [first, doubled, left_out]
    instruments = assign_roles(tracks, features_of(tracks), [])
    assert merge(tracks, instruments, 0.7).tolist() == [
        [0, 23, 60, 80, PIANO],
        [12, 1, 62, 80, PIANO],
        [12, 6, 65, 80, PIANO],
    ]
    assert assign_roles(tracks, features_of(tracks), [doubled])[2] == MELODY


def test_of_doubled_notes_the_longest_stays_then_the_loudest():
    tracks = [
        Track(number, 0, "", np.array([(0.0, end, 60, velocity)]))
        for number, (end, velocity) in enumerate([(6, 100), (12, 50), (12, 70)])
    ]
    assert merge(tracks, dict.fromkeys(range(3), PIANO), 0.0).tolist() == [[0, 12, 60, 70, PIANO]]


@pytest.mark.parametrize("number", range(1, 24))
def test_the_melody_of_the_example_songs(number, tmp_path):
    """With names hidden and programs that say nothing."""
    midi = to_midi(compose_song(number, 1))
    for played in midi.instruments:
        played.program = 0
    path = tmp_path / "song.mid"
    midi.dump(str(path))
    tracks, _ = read_tracks(parse_midi(path))
    found = find_melody(tracks, features_of(tracks), use_names=False)
    assert [chosen.name for chosen in found.tracks] == ["melody"]


def unpacked(shared, name, tmp_path):
    archive = shared / "corpora" / f"{name}.tar.xz"
    if not archive.is_file():
        pytest.skip(f"{archive} is not there")
    shutil.unpack_archive(archive, tmp_path)
    return sorted(tmp_path.rglob("*.mid"))


@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["pop909_band", "nottingham_band"])
def test_named_melodies_are_found_with_their_names_hidden(corpus, shared, tmp_path):
    """Every eighth song, of those that the weights were not fitted on."""
    files = unpacked(shared, corpus, tmp_path)[1::8]
    right = 0
    for path in files:
        tracks, _ = read_tracks(parse_midi(path))
        found = find_melody(tracks, features_of(tracks), use_names=False)
        right += [chosen.name for chosen in found.tracks] == ["MELODY"]
    assert right >= 0.93 * len(files)
