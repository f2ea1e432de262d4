import io
import json

import pytest
from miditoolkit import MidiFile, Note

from data_prep.tokens.decode import decode, midi_bytes
from data_prep.tokens.vocabulary import GENERAL, SIX_TRACK, TokenError, detect_representation

REPRESENTATION = {"remigen2": SIX_TRACK, "remigen": GENERAL}


def as_json(midi):
    return {
        "ticks_per_beat": midi.ticks_per_beat,
        "max_tick": midi.max_tick,
        "instruments": [
            {
                "program": track.program,
                "is_drum": track.is_drum,
                "name": track.name,
                "notes": [[note.start, note.end, note.pitch, note.velocity] for note in track.notes],
            }
            for track in midi.instruments
        ],
        "tempo_changes": [[change.tempo, change.time] for change in midi.tempo_changes],
        "time_signature_changes": [
            [change.numerator, change.denominator, change.time] for change in midi.time_signature_changes
        ],
    }


def notes_by_instrument(midi):
    notes = {}
    for track in midi.instruments:
        of_instrument = notes.setdefault((track.program, track.is_drum), [])
        of_instrument += [(note.start, note.end, note.pitch, note.velocity) for note in track.notes]
    return {instrument: sorted(of_instrument) for instrument, of_instrument in notes.items()}


def reread(midi):
    return MidiFile(file=io.BytesIO(midi_bytes(midi)))


def assert_decodes_as_the_original(folder):
    """Notes, tempos and metres of every text, in memory and, with notes, through a MIDI file."""
    index = json.loads((folder / "index.json").read_text())
    for entry in index:
        tokens = (folder / f"{entry['name']}.tokens.txt").read_text().split()
        decoded = decode(tokens, REPRESENTATION[entry["representation"]])
        if not entry["ok"]:
            assert decoded.skipped, entry["name"]
            continue
        assert as_json(decoded.midi) == json.loads((folder / f"{entry['name']}.json").read_text()), entry["name"]
        if decoded.midi.instruments:
            assert notes_by_instrument(reread(decoded.midi)) == notes_by_instrument(decoded.midi), entry["name"]
    return len(index)


def test_decodes_generated_songs_as_the_original(golden):
    assert assert_decodes_as_the_original(golden / "decode") > 100


def test_decodes_songs_of_others_as_the_original(shared):
    assert assert_decodes_as_the_original(shared / "golden" / "reference" / "decode") > 20


@pytest.mark.parametrize(
    ("text", "skipped"),
    [
        ("t-34 o-0 i-0 d-12 p-60 d-12 v-20 b-1", ["token 4: d-12 has no pitch before it"]),
        ("t-34 o-0 i-0 p-60 d-12 v-20 v-21 b-1", ["token 7: v-21 has no pitch and duration before it"]),
        ("t-34 o-0 <unk> p-60 d-12 v-20 b-1", ["token 3: '<unk>' is not a token of the form family-id"]),
        ("t-34 o-0 u-3 p-60 d-12 v-20 b-1", ["token 3: u-3 says nothing about music"]),
        ("t-34 o-0 i-129 p-60 d-12 v-20 b-1", ["token 3: i-129 says nothing about music"]),
        ("t-34 o-0 i-0 p-61 p-60 d-12 v-20 b-1", ["token 5: the note before it is not finished"]),
        ("t-34 o-0 i-0 p-60 d-12 v-20 p-61 d-3 b-1", ["token 9: the note before it is not finished"]),
        ("t-34 o-0 i-0 p-60 d-12 v-20 p-61 d-3", ["token 8: the line ends inside a note"]),
        ("s-9 t-34 o-0 i-0 p-60 d-12 v-20 b-1", ["token 2: no onset position comes before it"]),
    ],
)
def test_what_cannot_be_understood_is_skipped_and_told(text, skipped):
    decoded = decode(text.split())
    assert decoded.skipped == skipped
    assert [(note.start, note.end, note.pitch) for note in decoded.midi.instruments[0].notes] == [(0, 480, 60)]
    with pytest.raises(TokenError, match="token"):
        decode(text.split(), strict=True)


def test_strict_raises_also_on_what_could_be_understood():
    note = ["i-0", "p-60", "d-12", "v-20"]
    backwards = ["t-34", "o-24", *note, "o-0", *note, "b-1"]
    assert not decode(backwards).skipped
    with pytest.raises(TokenError, match="token 7: o-0 may not come here"):
        decode(backwards, strict=True)
    with pytest.raises(TokenError, match="without b-1"):
        decode(backwards[:6], strict=True)


def test_a_correct_piece_passes_strict():
    assert decode(["t-35", "o-0", "i-80", "p-60", "d-12", "v-20", "b-1"], strict=True).skipped == []


def test_the_representation_is_detected():
    assert detect_representation(["s-9", "b-1"]) is GENERAL
    assert detect_representation(["t-35", "b-1"]) is SIX_TRACK


@pytest.mark.parametrize(
    "spans",
    [
        pytest.param([(0, 480), (120, 240)], id="inside"),
        pytest.param([(0, 480), (0, 240)], id="same start"),
        pytest.param([(0, 240), (240, 480)], id="end to end"),
        pytest.param([(0, 480), (120, 240), (130, 200), (240, 300)], id="three deep"),
        pytest.param([(0, 240), (0, 240)], id="duplicates"),
    ],
)
def test_notes_of_one_pitch_keep_their_ends(spans):
    midi = decode(["t-35", "o-0", "i-5", "p-60", "d-12", "v-20", "b-1"]).midi
    midi.instruments[0].notes = [Note(64 + n, 60, start, end) for n, (start, end) in enumerate(spans)]
    assert notes_by_instrument(reread(midi)) == notes_by_instrument(midi)


def test_fifteen_instruments_and_drums_have_channels_of_their_own():
    tokens = ["s-9", "o-0", "t-35"]
    for instrument in range(15):
        tokens += [f"i-{instrument}", "p-60", "d-24", "v-20"]
    tokens += ["i-128", "p-164", "d-3", "v-20", "o-6", "t-35", "i-3", "p-60", "d-0", "v-20", "b-1"]
    midi = decode(tokens).midi
    content = midi_bytes(midi)
    channels = {status & 15 for status, pitch in zip(content, content[1:]) if status >> 4 == 9 and pitch < 128}
    assert channels == set(range(16))
    assert notes_by_instrument(reread(midi)) == notes_by_instrument(midi)


def test_tempos_and_metres_survive_the_file():
    tokens = []
    for tempo in range(49):
        tokens += ["s-8", "o-0", f"t-{tempo}", "i-0", "p-60", "d-1", "v-9", "b-1"]
    midi = decode(tokens).midi
    again = reread(midi)
    assert [change.time for change in again.tempo_changes] == [1440 * bar for bar in range(49)]
    for read, written in zip(again.tempo_changes, midi.tempo_changes):
        assert read.tempo == pytest.approx(written.tempo, rel=1e-5)
    assert [(c.numerator, c.denominator, c.time) for c in again.time_signature_changes] == [(3, 4, 0)]
