import json
from collections import defaultdict

import pytest
from miditoolkit import MidiFile

from data_prep.tokens.vocabulary import DRUMS, SIX_TRACK
from examples.make_songs import FORMS_FILE, compose_song, main, write_songs
from examples.tunes import TUNES

TICKS_PER_BAR = 4 * 480
COUNT = 2 * len(TUNES)  # every form of every tune


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    path = tmp_path_factory.mktemp("songs")
    assert main([str(path), "--count", str(COUNT)]) == 0
    return path


@pytest.fixture(scope="module")
def songs(folder):
    """(entry of forms.json, MIDI file) of every song."""
    forms = json.loads((folder / FORMS_FILE).read_text(encoding="utf-8"))["songs"]
    return [(form, MidiFile(str(folder / form["file"]))) for form in forms]


def melody_bars(midi):
    """The melody as written to disk: for each bar the set of (onset in the bar, pitch, duration)."""
    bars = defaultdict(set)
    (track,) = [t for t in midi.instruments if not t.is_drum and t.program == 80]
    for note in track.notes:
        bar, onset = divmod(note.start, TICKS_PER_BAR)
        bars[bar + 1].add((onset, note.pitch, note.end - note.start))
    return bars


def test_same_seed_same_bytes(folder, tmp_path):
    write_songs(tmp_path, 5, seed=1)
    names = sorted(path.name for path in tmp_path.glob("*.mid"))
    assert len(names) == 5
    assert all((tmp_path / name).read_bytes() == (folder / name).read_bytes() for name in names)


def test_another_seed_gives_another_arrangement():
    assert compose_song(1, seed=1).parts != compose_song(1, seed=2).parts


def test_songs_are_six_track_four_four_on_the_grid_and_in_range(songs):
    assert len(songs) == COUNT
    for form, midi in songs:
        assert midi.ticks_per_beat == 480
        assert [(t.numerator, t.denominator) for t in midi.time_signature_changes] == [(4, 4)]
        assert all(24 <= change.tempo <= 200 for change in midi.tempo_changes)
        instruments = [DRUMS if track.is_drum else track.program for track in midi.instruments]
        assert sorted(instruments) == sorted(SIX_TRACK.instruments), form["file"]
        for track in midi.instruments:
            assert track.notes
            for note in track.notes:
                assert note.start % 40 == 0 and note.end % 40 == 0
                assert 0 < note.end - note.start <= 16 * 480
                assert track.is_drum or 21 <= note.pitch <= 108
                assert 1 <= note.velocity <= 127


def test_no_track_strikes_a_key_that_still_sounds(songs):
    for form, midi in songs:
        for track in midi.instruments:
            sounding = {}
            for note in sorted(track.notes, key=lambda n: n.start):
                assert sounding.get(note.pitch, 0) <= note.start, (form["file"], track.name, note)
                sounding[note.pitch] = note.end


def test_bar_counts_match_the_forms(songs):
    for form, midi in songs:
        end = max(note.end for track in midi.instruments for note in track.notes)
        assert end == form["bars"] * TICKS_PER_BAR
        assert 32 <= form["bars"] <= 64
        assert len(form["same_as"]) == form["bars"] == sum(s["bars"] for s in form["sections"])
        first_bar = 1
        for section in form["sections"]:
            assert section["first_bar"] == first_bar
            first_bar += section["bars"]
        names = [s["name"] for s in form["sections"] if s["kind"] != "intro"]
        assert " ".join(names) == form["form"]


def test_same_as_tells_exactly_which_bars_of_the_melody_are_equal(songs):
    for form, midi in songs:
        bars = melody_bars(midi)
        labels = form["same_as"]
        for number, label in enumerate(labels, start=1):
            assert (label is None) == (not bars[number])
            assert label is None or label <= number
            for earlier in range(1, number):
                equal = label is not None and labels[earlier - 1] == label
                assert equal == (bool(bars[number]) and bars[earlier] == bars[number])


def test_exact_sections_repeat_literally_and_varied_ones_do_not(songs):
    kinds = set()
    for form, midi in songs:
        bars = melody_bars(midi)
        for section in form["sections"]:
            kinds.add(section["kind"])
            if section["repeats"] is None:
                assert section["kind"] in ("new", "intro")
                continue
            model = form["sections"][section["repeats"] - 1]
            assert model["bars"] == section["bars"]
            equal = [bars[section["first_bar"] + n] == bars[model["first_bar"] + n] for n in range(section["bars"])]
            if section["kind"] == "exact":
                assert all(equal[:-1])  # the last bar may lead into another pickup
            else:
                assert equal[0] and 4 * equal.count(False) >= len(equal), form["file"]
    assert kinds == {"intro", "new", "exact", "varied"}


def test_two_variations_of_a_strain_differ(songs):
    for form, midi in songs:
        bars = melody_bars(midi)
        first = {}
        for section in form["sections"]:
            span = range(section["first_bar"], section["first_bar"] + section["bars"] - 1)
            first.setdefault(section["name"], [bars[number] for number in span])
        for name, notes in first.items():
            for other, other_notes in first.items():
                same_strain = name != other and name.rstrip("'") == other.rstrip("'")
                assert not same_strain or notes != other_notes, (form["file"], name, other)


def test_a_foreign_file_stops_the_run_before_anything_is_written(tmp_path, capsys):
    (tmp_path / "mine.mid").write_bytes(b"mine")
    assert main([str(tmp_path), "--count", "1"]) == 1
    assert "already holds mine.mid" in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["mine.mid"]


def test_writing_again_replaces(tmp_path):
    assert main([str(tmp_path), "--count", "2", "--seed", "1"]) == 0
    before = (tmp_path / "001_twinkle.mid").read_bytes()
    assert main([str(tmp_path), "--count", "2", "--seed", "2"]) == 0
    assert (tmp_path / "001_twinkle.mid").read_bytes() != before
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize("count", ["0", "-1", "1000", "many"])
def test_a_bad_count_is_refused_in_a_sentence(tmp_path, capsys, count):
    with pytest.raises(SystemExit) as stop:
        main([str(tmp_path), f"--count={count}"])
    assert stop.value.code == 2
    assert "is not a number of songs from 1 to 999" in capsys.readouterr().err


def test_a_file_in_place_of_the_folder_is_refused(tmp_path, capsys):
    path = tmp_path / "file"
    path.write_text("")
    assert main([str(path), "--count", "1"]) == 1
    assert "make_songs: " in capsys.readouterr().err
