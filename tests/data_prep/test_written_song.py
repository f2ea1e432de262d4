"""From a song to a prompt, and from what was written back into the song, by the commands."""

import pytest
from miditoolkit import MidiFile

from data_prep import prompt, written_song
from data_prep.tokens.decode import decode, midi_bytes
from data_prep.tokens.vocabulary import GENERAL, SIX_TRACK
from examples.make_songs import main as make_songs


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A dictionary, and a song of our own in D major, ``song.mid``."""
    folder = tmp_path_factory.mktemp("songs")
    (folder / "dict.txt").write_text(SIX_TRACK.dict_txt())
    bars = [
        f"t-31 o-0 i-80 p-{62 + n} d-12 v-20 i-43 p-{38 + n} d-12 v-20 o-24 i-80 p-66 d-6 v-16 b-1" for n in range(6)
    ]
    (folder / "song.mid").write_bytes(midi_bytes(decode(" ".join(bars).split()).midi))
    return folder


def line_of(folder, capsys, *options):
    status = prompt.main([str(folder / "song.mid"), "--dict", str(folder / "dict.txt"), *options])
    out = capsys.readouterr().out
    return status, out.split()


def notes_of(midi):
    return sorted(
        (track.is_drum, track.program, note.start, note.end, note.pitch, note.velocity)
        for track in midi.instruments
        for note in track.notes
    )


def test_bars_that_are_kept_and_all_of_them(folder, capsys):
    status, kept = line_of(folder, capsys, "--bars", "2")
    assert status == 0
    assert kept.count("b-1") == 2
    status, whole = line_of(folder, capsys)
    assert status == 0
    assert whole.count("b-1") == 6
    assert whole[: len(kept)] == kept
    assert line_of(folder, capsys, "--up-to", "2") == (0, kept)
    assert line_of(folder, capsys, "--up-to", "8") == (0, whole)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--bars", "7"], "ends with bar 6: 7 bars cannot be kept"),
        (["--given", "melody,piano"], "cannot be read as a song: no piano: the song has melody, bass"),
        (["--given", "banjo"], "no banjo"),
        (["--given", "Melody, BASS"], ""),
    ],
)
def test_what_a_song_does_not_have(folder, capsys, caplog, options, sentence):
    status, _ = line_of(folder, capsys, *options)
    assert status == (1 if sentence else 0)
    assert sentence in caplog.text + capsys.readouterr().err


def test_the_models_words_for_given_tracks(folder, tmp_path, capsys):
    assert line_of(folder, capsys, "--given", "Melody , bass", "--names") == (0, ["bass,melody"])
    (tmp_path / "dict.txt").write_text(GENERAL.dict_txt())
    bars = ["o-0 t-31 i-0 p-48 d-12 v-20 p-55 d-12 v-20 i-73 p-72 d-12 v-20 o-24 t-31 i-73 p-74 d-12 v-20"] * 16
    midi = decode(" ".join(f"s-9 {bar} b-1" for bar in bars).split(), GENERAL).midi
    (tmp_path / "song.mid").write_bytes(midi_bytes(midi))
    assert line_of(tmp_path, capsys, "--given", "melody", "--names") == (0, ["73"])


def put_back(folder, out, text, *options):
    out.mkdir()
    (out / "generated.txt").write_text(f"H-0\t-1.0\t{text}\n")
    arguments = [folder / "song.mid", out / "generated.txt", out, "--dict", folder / "dict.txt", *options]
    return written_song.main([str(argument) for argument in arguments])


def test_written_bars_come_between_the_songs_own(folder, tmp_path, capsys):
    _, whole = line_of(folder, capsys)
    text = " ".join(whole)
    bars = text.split(" b-1")
    bars[2] = " t-31 o-0 i-0 p-60 d-12 v-20"
    assert put_back(folder, tmp_path / "out", " b-1".join(bars), "--written", "3") == 0
    own, found = MidiFile(folder / "song.mid"), MidiFile(tmp_path / "out" / "generated_0.mid")
    start, end = (2 * 4 * own.ticks_per_beat, 3 * 4 * own.ticks_per_beat)
    kept = [note for note in notes_of(own) if not start <= note[2] < end]
    assert [note for note in notes_of(found) if not start <= note[2] < end] == kept
    (written,) = [note for note in notes_of(found) if start <= note[2] < end]
    assert written[1] == 0


def test_bars_behind_the_song_and_given_tracks(folder, tmp_path, capsys):
    _, kept = line_of(folder, capsys, "--bars", "2")
    assert put_back(folder, tmp_path / "longer", " ".join([*kept, "t-31 b-1", "t-31 b-1"]), "--after", "2") == 0
    assert put_back(folder, tmp_path / "given", " ".join(line_of(folder, capsys)[1]), "--given", "melody") == 0
    own, found = MidiFile(folder / "song.mid"), MidiFile(tmp_path / "given" / "generated_0.mid")
    assert [note for note in notes_of(found) if note[1] == 80] == [note for note in notes_of(own) if note[1] == 80]


def test_written_bars_have_the_tempo_that_was_asked_for(folder, tmp_path):
    assert put_back(folder, tmp_path / "out", "t-30 b-1 t-30 b-1", "--after", "1", "--tempo", "93") == 0
    own, found = (MidiFile(path) for path in (folder / "song.mid", tmp_path / "out" / "generated_0.mid"))
    kept = [(change.tempo, change.time) for change in own.tempo_changes]
    changes = [(change.tempo, change.time) for change in found.tempo_changes]
    assert [(round(tempo, 2), time) for tempo, time in changes if (tempo, time) not in kept] == [
        (93, 4 * own.ticks_per_beat)
    ]


def test_nothing_is_overwritten_and_faults_are_told(folder, tmp_path, capsys, caplog):
    out = tmp_path / "out"
    assert put_back(folder, out, "t-31 o-0 b-1", "--written", "1") == 1
    assert "not put into the song" in caplog.text
    (out / "generated_0.mid").write_bytes(b"mine")
    arguments = [folder / "song.mid", out / "generated.txt", out, "--dict", folder / "dict.txt", "--written", "1"]
    assert written_song.main([str(argument) for argument in arguments]) != 0
    assert (out / "generated_0.mid").read_bytes() == b"mine"
    assert put_back(folder, tmp_path / "other", "t-31 b-1", "--written", "one") != 0
    assert put_back(folder, tmp_path / "short", "t-31 b-1", "--written", "1-3") == 1
    assert "the piece has no bar 2" in caplog.text
    assert not list((tmp_path / "short").glob("*.mid"))


def test_songs_of_our_own_are_prompts(folder, tmp_path, capsys):
    assert make_songs([str(tmp_path / "songs"), "--count", "2"]) == 0
    for path in sorted((tmp_path / "songs").glob("*.mid"))[:2]:
        assert prompt.main([str(path), "--dict", str(folder / "dict.txt"), "--bars", "4"]) == 0
        assert capsys.readouterr().out.split().count("b-1") == 4
