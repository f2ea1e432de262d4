"""The scripts of examples/python do what they say."""

import subprocess
import sys

import pytest
from miditoolkit import MidiFile

from data_prep.tokens.decode import midi_bytes


@pytest.fixture(scope="module")
def run(model_folder, repository):
    """A function that runs a script of examples/python with a small model and returns what it printed."""
    folder = model_folder()

    def script(name, *arguments):
        command = [sys.executable, "-m", f"examples.python.{name}", *map(str, arguments), "--model", str(folder)]
        done = subprocess.run(command, capture_output=True, text=True, cwd=repository)
        assert done.returncode == 0, done.stderr
        assert done.stderr == ""
        return done.stdout

    return script


@pytest.mark.slow
@pytest.mark.parametrize("name", ["continue_song", "fill", "accompany", "vary"])
def test_scripts_about_a_song(run, song, notes_of, tmp_path, name):
    path, out = tmp_path / "song.mid", tmp_path / "out.mid"
    path.write_bytes(midi_bytes(song()))
    assert str(out) in run(name, out, path)
    before, after = MidiFile(str(path)), MidiFile(str(out))
    assert notes_of(after) != notes_of(before)
    if name == "accompany":
        assert notes_of(after, programs={80}) == notes_of(before, programs={80})
    else:
        assert notes_of(after, {1, 2}) == notes_of(before, {1, 2})


@pytest.mark.slow
def test_a_song_from_scratch(run, tmp_path):
    run("sample", tmp_path / "out.mid")
    written = MidiFile(str(tmp_path / "out.mid"))
    assert not any(note.start < 4 * 4 * 480 for track in written.instruments if track.is_drum for note in track.notes)
    assert written.tempo_changes[0].tempo == pytest.approx(96, abs=1e-3)


@pytest.mark.slow
def test_bars_of_a_stream(run):
    lines = run("stream").splitlines()
    assert [line.split(",")[0] for line in lines[:-1]] == [f"bar {number}" for number in range(1, 9)]
    assert "2.0 seconds" in lines[0]


@pytest.mark.parametrize("name", ["continue_song", "fill", "accompany", "vary"])
def test_what_cannot_be_done_is_a_sentence(repository, tmp_path, name):
    missing = tmp_path / "missing.mid"
    command = [sys.executable, "-m", f"examples.python.{name}", str(tmp_path / "out.mid"), str(missing)]
    done = subprocess.run(command, capture_output=True, text=True, cwd=repository)
    assert done.returncode == 1
    assert str(missing) in done.stderr and done.stderr.count("\n") == 1
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["sample", "stream"])
def test_weights_that_are_not_there_are_told_in_a_sentence(repository, tmp_path, name):
    command = [sys.executable, "-m", f"examples.python.{name}", "--model", str(tmp_path / "missing")]
    command += [str(tmp_path / "out.mid")] if name == "sample" else []
    done = subprocess.run(command, capture_output=True, text=True, cwd=repository)
    assert done.returncode == 1
    assert str(tmp_path / "missing") in done.stderr and done.stderr.count("\n") == 1
