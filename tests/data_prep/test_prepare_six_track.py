"""The command: fates, resuming, shards, lists, limits."""

import copy
import os
import random
import re
import shutil
import signal
import struct
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_prep import prepare_six_track
from data_prep.folders.files import find_files
from data_prep.merge_shards import main as merge
from data_prep.midi_to_tokens import main as to_tokens
from data_prep.prepare_six_track import main, output_name
from data_prep.six_track.report import ACCEPTED, REPORT, STAGES, funnel, read_report
from data_prep.six_track.rules import RULE_HELP
from examples.make_songs import compose_song, to_midi

COUNT = 8


@pytest.fixture
def wild(tmp_path, golden):
    """Eight songs, two copies of one of them, and five files that are not fit."""
    folder = tmp_path / "wild"
    (folder / "deep" / "er").mkdir(parents=True)
    for number in range(1, COUNT + 1):
        to_midi(compose_song(number, 1)).dump(str(folder / ("deep" if number % 2 else "") / f"song_{number}.mid"))
    shutil.copy(folder / "song_2.mid", folder / "deep" / "er" / "copy.MID")
    shutil.copy(folder / "song_2.mid", folder / "the copy.mid")
    for name in ("synth_ts_6_8", "synth_no_notes", "synth_ts_1_64"):
        shutil.copy(golden / "encode" / "midi" / f"{name}.mid", folder / "deep" / f"{name}.mid")
    (folder / "broken.mid").write_bytes(b"MThd\0\0\0\6")
    (folder / "tab\there.mid").write_bytes(b"")
    (folder / "readme.txt").write_text("no song")
    return folder


def contents(folder):
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def fates(folder):
    return {row.file: row.rule or row.fate for row in read_report(folder / REPORT)}


def test_the_command(wild, tmp_path, run_module):
    done = run_module("prepare_six_track", wild, tmp_path / "out", "--workers", 2)
    assert done.returncode == 0, done.stderr
    found = fates(tmp_path / "out")
    assert len(found) == COUNT + 2 + 5
    assert {file for file, fate in found.items() if fate == ACCEPTED} == {
        "deep/er/copy.MID", *(f"deep/song_{n}.mid" for n in (1, 3, 5, 7)), *(f"song_{n}.mid" for n in (4, 6, 8)),
    }  # fmt: skip
    assert found["song_2.mid"] == found["the copy.mid"] == "duplicate"
    assert found["deep/synth_ts_6_8.mid"] == "metre" and found["broken.mid"] == "readable"
    assert found["tab\\there.mid"] == "readable"
    rows = {row.file: row for row in read_report(tmp_path / "out" / REPORT)}
    assert list(rows) == sorted(rows)
    assert rows["song_2.mid"].reason == "duplicate: of deep/er/copy.MID"
    assert all(re.match(r"[^:]+: ", row.reason) for row in rows.values() if row.fate != ACCEPTED)
    songs = {str(path) for path in find_files(tmp_path / "out", (".mid",), None)}
    assert songs == {row.output for row in rows.values() if row.fate == ACCEPTED} and "deep/er/copy.MID.mid" in songs
    shown = (tmp_path / "out" / "funnel.txt").read_text().splitlines()
    assert shown[0].split() == ["files", "15"] and shown[-1].split() == ["duplicate", "8", "-2"]
    assert "duplicate           8   -2" in done.stderr


def test_its_songs_become_tokens_without_exception(wild, tmp_path):
    assert main([str(wild), str(tmp_path / "out")]) == 0
    assert to_tokens([str(tmp_path / "out"), str(tmp_path / "tokens"), "--representation", "six_track"]) == 0
    assert (tmp_path / "tokens" / "rejected.tsv").read_text() == ""
    assert len(list((tmp_path / "tokens").rglob("*.txt"))) == COUNT


def test_rules_can_be_left_out(wild, tmp_path):
    assert main([str(wild), str(tmp_path / "out"), "--no-duplicate", "--no-metre", "--no-variety"]) == 0
    found = fates(tmp_path / "out")
    assert found["song_2.mid"] == found["the copy.mid"] == ACCEPTED and found["deep/synth_ts_6_8.mid"] != "metre"
    assert "metre" not in (tmp_path / "out" / "funnel.txt").read_text()


def test_track_names_are_looked_at_unless_they_are_ignored(tmp_path):
    midi = to_midi(compose_song(1, 1))
    first = next(track for track in midi.instruments if track.name == "melody")
    twin = copy.deepcopy(first)
    first.name, twin.name = "harmony", "vocal"
    for note in twin.notes:
        note.pitch -= 2
    midi.instruments.append(twin)
    (tmp_path / "wild").mkdir()
    midi.dump(str(tmp_path / "wild" / "song.mid"))
    for name, options in (("vocal", []), ("harmony", ["--ignore-track-names"])):
        assert main([str(tmp_path / "wild"), str(tmp_path / name), *options]) == 0
        (row,) = read_report(tmp_path / name / REPORT)
        assert row.melody.endswith(f" {name}")


def test_general(wild, tmp_path):
    assert main([str(wild), str(tmp_path / "out"), "--general", "--no-variety"]) == 0
    assert fates(tmp_path / "out")["deep/synth_ts_6_8.mid"] == ACCEPTED
    assert to_tokens([str(tmp_path / "out"), str(tmp_path / "tokens"), "--representation", "general"]) == 0
    assert (tmp_path / "tokens" / "rejected.tsv").read_text() == ""


@pytest.mark.parametrize("count", [2, 40])  # of forty parts most are empty
def test_merged_shards_are_one_run(wild, tmp_path, count):
    assert main([str(wild), str(tmp_path / "one")]) == 0
    shards = [str(tmp_path / f"shard_{n}") for n in range(1, count + 1)]
    for number, shard in enumerate(shards, start=1):
        assert main([str(wild), shard, "--shard", f"{number}/{count}"]) == 0
    assert merge([*reversed(shards), str(tmp_path / "merged")]) == 0
    assert contents(tmp_path / "merged") == contents(tmp_path / "one")


def test_merge_refuses_what_is_not_one_run(wild, tmp_path, caplog):
    shard = [str(tmp_path / f"shard_{n}") for n in (1, 2)]
    main([str(wild), shard[0], "--shard", "1/2"])
    assert merge([shard[0], str(tmp_path / "m")]) == 1 and "missing: 2/2" in caplog.text
    assert merge([shard[0], shard[0], str(tmp_path / "m")]) == 1 and "both part 1/2" in caplog.text
    assert merge([shard[0], str(wild), str(tmp_path / "m")]) == 1 and "not the output of" in caplog.text
    main([str(wild), shard[1], "--shard", "2/2", "--no-pitch"])
    assert merge([*shard, str(tmp_path / "m")]) == 1 and "different options" in caplog.text
    (tmp_path / "shard_1" / "funnel.txt").unlink()
    assert merge([*shard, str(tmp_path / "m")]) == 1 and "not complete" in caplog.text
    assert not (tmp_path / "m").exists()


def test_killed_and_resumed_is_one_run(wild, tmp_path, repository):
    """Ten kills at random moments."""
    assert main([str(wild), str(tmp_path / "one")]) == 0
    command = [
        sys.executable,
        "-m",
        "data_prep.prepare_six_track",
        wild,
        tmp_path / "out",
        "--resume",
        "--workers",
        "2",
    ]
    rng = random.Random(4)
    for _ in range(10):
        process = subprocess.Popen(command, cwd=repository, stderr=subprocess.DEVNULL)
        time.sleep(rng.uniform(0.2, 1.2))
        process.send_signal(signal.SIGKILL)
        process.wait()
    assert subprocess.run(command, cwd=repository, capture_output=True).returncode == 0
    assert contents(tmp_path / "out") == contents(tmp_path / "one")


def test_resume_repairs(wild, tmp_path, monkeypatch):
    out = tmp_path / "out"
    assert main([str(wild), str(out)]) == 0
    whole = contents(out)
    (out / "deep/er/copy.MID.mid").unlink()
    (out / "song_4.mid").unlink()
    lines = (out / REPORT).read_bytes().splitlines(keepends=True)
    (out / REPORT).write_bytes(b"".join([*lines[:3], *lines[4:], lines[3][:20]]))  # a row was cut short
    assert main([str(wild), str(out), "--resume"]) == 0
    assert contents(out) == whole
    monkeypatch.setattr(prepare_six_track, "prepare_song", None)  # nothing is left to do
    assert main([str(wild), str(out), "--resume"]) == 0
    assert contents(out) == whole


def test_resume_wants_the_same_options(wild, tmp_path, caplog):
    main([str(wild), str(tmp_path / "out")])
    assert main([str(wild), str(tmp_path / "out")]) == 1 and "--resume" in caplog.text
    assert main([str(wild), str(tmp_path / "out"), "--resume", "--general"]) == 1 and "was begun with" in caplog.text


def endless_file(path, notes=60_000):
    """Valid MIDI: a heap of notes on one tick, each ended on that tick, which takes time squared to pair."""
    events = b"".join(b"\0\x90\x3c\x40" for _ in range(notes)) + b"".join(b"\0\x80\x3c\x40" for _ in range(notes))
    track = events + b"\0\xff\x2f\0"
    path.write_bytes(b"MThd" + struct.pack(">LHHH", 6, 0, 1, 480) + b"MTrk" + struct.pack(">L", len(track)) + track)


def test_a_file_that_takes_for_ever_is_cut_off(wild, tmp_path):
    endless_file(wild / "endless.mid")
    began = time.monotonic()
    assert main([str(wild), str(tmp_path / "out"), "--time-limit", "3"]) == 0
    assert time.monotonic() - began < 30
    row = next(row for row in read_report(tmp_path / "out" / REPORT) if row.file == "endless.mid")
    assert (row.fate, row.rule, row.reason) == ("rejected", "limits", "too slow: it takes more than 3 s")


def test_crashes_are_reported_and_tried_again(wild, tmp_path, monkeypatch, caplog):
    real = prepare_six_track.prepare_song

    def crashing(path, options):
        if path.name == "song_4.mid":
            os.kill(os.getpid(), signal.SIGKILL)
        return real(path, options)

    monkeypatch.setattr(prepare_six_track, "prepare_song", crashing)
    assert main([str(wild), str(tmp_path / "out")]) == 1
    assert fates(tmp_path / "out")["song_4.mid"] == "limits" and "crashed on 1 files" in caplog.text
    monkeypatch.setattr(prepare_six_track, "prepare_song", real)
    assert main([str(wild), str(tmp_path / "out"), "--resume"]) == 0
    assert fates(tmp_path / "out")["song_4.mid"] == ACCEPTED


def test_lists(wild, tmp_path, caplog):
    lists = tmp_path / "lists"
    lists.mkdir()
    (lists / "train.txt").write_text("song_1.mid\nwild/deep/song_3\n")
    (lists / "test.txt").write_text("song_4\nabsent.mid\n")
    assert main([str(wild), str(tmp_path / "out"), "--lists", str(lists)]) == 0
    assert set(fates(tmp_path / "out")) == {"deep/song_1.mid", "deep/song_3.mid", "song_4.mid"}
    assert "1 listed songs are not there, the first is absent.mid" in caplog.text


def test_outputs_never_meet(tmp_path):
    for name in ("a.mid", "a.MID", "a.midi", "a.MID.mid"):
        (tmp_path / name).touch()
    names = {name: str(output_name(Path(name), tmp_path)) for name in ("a.mid", "a.MID", "a.midi", "a.MID.mid")}
    assert len(set(names.values())) == 4 and names["a.mid"] == "a.mid" and names["a.midi"] == "a.midi.mid"


@pytest.mark.parametrize("arguments", [["--shard", "3/2"], ["--shard", "0/2"], ["--shard", "x"], ["--workers", "0"]])
def test_bad_options(arguments, tmp_path, capsys):
    with pytest.raises(SystemExit):
        main([str(tmp_path), str(tmp_path / "out"), *arguments])
    assert arguments[0] in capsys.readouterr().err


def test_folders_that_do_not_fit(wild, tmp_path, caplog):
    assert main([str(wild), str(wild / "out")]) == 1 and "lies in" in caplog.text
    assert main([str(tmp_path / "none"), str(tmp_path / "out")]) == 1 and "is not a folder" in caplog.text
    (tmp_path / "empty").mkdir()
    assert main([str(tmp_path / "empty"), str(tmp_path / "out")]) == 1 and "holds no MIDI files" in caplog.text


def test_help_names_every_rule(capsys):
    with pytest.raises(SystemExit):
        main(["--help"])
    shown = capsys.readouterr().out
    assert all(f"--no-{rule}" in shown for rule in RULE_HELP)


def test_funnel_counts():
    from collections import Counter

    lines = funnel(Counter({"": 3, "metre": 2, "pitch": 1}), STAGES)
    left = {line.split()[0]: int(line.split()[1]) for line in lines}
    assert (left["files"], left["readable"], left["metre"], left["tempo"], left["pitch"]) == (6, 6, 4, 4, 3)


@pytest.mark.slow
@pytest.mark.parametrize("corpus", ["bad", "bad_jazzsoft"])
def test_odd_files_pass_through(corpus, shared, tmp_path):
    archive = shared / "corpora" / f"{corpus}.tar.xz"
    if not archive.is_file():
        pytest.skip(f"{archive} is not there")
    shutil.unpack_archive(archive, tmp_path / "midi")
    for options in ([], ["--general"]):
        out = tmp_path / f"out{len(options)}"
        main([str(tmp_path / "midi"), str(out), *options])
        rows = list(read_report(out / REPORT))
        assert len(rows) == len(find_files(tmp_path / "midi", (".mid", ".midi"), None)) > 40
        assert all(row.fate == ACCEPTED or (row.rule and row.reason) for row in rows)
        assert not any(row.reason.startswith("crash") for row in rows)
