import subprocess
import sys

import pytest
from miditoolkit import Instrument, MidiFile, Note, TempoChange, TimeSignature

DRUMS = 128


@pytest.fixture
def build_midi():
    """A function from notes (instrument, onset, duration, pitch, velocity), in positions, to a MidiFile."""

    def build(notes, tempos=((0, 120.0),), metres=((0, 4, 4),), ticks_per_quarter=480):
        scale = ticks_per_quarter / 12
        midi = MidiFile(ticks_per_beat=ticks_per_quarter)
        for instrument in dict.fromkeys(note[0] for note in notes):
            track = Instrument(0 if instrument == DRUMS else instrument, is_drum=instrument == DRUMS)
            track.notes = [
                Note(velocity, pitch, round(onset * scale), round((onset + duration) * scale))
                for which, onset, duration, pitch, velocity in notes
                if which == instrument
            ]
            midi.instruments.append(track)
        midi.tempo_changes = [TempoChange(bpm, round(onset * scale)) for onset, bpm in tempos]
        midi.time_signature_changes = [TimeSignature(n, d, round(onset * scale)) for onset, n, d in metres]
        return midi

    return build


@pytest.fixture
def run_module(repository):
    """A function that runs ``python -m data_prep.NAME`` with arguments and returns the finished process."""

    def run(name, *arguments):
        return subprocess.run(
            [sys.executable, "-m", f"data_prep.{name}", *map(str, arguments)],
            cwd=repository,
            capture_output=True,
            text=True,
            timeout=120,
        )

    return run
