import struct

import pytest

from data_prep.tokens.song import SongError, read_song, song_of


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack(">I", len(body)) + body


def midi_file(*tracks: bytes, division: int = 480) -> bytes:
    header = chunk(b"MThd", struct.pack(">HHH", 1, len(tracks), division))
    return header + b"".join(chunk(b"MTrk", track) for track in tracks)


END = b"\x00\xff\x2f\x00"
ONE_NOTE = b"\x00\x90\x3c\x40" + b"\x83\x60\x80\x3c\x00" + END  # middle C, 480 ticks
ZERO_NOTE = b"\x00\x90\x3c\x40" + b"\x00\x80\x3c\x00"


def read(tmp_path, content: bytes):
    path = tmp_path / "song.mid"
    path.write_bytes(content)
    return read_song(path)


def test_one_note(tmp_path):
    song = read(tmp_path, midi_file(ONE_NOTE))
    assert song.notes.tolist() == [[0, 12, 60, 64, 0]]
    assert song.tempos == [] and song.metres == [] and song.dropped_notes == 0


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        pytest.param(b"", "not a MIDI file: it is empty", id="zero bytes"),
        pytest.param(b"<html>404</html>", "does not begin with MThd", id="html"),
        pytest.param(b"MThd", "header is cut short", id="four bytes"),
        pytest.param(b"MThd\xff\xff\xff\xf0" + bytes(60), "length past the end", id="huge header"),
        pytest.param(midi_file(ONE_NOTE)[:-6], "ends too early", id="truncated"),
        pytest.param(midi_file(), "damaged MIDI", id="no tracks"),
        pytest.param(midi_file(b"\x00\xf4" + END), "undefined status byte", id="undefined status"),
        pytest.param(midi_file(b"\x00\x90\x3c\xff" + END), "data byte", id="data byte over 127"),
        pytest.param(midi_file(b"\x00\xff\x58\x02\x04\x02" + ONE_NOTE), "damaged MIDI", id="short metre"),
        pytest.param(midi_file(END), "no notes: the file holds none", id="no notes"),
        pytest.param(midi_file(ZERO_NOTE + END), "all its 1 notes have length zero", id="zero length only"),
        pytest.param(midi_file(ONE_NOTE, division=0), "no beats", id="division 0"),
        pytest.param(midi_file(ONE_NOTE, division=0xE728), "SMPTE", id="smpte"),
        pytest.param(midi_file(b"\xff\xff\xff\xff\x7f" + ONE_NOTE[1:]), "damaged times", id="five-byte delta"),
        pytest.param(midi_file(b"\xff" * 30 + b"\x7f" + ONE_NOTE[1:]), "damaged times", id="31-byte delta"),
    ],
)
def test_malformed_bytes(tmp_path, content, sentence):
    with pytest.raises(SongError, match=sentence):
        read(tmp_path, content)


def test_absent_file_and_folder(tmp_path):
    with pytest.raises(SongError, match="cannot be opened: No such file"):
        read_song(tmp_path / "absent.mid")
    with pytest.raises(SongError, match="cannot be opened: Is a directory"):
        read_song(tmp_path)


def test_zero_length_notes_are_dropped_and_counted(tmp_path):
    song = read(tmp_path, midi_file(ZERO_NOTE + ONE_NOTE))
    assert len(song.notes) == 1 and song.dropped_notes == 1


def test_damaged_meta_events_are_dropped_and_counted(tmp_path):
    key_with_nine_sharps, tempo_0 = b"\x00\xff\x59\x02\x09\x00", b"\x00\xff\x51\x03\x00\x00\x00"
    song = read(tmp_path, midi_file(key_with_nine_sharps + tempo_0 + ONE_NOTE))
    assert song.notes.tolist() == [[0, 12, 60, 64, 0]]
    assert song.damaged_events == 2 and song.tempos == []


def test_positions_round_half_to_even(build_midi):
    # 24 ticks a quarter: two ticks a position, odd ticks are ties.
    midi = build_midi([(0, onset, 1, 60, 64) for onset in range(4)], ticks_per_quarter=24)
    for note, start in zip(midi.instruments[0].notes, (1, 3, 5, 7)):
        note.start, note.end = start, start + 2
    assert song_of(midi).notes[:, 0].tolist() == [0, 2, 2, 4]


def test_changes_round_as_notes_do(build_midi):
    midi = build_midi(
        [(0, 0, 12, 60, 64), (0, 24, 12, 60, 64)],
        tempos=[(0, 120.0), (0, 100.0), (0, 90.0)],
        metres=[(0, 4, 4), (0, 3, 4), (0, 2, 4)],
        ticks_per_quarter=24,
    )
    for changes in (midi.tempo_changes, midi.time_signature_changes):
        changes[1].time, changes[2].time = 7, 17  # 3.5 and 8.5 positions
    song = song_of(midi)
    assert song.tempos == [(0, 120.0), (4, 100.0), (8, 90.0)]
    assert song.metres == [(0, (4, 4)), (4, (3, 4)), (8, (2, 4))]


def test_changes_at_the_last_onset_are_dropped_and_the_last_at_one_position_wins(build_midi):
    midi = build_midi(
        [(0, 0, 12, 60, 64), (0, 24, 12, 60, 64)],
        tempos=[(0, 100.0), (12, 90.0), (12, 80.0), (24, 200.0)],
        metres=[(0, 3, 4), (23, 2, 4), (24, 4, 4)],
    )
    song = song_of(midi)
    assert song.tempos == [(0, 100.0), (12, 80.0)]
    assert song.metres == [(0, (3, 4)), (23, (2, 4))]
