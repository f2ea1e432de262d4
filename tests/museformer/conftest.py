"""What the tests of the Python API share: small models with random weights in folders, small songs."""

import pytest
import torch
from fairseq.data import Dictionary
from miditoolkit import ControlChange, Instrument, KeySignature, Lyric, MidiFile, Note, TempoChange, TimeSignature

from data_prep.tokens.vocabulary import REPRESENTATIONS
from museformer import Museformer
from museformer_plugin.checkpoint_files import checkpoint_of, write_checkpoint
from museformer_plugin.models.museformer import MuseformerConfig, MuseformerDecoder
from tests.tiny_model import TINY

BAR = 4 * 384  # ticks of a bar in 4/4


@pytest.fixture(scope="session")
def model_folder(tmp_path_factory):
    """A function (representation, steerable) to a folder with a model of random weights."""

    def write(representation="six_track", steerable=True):
        folder = tmp_path_factory.mktemp(representation)
        torch.manual_seed(3)
        dictionary = Dictionary()
        for symbol in REPRESENTATIONS[representation].symbols():
            dictionary.add_symbol(symbol)
        options = {**TINY, "structure_bars": "1,2,4", "steerable": steerable}
        decoder = MuseformerDecoder(MuseformerConfig(**options), dictionary)
        weights = {f"decoder.{name}": tensor.half() for name, tensor in decoder.state_dict().items()}
        write_checkpoint(checkpoint_of(weights, options), folder / "model.pt")
        (folder / "dict.txt").write_text(REPRESENTATIONS[representation].dict_txt())
        return folder

    return write


@pytest.fixture(scope="session")
def model(model_folder):
    """A steerable six-track model."""
    return Museformer.from_pretrained(model_folder())


@pytest.fixture(scope="session")
def general_model(model_folder):
    """A steerable model of general tokens."""
    return Museformer.from_pretrained(model_folder("general"))


@pytest.fixture(scope="session")
def plain_model(model_folder):
    """A six-track model that cannot be told of bars."""
    return Museformer.from_pretrained(model_folder(steerable=False))


def _track(program, pitches, bars, name="", drums=False, late=0):
    """Four notes a bar, which end a little early or, where ``late``, begin so many ticks behind the beat."""
    track = Instrument(program, drums, name)
    for beat in range(4 * bars):
        start = beat * 384 + late
        track.notes.append(Note(70 + beat % 9, pitches[beat % len(pitches)], start, start + 290 + beat % 5))
    return track


@pytest.fixture(scope="session")
def song():
    """A function (bars) to a six-track song in D major with melody, drums and bass, controls, lyrics and two tempos."""

    def make(bars=8):
        midi = MidiFile(ticks_per_beat=384)
        midi.instruments = [
            _track(80, (74, 76, 78, 79, 81, 83, 85), bars, "lead"),
            _track(0, (36, 42, 38), bars, "kit", drums=True),
            _track(43, (38, 45, 43, 38), bars, "low", late=3),
        ]
        midi.instruments[0].control_changes = [ControlChange(7, 100, 5), ControlChange(10, 30, BAR + 7)]
        midi.tempo_changes = [TempoChange(97, 0), TempoChange(93.5, (bars - 1) * BAR)]
        midi.time_signature_changes = [TimeSignature(4, 4, 0)]
        midi.key_signature_changes = [KeySignature("D", 0)]
        midi.lyrics = [Lyric("la", 0), Lyric("le", 2 * BAR)]
        midi.max_tick = bars * BAR
        return midi

    return make


@pytest.fixture(scope="session")
def wild_song():
    """A song of 8 bars for other instruments than the six tracks, one of which has no place among them."""
    midi = MidiFile(ticks_per_beat=384)
    midi.instruments = [
        _track(73, (74, 76, 78, 79, 81, 83, 85), 8, "flute melody"),
        _track(33, (38, 45, 43, 38), 8, "bass"),
        _track(119, (60,), 8, "cymbal"),
    ]
    midi.tempo_changes = [TempoChange(101, 0)]
    midi.time_signature_changes = [TimeSignature(4, 4, 0)]
    return midi


@pytest.fixture(scope="session")
def notes_of():
    """A function (midi, bars or None, drums) to the notes that begin in ``bars``, with their program, sorted."""

    def read(midi, bars=None, programs=None):
        return sorted(
            (128 if track.is_drum else track.program, note.start, note.end, note.pitch, note.velocity)
            for track in midi.instruments
            for note in track.notes
            if (bars is None or note.start // (4 * midi.ticks_per_beat) + 1 in bars)
            and (programs is None or (128 if track.is_drum else track.program) in programs)
        )

    return read
