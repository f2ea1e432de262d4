"""Whatever a caller does wrong ends in one sentence, in the words of the call."""

import re

import pytest
import torch
from miditoolkit import Instrument, MidiFile, Note, TimeSignature

from data_prep.tokens.vocabulary import SIX_TRACK
from museformer import Museformer, RequestError


def tell(call, *arguments, **options):
    with pytest.raises(RequestError) as caught:
        call(*arguments, **options)
    sentence = str(caught.value)
    assert sentence.endswith(".")
    assert not re.search(r"--[a-z]", sentence), sentence  # the words of the commands
    assert "\n" not in sentence
    return sentence


# by what the sentence has to name: arguments of stream(), those with a song as the second
WITHOUT_SONG = [
    ("bars=", {"bars": 0}),
    ("bars=", {"bars": "8"}),
    ("bars=", {"bars": 10**6}),
    ("bars=", {"bars": True}),
    ("form:", {"form": "A4B"}),
    ("form=", {"form": ""}),
    ("form=", {"form": 8}),
    ("form=", {"form": "A4B4", "bars": 9}),
    ("repeats:", {"repeats": "3=4"}),
    ("repeats=", {"repeats": ""}),
    ("repeats=", {"repeats": "9=1", "bars": 8}),
    ("tracks=", {"tracks": "melody,9:drums"}),
    ("tracks:", {"tracks": "flute"}),
    ("tracks:", {"tracks": "melody,3:+melody"}),
    ("tracks=", {"tracks": []}),
    ("tracks=", {"tracks": [1, 2]}),
    ("tempo=", {"tempo": 0}),
    ("tempo: ", {"tempo": 900}),
    ("tempo=", {"tempo": "fast"}),
    ("tempo=", {"tempo": float("nan")}),
    ("key:", {"key": "H minor"}),
    ("metre:", {"metre": "3/4"}),
    ("metre:", {"metre": "waltz"}),
    ("density=", {"density": -2}),
    ("density=", {"density": 2.5}),
    ("seed=", {"seed": -1}),
    ("seed=", {"seed": 2**70}),
    ("topk=", {"topk": -1}),
    ("temperature=", {"temperature": 0}),
    ("guidance= takes a number from 0 up", {"guidance": -1}),
    ("repeat_temperature= takes a number above 0", {"repeat_temperature": 0}),
    ("repeat_temperature= takes a number from 0.01 to 100", {"repeat_temperature": 1e-60}),
    ("family_temperatures:", {"family_temperatures": "pitches=1"}),
    ("max_tokens=", {"max_tokens": 2}),
    ("max_tokens=", {"max_tokens": 40, "bars": 64}),
    ("song=", {"fill": "1-2"}),
    ("song=", {"accompany": "melody"}),
    ("song=", {"prompt_bars": 4}),
]
WITH_SONG = [
    ("fill=", {"fill": "3-99"}),
    ("fill:", {"fill": "0-2"}),
    ("fill:", {"fill": "4-2"}),
    ("fill:", {"fill": "two"}),
    ("fill=", {"fill": ""}),
    ("fill=", {"fill": "1-8"}),
    ("fill=", {"fill": "2,2-3"}),
    ("vary=", {"vary": "9"}),
    ("fill= and vary=", {"fill": "1", "vary": "2"}),
    ("vary= and accompany=", {"vary": "1", "accompany": "melody"}),
    ("prompt_bars= continues a piece; fill=", {"fill": "1", "prompt_bars": 2}),
    ("bars=", {"fill": "1-2", "bars": 8}),
    ("form=", {"fill": "1-2", "form": "A4"}),
    ("key=", {"fill": "1-2", "key": "E minor"}),
    ("key=", {"prompt_bars": 2, "key": "E minor"}),
    ("piano", {"accompany": "piano"}),
    ("banjo", {"accompany": ["banjo"]}),
    ("accompany=", {"accompany": ""}),
    ("prompt_bars=", {"prompt_bars": 0}),
    ("bars", {"prompt_bars": 6, "bars": 6}),
    ("metre", {"fill": "2", "metre": "4/4"}),
    ("max_tokens=", {"prompt_bars": 8, "max_tokens": 60}),
]


@pytest.mark.parametrize(("named", "options"), WITHOUT_SONG, ids=lambda value: str(value)[:40])
def test_requests_without_a_song(model, named, options):
    assert named in tell(model.stream, **options)


@pytest.mark.parametrize(("named", "options"), WITH_SONG, ids=lambda value: str(value)[:40])
def test_requests_about_a_song(model, song, named, options):
    assert named in tell(model.stream, song(), **options)


def test_each_method_speaks_of_its_own_arguments(model, song):
    assert "bars=" in tell(model.fill, song(), bars="3-99")
    assert "bars=" in tell(model.vary, song(), bars="3-99")
    assert "given=" in tell(model.accompany, song(), given=[])
    assert "all tracks" in tell(model.accompany, _all_tracks(), given=list(model.tracks))


def test_an_argument_that_there_is_not_is_pythons_affair(model):
    with pytest.raises(TypeError, match="tepmo"):
        model.sample(tepmo=96)


def _notes(starts, pitch=60):
    return [Note(80, pitch, start, start + 200) for start in starts]


def _song(program, starts, metre=(4, 4)):
    midi = MidiFile(ticks_per_beat=480)
    midi.instruments = [Instrument(program, name="one")]
    midi.instruments[0].notes = _notes(starts)
    midi.time_signature_changes = [TimeSignature(*metre, 0)]
    return midi


def _all_tracks():
    midi = _song(80, range(0, 4800, 480))
    for track in SIX_TRACK.tracks[1:]:
        midi.instruments.append(Instrument(track.instrument % 128, track.name == "drums"))
        midi.instruments[-1].notes = _notes(range(0, 4800, 480))
    return midi


BAD_SONGS = {
    "no notes": lambda: MidiFile(ticks_per_beat=480),
    "4/4": lambda: _song(80, range(0, 9600, 480), (3, 4)),
    "no melody": lambda: _song(43, range(0, 960, 480)),
    "off the beat": lambda: _song(80, [n * 480 + (n * n * 37) % 467 for n in range(200)]),
}


@pytest.mark.parametrize("named", BAD_SONGS)
def test_songs_that_cannot_be_used(model, named):
    assert named in tell(model.accompany, BAD_SONGS[named]())


def test_files_that_cannot_be_used(model, tmp_path):
    assert "absent.mid" in tell(model.fill, tmp_path / "absent.mid", bars="1")
    (tmp_path / "text.mid").write_text("no midi")
    assert "not a MIDI file" in tell(model.fill, str(tmp_path / "text.mid"), bars="1")
    assert "song=" in tell(model.fill, [1, 2], bars="1")
    assert "song=" in tell(model.fill, None, bars="1")


def test_nothing_is_overwritten_silently(model, tmp_path):
    song = model.sample(bars=1, seed=1, max_tokens=300)
    path = song.save(tmp_path / "song.mid")
    first = path.read_bytes()
    assert "overwrite=True" in tell(song.save, path)
    assert song.save(path, overwrite=True).read_bytes() == first
    assert "song.mid" in tell(song.save, path / "within_a_file.mid")


@pytest.mark.parametrize(
    ("said", "options"),
    [
        ("fill in", {"fill": "2"}),
        ("vary", {"vary": "2"}),
        ("accompany", {"accompany": "melody"}),
        ("form=", {"form": "A4"}),
        ("repeats=", {"repeats": "3=1"}),
        ("bars=", {"bars": 8}),
        ("density=", {"density": 8}),
    ],
)
def test_what_a_model_has_not_learnt(plain_model, song, said, options):
    songs = (song(),) if {"fill", "vary", "accompany"} & options.keys() else ()
    assert said in tell(plain_model.stream, *songs, **options)


def test_folders_that_hold_no_model(model_folder, tmp_path):
    load = Museformer.from_pretrained
    assert "model.pt" in tell(load, tmp_path)
    assert "model.pt" in tell(load, tmp_path / "absent")
    folder = model_folder()
    (folder / "dict.txt").unlink()
    assert "dict.txt" in tell(load, folder)
    (folder / "dict.txt").write_text("b-1 0\n")
    assert "dictionary" in tell(load, folder)
    (folder / "model.pt").write_bytes(b"no weights")
    assert "checkpoint" in tell(load, folder)
    assert "device=" in tell(load, device="toaster")


class _Code:
    ran = False

    def __reduce__(self):
        return setattr, (_Code, "ran", True)


def test_nothing_in_a_checkpoint_is_run(model_folder):
    folder = model_folder()
    torch.save({"model": {}, "cfg": _Code()}, folder / "model.pt")
    assert "could run code" in tell(Museformer.from_pretrained, folder)
    assert not _Code.ran
