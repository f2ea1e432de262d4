import shutil
import wave

import numpy as np
import pytest

from listening import wav
from listening.wav import installed_soundfont, main

needs_fluidsynth = pytest.mark.skipif(
    shutil.which("fluidsynth") is None or installed_soundfont() is None,
    reason="FluidSynth or a soundfont is not installed",
)


@pytest.fixture
def song(tmp_path, write_song):
    return write_song(tmp_path / "song.mid", {0: [(0, 2, 69), (4, 6, 81)]})  # a second of A4, one of rest, A5


@needs_fluidsynth
def test_the_song_is_heard_at_its_times(song, tmp_path):
    assert main([str(song), str(tmp_path / "new/song.wav")]) == 0
    with wave.open(str(tmp_path / "new/song.wav")) as sound:
        assert (sound.getnchannels(), sound.getsampwidth(), sound.getframerate()) == (2, 2, 44100)
        samples = np.frombuffer(sound.readframes(sound.getnframes()), np.int16).reshape(-1, 2)[:, 0].astype(float)
    for start, frequency in ((0.1, 440), (2.1, 880)):
        window = samples[int(start * 44100) : int((start + 0.7) * 44100)]
        spectrum = np.abs(np.fft.rfft(window * np.hanning(len(window))))
        assert np.argmax(spectrum) * 44100 / len(window) == pytest.approx(frequency, rel=0.01)
    assert [path.name for path in (tmp_path / "new").iterdir()] == ["song.wav"]


@needs_fluidsynth
def test_faults_are_sentences(song, tmp_path, caplog):
    target = tmp_path / "song.wav"
    target.write_bytes(b"mine")
    assert main([str(song), str(target)]) == 1
    assert "exists already" in caplog.text
    assert target.read_bytes() == b"mine"
    target.unlink()
    assert main([str(tmp_path / "none.mid"), str(target)]) == 1
    assert "none.mid cannot be played: cannot be opened" in caplog.text
    assert main([str(song), str(target), "--soundfont", str(tmp_path / "none.sf2")]) == 1
    assert "There is no soundfont at" in caplog.text
    (tmp_path / "bad.sf2").write_bytes(b"no font")
    assert main([str(song), str(target), "--soundfont", str(tmp_path / "bad.sf2")]) == 1
    assert "bad.sf2 is not a soundfont" in caplog.text
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.sf2", "song.mid"]


def test_without_fluidsynth_it_says_what_to_install(song, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(wav.shutil, "which", lambda name: None)
    assert main([str(song), str(tmp_path / "song.wav")]) == 1
    assert "FluidSynth is not installed; apt-get install fluidsynth fluid-soundfont-gm brings it" in caplog.text


def test_without_a_soundfont_it_says_what_to_install(song, tmp_path, caplog, monkeypatch):
    monkeypatch.setattr(wav.shutil, "which", lambda name: "/usr/bin/true")
    monkeypatch.setattr(wav, "installed_soundfont", lambda: None)
    assert main([str(song), str(tmp_path / "song.wav")]) == 1
    assert "No soundfont is installed; apt-get install" in caplog.text


def test_fuller_soundfonts_go_first(tmp_path):
    assert installed_soundfont([tmp_path]) is None
    for name in ("TimGM6mb.sf2", "FluidR3_GM.sf2"):
        (tmp_path / name).touch()
    assert installed_soundfont([tmp_path / "none", tmp_path]) == tmp_path / "FluidR3_GM.sf2"
