import importlib.util
import tempfile
from pathlib import Path

import pytest
from miditoolkit import Instrument, MidiFile, Note, TempoChange, TimeSignature

HERE = Path(__file__).parent


@pytest.fixture(scope="session")
def write_song():
    """Writes a MIDI file: notes (start and end in quarters, pitch) by program, 128 for drums."""

    def write(path, tracks, tempo=120, metre=(4, 4)):
        midi = MidiFile(ticks_per_beat=480)
        midi.tempo_changes = [TempoChange(tempo, 0)]
        midi.time_signature_changes = [TimeSignature(*metre, 0)]
        for program, notes in tracks.items():
            track = Instrument(program % 128, program == 128)
            track.notes = [Note(90, pitch, int(480 * start), int(480 * end)) for start, end, pitch in notes]
            midi.instruments.append(track)
        midi.dump(str(path))
        return path

    return write


@pytest.fixture(scope="session")
def band():
    """Sixteen bars in 4/4 of the six tracks: bars 1-4 come four times."""
    beats = range(64)
    return {
        80: [(beat, beat + 0.9, 72 + (beat % 16) % 7) for beat in beats],
        128: [(beat / 2, beat / 2 + 0.1, 36 if beat % 4 == 0 else 42) for beat in range(128)],
        0: [(beat, beat + 2, pitch) for beat in beats[::2] for pitch in (60, 64, 67)],
        25: [(beat + 0.5, beat + 1, 55) for beat in beats],
        43: [(beat, beat + 1.8, 36) for beat in beats[::2]],
        48: [(beat, beat + 4, 64) for beat in beats[::4]],
    }


@pytest.fixture(scope="module")
def browser():
    """A page in a headless Chromium that has no network."""
    spec = importlib.util.spec_from_file_location("listening_browser", HERE / "browser.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    if module.find_chromium() is None:
        pytest.skip("no Chromium or Chrome is installed, or named by the variable CHROMIUM")
    # The profile has a short path of its own: pytest's is too long for the browser's sockets.
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as profile, module.Browser(Path(profile)) as opened:
        yield opened
