import json

import pytest

from data_prep.tokens.encode import MAX_BARS, bars_of, check_encodable, encode, representable_metre
from data_prep.tokens.grammar import check_piece, obeys_grammar
from data_prep.tokens.song import SongError, read_song, song_of
from data_prep.tokens.vocabulary import GENERAL, REPRESENTATIONS, SIX_TRACK

FORMS = {
    "six_track": {},
    "six_track__original_key": {"normalise_key": False},
    "general": {},
    "general__original_key": {"normalise_key": False},
    "general__original_key__keep_empty_bars": {"normalise_key": False, "keep_empty_bars": True},
}


def assert_reproduces(folder, form):
    """Every text the original wrote, and a SongError wherever it raised (but for zero-length notes)."""
    representation = form.split("__")[0]
    index = json.loads((folder / "index.json").read_text())
    texts = 0
    for name, outcomes in index.items():
        song = None if name == "synth_no_notes.mid" else read_song(folder / "midi" / name)
        if outcomes[form] == "ok":
            expected = (folder / form / name).with_suffix(".txt").read_text().split()
            assert encode(song, representation, **FORMS[form]) == expected, name
            texts += 1
        elif song is not None and not song.dropped_notes:
            with pytest.raises(SongError):
                encode(song, representation, **FORMS[form])
    return texts


@pytest.mark.parametrize("form", FORMS)
def test_reproduces_the_original_on_generated_songs(golden, form):
    assert assert_reproduces(golden / "encode", form) >= 40


@pytest.mark.parametrize("form", FORMS)
def test_reproduces_the_original_on_songs_of_others(shared, form):
    assert assert_reproduces(shared / "golden" / "reference" / "encode", form) >= 12


def test_a_song_by_hand(build_midi):
    # Two bars of 3/4; piano chord and drums on the first beat, a bass note in the second bar.
    midi = build_midi(
        [(0, 0, 12, 60, 80), (0, 0, 24, 64, 80), (128, 0, 3, 36, 100), (43, 48, 6, 36, 71)],
        tempos=[(0, 120.0), (36, 60.0)],
        metres=[(0, 3, 4)],
    )
    text = (
        "s-8 o-0 t-35 i-0 p-64 d-18 v-20 p-60 d-12 v-20 i-128 p-164 d-3 v-25 b-1 s-8 o-12 t-23 i-43 p-36 d-6 v-17 b-1"
    )
    assert encode(song_of(midi), "general", normalise_key=False) == text.split()


def test_six_track_puts_the_melody_and_drums_first(build_midi):
    midi = build_midi([(instrument, 0, 12, 60, 64) for instrument in (0, 25, 43, 48, 80, 128)])
    tokens = encode(song_of(midi), "six_track")
    assert [token for token in tokens if token.startswith("i")] == ["i-80", "i-128", "i-43", "i-25", "i-0", "i-48"]
    assert tokens[:2] == ["t-35", "o-0"]
    check_piece(tokens, SIX_TRACK)


def test_the_other_bass_of_the_original_stands_beside_its_first(build_midi):
    midi = build_midi([(instrument, 0, 12, 60, 64) for instrument in (25, 32, 43, 128)])
    tokens = encode(song_of(midi), "six_track")
    assert [token for token in tokens if token.startswith("i")] == ["i-128", "i-43", "i-32", "i-25"]


def test_notes_of_one_onset_fall_in_pitch_duration_and_velocity(build_midi):
    midi = build_midi([(0, 0, 3, 60, 40), (0, 0, 9, 60, 20), (0, 0, 3, 60, 80), (0, 0, 1, 67, 4)])
    tokens = encode(song_of(midi), "general", normalise_key=False)
    assert " ".join(tokens[4:-1]) == "p-67 d-1 v-1 p-60 d-9 v-5 p-60 d-3 v-20 p-60 d-3 v-10"


def test_duplicates_stay_and_tracks_of_one_program_merge(build_midi):
    midi = build_midi([(7, 0, 12, 60, 64), (7, 0, 12, 60, 64)])
    midi.instruments.append(build_midi([(7, 0, 12, 72, 64)]).instruments[0])
    tokens = encode(song_of(midi), "general", normalise_key=False)
    assert " ".join(tokens) == "s-9 o-0 t-35 i-7 p-72 d-12 v-16 p-60 d-12 v-16 p-60 d-12 v-16 b-1"


def test_empty_bars(build_midi):
    song = song_of(build_midi([(0, 96, 1, 60, 64), (0, 192, 1, 60, 64)]))
    note = "o-0 t-35 i-0 p-60 d-1 v-16 b-1"
    trimmed = f"s-9 {note} s-9 b-1 s-9 {note}"
    assert " ".join(encode(song, "general")) == trimmed
    assert " ".join(encode(song, "general", keep_empty_bars=True)) == f"s-9 b-1 s-9 b-1 {trimmed}"


def test_a_metre_change_inside_a_bar_waits_for_the_next_bar(build_midi):
    song = song_of(build_midi([(0, 200, 1, 60, 64)], metres=[(0, 4, 4), (50, 3, 4)]))
    bars = bars_of(song)
    assert bars.starts.tolist() == [0, 48, 96, 132, 168]
    assert bars.metres.tolist() == [9, 9, 8, 8, 8]


@pytest.mark.parametrize(
    ("written", "stands_for"),
    [
        ((4, 4), (4, 4)),
        ((6, 128), (3, 64)),  # the denominator is halved
        ((11, 4), (1, 4)),  # 11 is prime
        ((12, 4), (6, 4)),  # the smallest factor first
        ((18, 8), (9, 8)),
        ((128, 64), (128, 64)),
    ],
)
def test_representable_metre(written, stands_for):
    assert representable_metre(*written) == stands_for


@pytest.mark.parametrize(("metre", "fault"), [((3, 128), "without a token"), ((1, 64), "shorter than 1/12")])
def test_metres_nobody_can_represent(build_midi, metre, fault):
    song = song_of(build_midi([(0, 0, 12, 60, 64), (0, 24, 12, 60, 64)], metres=[(0, *metre)]))
    with pytest.raises(SongError, match=fault):
        encode(song, "general")


def test_a_week_of_silence_is_refused_at_once(build_midi):
    song = song_of(build_midi([(0, 0, 12, 60, 64), (0, 48 * MAX_BARS, 12, 60, 64)]))
    with pytest.raises(SongError, match="spans more than 20000 bars"):
        encode(song, "general")


def test_what_six_track_cannot_hold_is_refused(build_midi):
    waltz = song_of(build_midi([(0, 0, 12, 60, 64), (0, 40, 12, 60, 64)], metres=[(0, 3, 4)]))
    with pytest.raises(SongError, match="bar 1 is in 3/4 and six_track has no metre token"):
        check_encodable(waltz, SIX_TRACK)
    check_encodable(waltz, GENERAL)
    contrabass = song_of(build_midi([(32, 0, 12, 60, 64)]))
    with pytest.raises(SongError, match="program 32 is not in the six_track dictionary"):
        check_encodable(contrabass, SIX_TRACK)
    # 3/4 only before the first note: those bars are not written, unless they are asked for.
    upbeat = song_of(build_midi([(0, 40, 12, 60, 64), (0, 90, 12, 60, 64)], metres=[(0, 3, 4), (36, 4, 4)]))
    check_encodable(upbeat, SIX_TRACK)
    with pytest.raises(SongError, match="not in 4/4"):
        check_encodable(upbeat, SIX_TRACK, keep_empty_bars=True)


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_what_is_encodable_obeys_the_grammar(golden, name):
    representation = REPRESENTATIONS[name]
    checked = 0
    for path in sorted((golden / "encode" / "midi").glob("*.mid")):
        try:
            song = read_song(path)
            check_encodable(song, representation)
            tokens = encode(song, representation)
        except SongError:
            continue
        check_piece(tokens, representation)
        assert obeys_grammar(tokens, representation)
        checked += 1
    assert checked > 20
