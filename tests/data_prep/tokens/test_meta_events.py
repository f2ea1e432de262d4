import io
import struct

import pytest
from miditoolkit import MidiFile

from data_prep.tokens.meta_events import without_damaged_meta_events
from examples.make_songs import compose_song, to_midi

NOTE = b"\x00\x90\x3c\x40" + b"\x83\x60\x80\x3c\x00"
END = b"\x00\xff\x2f\x00"


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack(">I", len(body)) + body


def midi_file(*tracks: bytes) -> bytes:
    header = chunk(b"MThd", struct.pack(">HHH", 1, len(tracks), 480))
    return header + b"".join(chunk(b"MTrk", track) for track in tracks)


def meta(type_: int, data: bytes) -> bytes:
    return bytes([0xFF, type_, len(data)]) + data


def is_read(content: bytes) -> bool:
    try:
        MidiFile(file=io.BytesIO(content))
    except Exception:
        return False
    return True


CASES = [
    (type_, data)
    for type_, contents in {
        0x00: [b"", b"\x01", b"\x00\x01"],
        0x20: [b"", b"\x09"],
        0x21: [b"", b"\x01"],
        0x51: [b"", b"\x07\xa1", b"\x00\x00\x00", b"\x07\xa1\x20", b"\x07\xa1\x20\x00"],
        0x54: [b"", bytes(4), bytes(5), b"\x00\x3c\x00\x00\x00", b"\x00\x00\x3c\x00\x00", b"\x80" + bytes(4)]
        + [b"\x7f\x3b\x3b\xff\x63", b"\x00\x00\x00\x00\x64"],
        0x59: [b"", b"\x00", b"\x07\x00", b"\xf9\x01", b"\x08\x00", b"\xf8\x00", b"\x00\x02", b"\x80\x00"],
        0x01: [b"", b"\xff\xfe"],
        0x7E: [b"", b"\x01"],
        0x7F: [b"\x00"],
    }.items()
    for data in contents
]


@pytest.mark.parametrize(("type_", "data"), CASES, ids=lambda value: value.hex() if isinstance(value, bytes) else None)
def test_exactly_the_events_that_the_parser_refuses_are_left_out(type_, data):
    content = midi_file(b"\x00" + meta(type_, data) + NOTE + END)
    cleaned, damaged = without_damaged_meta_events(content)
    assert damaged == (0 if is_read(content) else 1)
    assert is_read(cleaned)
    assert (cleaned == content) == (damaged == 0)


def test_waits_are_kept():
    # The wait before the damaged event (200 ticks, two bytes) counts for the note after it.
    content = midi_file(b"\x81\x48" + meta(0x59, b"\x20\x00") + b"\x0a\x90\x3c\x40" + b"\x10\x3c\x00" + END)
    cleaned, damaged = without_damaged_meta_events(content)
    (track,) = MidiFile(file=io.BytesIO(cleaned)).instruments
    assert damaged == 1
    assert [(note.start, note.end, note.pitch) for note in track.notes] == [(210, 226, 60)]


def test_running_status_goes_on_over_a_damaged_event():
    content = midi_file(b"\x00\x90\x3c\x40" + b"\x08" + meta(0x51, b"\x00") + b"\x08\x3c\x00" + END)
    (track,) = MidiFile(file=io.BytesIO(without_damaged_meta_events(content)[0])).instruments
    assert [(note.start, note.end) for note in track.notes] == [(0, 16)]


def test_all_else_of_a_song_stays(tmp_path):
    midi = to_midi(compose_song(3, seed=1))
    midi.dump(str(tmp_path / "song.mid"))
    content = (tmp_path / "song.mid").read_bytes()
    assert without_damaged_meta_events(content) == (content, 0)
    first = content.index(b"MTrk") + 8
    length = struct.unpack(">I", content[first - 4 : first])[0]
    broken = content[: first - 4] + struct.pack(">I", length + 6) + b"\x00" + meta(0x59, b"\x7e\x00") + content[first:]
    assert not is_read(broken)
    assert without_damaged_meta_events(broken) == (content, 1)


@pytest.mark.parametrize(
    "track",
    [
        pytest.param(b"\x00" + meta(0x59, b"\x09\x00") + b"\x00\xf4" + END, id="undefined status"),
        pytest.param(b"\x00" + meta(0x59, b"\x09\x00") + b"\x00\x90\x3c", id="cut off"),
        pytest.param(b"\x00" + meta(0x59, b"\x09\x00") + b"\x00\x3c\x40", id="no status"),
        pytest.param(b"\xff" * 40, id="endless number"),
    ],
)
def test_bytes_that_cannot_be_followed_stay(track):
    content = midi_file(track)
    assert without_damaged_meta_events(content) == (content, 0)


@pytest.mark.parametrize("content", [b"", b"MThd", b"MThd\x00\x00\x00\x02\x00\x01", bytes(64)])
def test_what_is_no_midi_stays(content):
    assert without_damaged_meta_events(content) == (content, 0)


def test_a_damaged_metre_is_not_left_out():
    content = midi_file(b"\x00" + meta(0x58, b"\x00\x02\x18\x08") + NOTE + END)
    assert without_damaged_meta_events(content) == (content, 0)
