import errno
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from data_prep import midi_to_tokens
from data_prep.folders.files import find_files
from data_prep.folders.limited_workers import Limits
from data_prep.midi_to_tokens import main, output_names
from data_prep.tokens.grammar import check_piece
from data_prep.tokens.vocabulary import REPRESENTATIONS

GENERAL = ["--representation", "general"]


@pytest.fixture
def songs(golden, tmp_path):
    """A folder with three good songs at different depths, one of 3/4, and two that give no piece."""
    folder = tmp_path / "midi"
    source = golden / "encode" / "midi"
    for name, place in {
        "band_0": "a/b/band.mid",
        "duo_0": "a/duo.MIDI",
        "synth_ts_6_8": "jig.mid",
        "synth_no_notes": "a/silent.mid",
        "synth_zero_len_note": "zero.mid",
    }.items():
        (folder / place).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy(source / f"{name}.mid", folder / place)
    (folder / "a" / "broken.mid").write_bytes(b"MThd\0\0\0\6")
    (folder / "readme.txt").write_text("no song")
    return folder


def contents(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}


def test_the_command(songs, tmp_path, run_module):
    done = run_module("midi_to_tokens", songs, tmp_path / "tokens", *GENERAL)
    assert done.returncode == 0, done.stderr
    written = contents(tmp_path / "tokens")
    assert set(written) == {
        "a/b/band.txt", "a/duo.txt", "jig.txt", "zero.txt", "encoded.tsv", "rejected.tsv", "settings.json",
    }  # fmt: skip
    for name in ("a/b/band.txt", "a/duo.txt", "jig.txt"):
        line = written[name].decode()
        assert line.endswith("b-1\n") and line.count("\n") == 1
        check_piece(line.split(), REPRESENTATIONS["general"])
    rejected = dict(line.split("\t") for line in written["rejected.tsv"].decode().splitlines())
    assert list(rejected) == ["a/broken.mid", "a/silent.mid"]
    assert rejected["a/silent.mid"] == "no notes: the file holds none"
    assert "4 pieces" in done.stderr and "1  no notes" in done.stderr and "1  damaged MIDI" in done.stderr
    assert "dropped 1 notes of length zero from 1 pieces" in done.stderr


@pytest.mark.parametrize("name", REPRESENTATIONS)
def test_golden_songs_through_the_command(golden, tmp_path, run_module, name):
    done = run_module("midi_to_tokens", golden / "encode" / "midi", tmp_path / "t", "--representation", name)
    assert done.returncode == 0
    written = sorted((tmp_path / "t").glob("*.txt"))
    for path in written:
        tokens = path.read_text().split()
        check_piece(tokens, REPRESENTATIONS[name])
        if "zero_len" not in path.stem:
            assert path.read_text() == (golden / "encode" / name / path.name).read_text()
    rejected = dict(line.split("\t") for line in (tmp_path / "t" / "rejected.tsv").read_text().splitlines())
    assert len(written) + len(rejected) == len(list((golden / "encode" / "midi").iterdir()))
    assert rejected["synth_ts_1_64.mid"].startswith("metre too short")
    assert rejected["synth_ts_3_128.mid"].startswith("metre without a token")
    if name == "six_track":
        assert rejected["synth_ts_6_8.mid"].startswith("not in 4/4: bar 1 is in 6/8")
        assert rejected["synth_inst_all128.mid"].startswith("other instruments: program 5, 10, 15, 20, 30 ...")


@pytest.mark.parametrize("options", [["--original-key"], ["--original-key", "--keep-empty-bars"]], ids=len)
def test_options_reach_the_encoder(tmp_path, golden, options):
    (tmp_path / "midi").mkdir()
    shutil.copy(golden / "encode" / "midi" / "synth_empty_bars_lead_6t.mid", tmp_path / "midi" / "late.mid")
    assert main([str(tmp_path / "midi"), str(tmp_path / "t"), *GENERAL, *options]) == 0
    form = golden / "encode" / "__".join(["general", *(option[2:].replace("-", "_") for option in options)])
    assert (tmp_path / "t" / "late.txt").read_text() == (form / "synth_empty_bars_lead_6t.txt").read_text()


@pytest.mark.parametrize(
    ("names", "outputs"),
    [
        (["a.mid", "b.MIDI"], ["a.txt", "b.txt"]),
        (["a.mid", "a.midi"], ["a.mid.txt", "a.midi.txt"]),
        (["a.mid", "a.midi", "a.mid.mid"], ["a.mid.txt", "a.midi.txt", "a.mid.mid.txt"]),
        (["A.mid", "a.mid"], ["A.mid.txt", "a.mid.txt"]),
        (["x/a.mid", "a.mid"], ["x/a.txt", "a.txt"]),
        (["taken.mid"], ["taken.mid.txt"]),
    ],
)
def test_no_two_songs_share_an_output(names, outputs):
    assert [str(path) for path in output_names([Path(n) for n in names], {"taken.txt"}).values()] == outputs


def test_a_mid_and_a_midi_are_both_kept(songs, tmp_path):
    shutil.copy(songs / "jig.mid", songs / "jig.midi")
    assert main([str(songs), str(tmp_path / "t"), *GENERAL]) == 0
    assert (tmp_path / "t" / "jig.mid.txt").exists() and (tmp_path / "t" / "jig.midi.txt").exists()


def test_a_filled_folder_is_refused_without_resume(songs, tmp_path, caplog):
    (tmp_path / "t").mkdir()
    (tmp_path / "t" / "jig.txt").write_text("mine")
    assert main([str(songs), str(tmp_path / "t"), *GENERAL]) == 1
    assert "already holds files" in caplog.text
    assert main([str(songs), str(tmp_path / "t"), *GENERAL, "--resume"]) == 1
    assert "not the output of an interrupted run" in caplog.text
    assert contents(tmp_path / "t") == {"jig.txt": b"mine"}


def test_resume_with_other_options_is_refused(songs, tmp_path, caplog):
    assert main([str(songs), str(tmp_path / "t"), *GENERAL]) == 0
    assert main([str(songs), str(tmp_path / "t"), *GENERAL, "--original-key", "--resume"]) == 1
    assert "original_key False" in caplog.text and "original_key True" in caplog.text


def test_resume_does_only_what_is_missing_and_gives_the_same(songs, tmp_path, monkeypatch):
    tokens = tmp_path / "t"
    assert main([str(songs), str(tokens), *GENERAL]) == 0
    whole = contents(tokens)
    # As if killed: one file unlisted, another listed but lost, a line cut short, half a file left over.
    (tokens / "jig.txt").unlink()
    rows = whole["encoded.tsv"].splitlines(keepends=True)
    (tokens / "encoded.tsv").write_bytes(b"".join(row for row in rows if not row.startswith(b"a/b")) + b"a/b/ba")
    (tokens / "rejected.tsv").write_bytes(b"a/silent.mid\tno no")
    (tokens / "a" / "b" / "band.txt.part").write_bytes(b"s-9 o")
    read = []
    monkeypatch.setattr(midi_to_tokens, "run_limited", recording(midi_to_tokens.run_limited, read))
    assert main([str(songs), str(tokens), *GENERAL, "--resume"]) == 0
    assert contents(tokens) == whole
    assert sorted(map(str, read)) == ["a/b/band.mid", "a/broken.mid", "a/silent.mid", "jig.mid"]


def recording(run_limited, read):
    def wrapped(function, items, workers, limits):
        read.extend(items)
        return run_limited(function, items, workers, limits)

    return wrapped


def test_resume_overwrites_no_text_that_differs(songs, tmp_path, caplog):
    assert main([str(songs), str(tmp_path / "t"), *GENERAL]) == 0
    (tmp_path / "t" / "encoded.tsv").write_text("")
    (tmp_path / "t" / "jig.txt").write_text("mine")
    assert main([str(songs), str(tmp_path / "t"), *GENERAL, "--resume"]) == 1
    assert "exists with other content" in caplog.text
    assert (tmp_path / "t" / "jig.txt").read_text() == "mine"


def test_killed_and_resumed_equals_uninterrupted(golden, tmp_path, run_module):
    songs = golden / "encode" / "midi"
    assert run_module("midi_to_tokens", songs, tmp_path / "whole", *GENERAL).returncode == 0
    command = [sys.executable, "-m", "data_prep.midi_to_tokens", songs, tmp_path / "t", *GENERAL, "--workers", "1"]
    process = subprocess.Popen(command, cwd=Path(midi_to_tokens.__file__).parent.parent, stderr=subprocess.DEVNULL)
    deadline = time.monotonic() + 20
    while len(list((tmp_path / "t").glob("*.txt"))) < 5 and time.monotonic() < deadline:
        time.sleep(0.001)
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert len(list((tmp_path / "t").glob("*.txt"))) < len(list((tmp_path / "whole").glob("*.txt")))
    assert run_module("midi_to_tokens", songs, tmp_path / "t", *GENERAL, "--resume").returncode == 0
    assert contents(tmp_path / "t") == contents(tmp_path / "whole")


def test_a_parser_that_hangs_dies_or_eats_memory(songs, tmp_path, monkeypatch, caplog):
    honest = midi_to_tokens.read_song

    def read_song(path):
        if path.name == "duo.MIDI":
            time.sleep(60)
        if path.name == "band.mid":
            os.kill(os.getpid(), signal.SIGKILL)
        if path.name == "jig.mid":
            bytearray(2**32)
        return honest(path)

    monkeypatch.setattr(midi_to_tokens, "read_song", read_song)
    tokens = tmp_path / "t"
    limits = ["--time-limit", "1", "--workers", "2"]
    assert main([str(songs), str(tokens), *GENERAL, *limits]) == 1  # a crash is told by the exit status
    reasons = dict(line.split("\t") for line in (tokens / "rejected.tsv").read_text().splitlines())
    assert reasons["a/duo.MIDI"] == "too slow: it takes more than 1 s"
    assert reasons["a/b/band.mid"] == "crash: the process that read it was killed by SIGKILL"
    assert reasons["jig.mid"] == f"too large: it takes more than {Limits.memory_mib} MiB of memory"
    assert (tokens / "zero.txt").exists()
    # With an honest parser, resuming tries those again.
    monkeypatch.setattr(midi_to_tokens, "read_song", honest)
    assert main([str(songs), str(tokens), *GENERAL, "--resume"]) == 0
    assert main([str(songs), str(tmp_path / "whole"), *GENERAL]) == 0
    assert contents(tokens) == contents(tmp_path / "whole")


def test_strange_names_and_places(songs, tmp_path, golden):
    jig = golden / "encode" / "midi" / "synth_ts_6_8.mid"
    strange = ["tab\there.mid", "line\nbreak.mid", "ünïcödé (copy).mid", os.fsdecode(b"latin-\xe9.mid"), "..mid"]
    for name in strange:
        shutil.copy(jig, songs / name)
    (songs / "dangling.mid").symlink_to("nowhere.mid")
    (songs / "folder.mid").mkdir()
    (songs / "loop").symlink_to(songs)
    linked = tmp_path / "elsewhere"
    linked.mkdir()
    shutil.copy(jig, linked / "linked.mid")
    (songs / "link").symlink_to(linked)
    os.mkfifo(songs / "pipe.mid")
    tokens = tmp_path / "t"
    assert main([str(songs), str(tokens), *GENERAL, "--time-limit", "2"]) == 0
    listed = (tokens / "encoded.tsv").read_bytes().splitlines() + (tokens / "rejected.tsv").read_bytes().splitlines()
    assert len(listed) == len(find_files(songs, (".mid", ".midi"), on_error=print)) == 6 + len(strange) + 3
    assert (tokens / "link" / "linked.txt").exists()
    assert "dangling.mid\tcannot be opened: No such file" in (tokens / "rejected.tsv").read_text("utf-8", "replace")
    before = contents(tokens)
    assert main([str(songs), str(tokens), *GENERAL, "--resume", "--time-limit", "2"]) == 0
    assert contents(tokens) == before


@pytest.mark.parametrize(
    ("arguments", "status", "sentence"),
    [
        (["absent", "t", *GENERAL], 1, "absent is not a folder"),
        ([".", "t"], 2, "--representation"),
        ([".", "t", "--representation", "remi"], 2, "invalid choice: 'remi'"),
        ([".", "t", *GENERAL, "--workers", "0"], 2, "0 is not at least 1"),
        (["empty", "t", *GENERAL], 1, "holds no MIDI files"),
        (["empty", "empty/file/t", *GENERAL], 1, "Not a directory"),
    ],
)
def test_wrong_use_gets_a_sentence(tmp_path, monkeypatch, caplog, capsys, arguments, status, sentence):
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "file").touch()
    monkeypatch.chdir(tmp_path)
    try:
        assert main(arguments) == status
    except SystemExit as exit_:
        assert exit_.code == status
    assert sentence in caplog.text + capsys.readouterr().err


def test_a_damaged_key_costs_the_key_and_not_the_song(golden, tmp_path, caplog):
    caplog.set_level("INFO")
    (tmp_path / "midi").mkdir()
    content = (golden / "encode" / "midi" / "band_0.mid").read_bytes()
    first = content.index(b"MTrk") + 8
    length = int.from_bytes(content[first - 4 : first], "big") + 6
    damaged = content[: first - 4] + length.to_bytes(4, "big") + b"\x00\xff\x59\x02\x09\x00" + content[first:]
    for name, data in (("whole", content), ("damaged", damaged)):
        (tmp_path / "midi" / f"{name}.mid").write_bytes(data)
    assert main([str(tmp_path / "midi"), str(tmp_path / "t"), *GENERAL]) == 0
    assert (tmp_path / "t" / "damaged.txt").read_bytes() == (tmp_path / "t" / "whole.txt").read_bytes()
    assert "left out 1 damaged meta events from 1 pieces" in caplog.text


def test_only_bad_songs_fail(tmp_path, caplog):
    (tmp_path / "bad.mid").write_bytes(b"nothing")
    assert main([str(tmp_path), str(tmp_path / "t"), *GENERAL]) == 1
    assert "No file gave a piece." in caplog.text


def test_a_full_disk_gets_a_sentence_and_can_be_resumed(songs, tmp_path, monkeypatch, caplog):
    honest = midi_to_tokens.TokenFolder.add

    def add(self, file, *rest):
        if file.name == "jig.mid":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), "t/jig.txt")
        honest(self, file, *rest)

    monkeypatch.setattr(midi_to_tokens.TokenFolder, "add", add)
    assert main([str(songs), str(tmp_path / "t"), *GENERAL]) == 1
    assert "No space left on device: t/jig.txt." in caplog.text
    monkeypatch.setattr(midi_to_tokens.TokenFolder, "add", honest)
    assert main([str(songs), str(tmp_path / "t"), *GENERAL, "--resume"]) == 0


# Runs a command and prints the peak memory of its processes: those of the tests have had other children.
PEAK_OF_CHILDREN = """
import resource, subprocess, sys
status = subprocess.run(sys.argv[1:]).returncode
print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
sys.exit(status)
"""


def test_bad_corpora_have_their_expected_outcomes(shared, tmp_path, repository):
    for name in ("bad", "bad_jazzsoft"):
        shutil.unpack_archive(shared / "corpora" / f"{name}.tar.xz", tmp_path / "midi")
    command = [sys.executable, "-m", "data_prep.midi_to_tokens", tmp_path / "midi", tmp_path / "t", *GENERAL]
    done = subprocess.run(
        [sys.executable, "-c", PEAK_OF_CHILDREN, *map(str, command)], cwd=repository, capture_output=True, text=True
    )
    assert done.returncode == 0 and "Traceback" not in done.stderr
    assert int(done.stdout.split()[-1]) < 2**20  # KiB
    encoded = {line.split("\t")[0] for line in (tmp_path / "t" / "encoded.tsv").read_text().splitlines()}
    rejected = {line.split("\t")[0] for line in (tmp_path / "t" / "rejected.tsv").read_text().splitlines()}
    files = {str(path) for path in find_files(tmp_path / "midi", (".mid", ".midi"), on_error=print)}
    assert encoded | rejected == files and not encoded & rejected
    manifest = json.loads((tmp_path / "midi" / "bad" / "manifest.json").read_text())
    for entry in manifest["files"]:
        outcome = "accept" if f"bad/{entry['file']}" in encoded else "reject"
        assert entry["expect"] in (outcome, "either"), entry
