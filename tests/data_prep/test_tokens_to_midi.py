import errno
import os

import pytest
from miditoolkit import MidiFile

from data_prep import tokens_to_midi
from data_prep.tokens_to_midi import main

SIX = "t-35 o-0 i-80 p-60 d-12 v-20 b-1"
GENERAL = "s-8 o-0 t-35 i-5 p-62 d-12 v-20 b-1"


def pitches(path):
    return [note.pitch for track in MidiFile(str(path)).instruments for note in track.notes]


def names(folder):
    return sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())


def decode_to(tmp_path, *inputs, options=()):
    return main([*map(str, inputs), str(tmp_path / "out"), *options])


def test_the_command_on_files_and_folders(tmp_path, run_module):
    (tmp_path / "one.txt").write_text(SIX + "\n")
    (tmp_path / "many.tokens").write_text(f"{SIX}\n{GENERAL}\n")
    (tmp_path / "folder" / "deep").mkdir(parents=True)
    (tmp_path / "folder" / "deep" / "song.txt").write_text(GENERAL)
    inputs = [tmp_path / "one.txt", tmp_path / "many.tokens", tmp_path / "folder"]
    done = run_module("tokens_to_midi", *inputs, tmp_path / "out")
    assert done.returncode == 0, done.stderr
    assert names(tmp_path / "out") == ["deep/song.mid", "many_1.mid", "many_2.mid", "one.mid"]
    assert "4 MIDI files" in done.stderr
    song = MidiFile(str(tmp_path / "out" / "many_2.mid"))
    assert song.ticks_per_beat == 480
    assert [(c.numerator, c.denominator) for c in song.time_signature_changes] == [(3, 4)]
    assert pitches(tmp_path / "out" / "many_2.mid") == [62]


def test_fairseq_output(tmp_path):
    log = [
        "2024-01-01 10:00:00 | INFO | fairseq_cli.generate | loading model(s)",
        "S-1\tt-35",
        "H-1\t-0.25\t" + SIX,
        "D-1\t-0.25\t" + SIX,
        "P-1\t-0.1 -0.2",
        "S-0\t",
        "H-0\t-0.5\t" + GENERAL,
        "H-0\t-0.75\t" + GENERAL.replace("p-62", "p-64"),
        "2024-01-01 10:00:09 | INFO | fairseq_cli.generate | Translated 2 sentences",
    ]
    (tmp_path / "generate-test.txt").write_text("\n".join(log))
    assert decode_to(tmp_path, tmp_path / "generate-test.txt") == 0
    assert names(tmp_path / "out") == ["generate-test_0_1.mid", "generate-test_0_2.mid", "generate-test_1.mid"]
    assert pitches(tmp_path / "out" / "generate-test_0_2.mid") == [64]


def test_bad_lines_cost_only_themselves(tmp_path, caplog):
    lines = [SIX, "", "b-1 b-1", "gibberish", "\x00\xff", SIX.replace("i-80", "i-999"), SIX]
    (tmp_path / "x.txt").write_bytes("\n".join(lines).encode("latin1") + b"\n")
    assert decode_to(tmp_path, tmp_path / "x.txt") == 1
    assert names(tmp_path / "out") == ["x_1.mid", "x_6.mid", "x_7.mid"]
    for line, sentence in {
        2: "not decoded: the line is empty",
        3: "not decoded: there is no complete note",
        4: "not decoded: there is no complete note; token 1: 'gibberish' is not a token",
        6: "1 tokens skipped, first token 3: i-999 says nothing about music",
    }.items():
        assert f"line {line}: {sentence}" in caplog.text


def test_strict(tmp_path, caplog):
    (tmp_path / "x.txt").write_text(SIX.replace("v-20", "v-20 v-20"))
    assert decode_to(tmp_path, tmp_path / "x.txt", options=["--strict"]) == 1
    assert "token 7: v-20 may not come here" in caplog.text
    assert not (tmp_path / "out").exists()
    assert decode_to(tmp_path, tmp_path / "x.txt") == 0
    assert "1 tokens skipped" in caplog.text


def test_nothing_is_overwritten(tmp_path, caplog):
    for folder in "ab":
        (tmp_path / folder).mkdir()
        (tmp_path / folder / "song.txt").write_text(SIX)
    assert decode_to(tmp_path, tmp_path / "a" / "song.txt", tmp_path / "b" / "song.txt") == 1
    assert "would both become" in caplog.text and not (tmp_path / "out").exists()
    assert decode_to(tmp_path, tmp_path / "a") == 0
    before = (tmp_path / "out" / "song.mid").read_bytes()
    (tmp_path / "a" / "song.txt").write_text(GENERAL)
    assert decode_to(tmp_path, tmp_path / "a") == 1
    assert "exists already" in caplog.text
    assert (tmp_path / "out" / "song.mid").read_bytes() == before


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (b"", "x.txt is empty"),
        (b"\n", "line 1: not decoded: the line is empty"),
        (b"S-0\tt-35\nD-0\t1\tt-35\n", "output without hypotheses"),
        (b"H-0\t-inf\t\n", "line 1: not decoded: the line is empty"),
        (bytes(range(256)), "not decoded"),
    ],
)
def test_files_without_pieces(tmp_path, caplog, content, sentence):
    (tmp_path / "x.txt").write_bytes(content)
    assert decode_to(tmp_path, tmp_path / "x.txt") == 1
    assert sentence in caplog.text


def test_wrong_places(tmp_path, caplog):
    assert decode_to(tmp_path, tmp_path / "absent.txt") == 1
    assert "absent.txt is not a file" in caplog.text
    (tmp_path / "empty").mkdir()
    assert decode_to(tmp_path, tmp_path / "empty") == 1
    assert "holds no token files" in caplog.text
    (tmp_path / "x.txt").write_text(SIX)
    assert main([str(tmp_path / "x.txt"), str(tmp_path / "x.txt")]) == 1
    assert "the last argument names the folder" in caplog.text


def test_a_full_disk_gets_a_sentence(tmp_path, monkeypatch, caplog):
    def write_whole(path, _content):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))

    monkeypatch.setattr(tokens_to_midi, "write_whole", write_whole)
    (tmp_path / "x.txt").write_text(SIX)
    assert decode_to(tmp_path, tmp_path / "x.txt") == 1
    assert "No space left on device" in caplog.text


def test_more_instruments_than_channels_are_told(tmp_path, caplog):
    tracks = " ".join(f"i-{instrument} p-60 d-12 v-20" for instrument in range(16))
    (tmp_path / "x.txt").write_text(f"s-9 o-0 t-35 {tracks} b-1")
    assert decode_to(tmp_path, tmp_path / "x.txt") == 0
    assert "16 instruments share the 15 channels" in caplog.text


@pytest.mark.parametrize(("told", "expected"), [([], 90.5), (["--tempo", "93"], 93.0), (["--tempo", "92.5 bpm"], 92.5)])
def test_a_tempo_that_was_asked_for_is_not_that_of_its_token(tmp_path, told, expected):
    (tmp_path / "song.txt").write_text("t-30 o-0 i-80 p-60 d-12 v-20 b-1 t-30 b-1")
    assert decode_to(tmp_path, tmp_path / "song.txt", options=told) == 0
    changes = MidiFile(str(tmp_path / "out" / "song.mid")).tempo_changes
    assert [(round(change.tempo, 1), change.time) for change in changes] == [(expected, 0)]


def test_a_tempo_that_is_none_is_refused(tmp_path, capsys):
    with pytest.raises(SystemExit, match="2"):
        decode_to(tmp_path, tmp_path / "song.txt", options=["--tempo", "fast"])
    assert "'fast' is not a tempo" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("semitones", "expected"), [(0, [126, 125, 2, 1]), (2, [116, 127, 4, 3]), (-2, [124, 123, 0, 11])]
)
def test_transposed_notes_stay_in_range_and_drums_where_they_are(tmp_path, semitones, expected):
    notes = " ".join(f"p-{pitch} d-12 v-20" for pitch in (126, 125, 2, 1))
    (tmp_path / "song.txt").write_text(f"t-35 o-0 i-80 {notes} i-128 p-164 d-12 v-20 b-1")
    assert decode_to(tmp_path, tmp_path / "song.txt", options=["--transpose", str(semitones)]) == 0
    melody, drums = MidiFile(str(tmp_path / "out" / "song.mid")).instruments
    assert sorted(note.pitch for note in melody.notes) == sorted(expected)
    assert [note.pitch for note in drums.notes] == [36]
