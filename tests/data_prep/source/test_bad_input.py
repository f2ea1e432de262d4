"""What is wrong with a song is told in a sentence, whichever song it is; see also ``tokens/test_song.py``."""

import struct

import numpy as np
import pytest
from miditoolkit import Instrument, MidiFile, Note

from data_prep.source.read import read_source
from data_prep.source.write import with_written_bars
from data_prep.tokens.decode import midi_bytes
from data_prep.tokens.grammar import require_grammar
from data_prep.tokens.song import SongError
from data_prep.tokens.vocabulary import GENERAL, SIX_TRACK


def chunk(name: bytes, body: bytes) -> bytes:
    return name + struct.pack(">I", len(body)) + body


def midi_file(track: bytes, type_: int = 1, division: int = 480) -> bytes:
    return chunk(b"MThd", struct.pack(">HHH", type_, 1, division)) + chunk(b"MTrk", track + b"\x00\xff\x2f\x00")


NOTE = b"\x00\x90\x3c\x40" + b"\x83\x60\x80\x3c\x00"
FILES = {
    "zero bytes": (b"", "not a MIDI file: it is empty"),
    "a page": (b"<html></html>" * 9, "not a MIDI file: it does not begin with MThd"),
    "damaged header": (b"MThd\xff\xff\xff\xf0" + bytes(60), "damaged MIDI: its header is cut short or gives a length"),
    "cut off": (midi_file(NOTE)[:-5], "damaged MIDI: the file ends too early; fetch or export it again"),
    "no notes": (midi_file(b""), "no notes: the file holds none"),
    "length zero": (midi_file(b"\x00\x90\x3c\x40\x00\x80\x3c\x00"), "no notes: all its 1 notes have length zero"),
    "SMPTE": (midi_file(NOTE, division=0xE728), "no beats: .* SMPTE time, which has no bars"),
    "metre 0/4": (midi_file(b"\x00\xff\x58\x04\x00\x02\x18\x08" + NOTE), "damaged MIDI"),
}


@pytest.mark.parametrize("representation", [SIX_TRACK, GENERAL], ids=lambda r: r.name)
@pytest.mark.parametrize(("content", "sentence"), FILES.values(), ids=FILES)
def test_files(tmp_path, content, sentence, representation):
    (tmp_path / "song.mid").write_bytes(content)
    with pytest.raises(SongError, match=f"^{sentence}"):
        read_source(tmp_path / "song.mid", representation)


def test_no_file(tmp_path):
    with pytest.raises(SongError, match="cannot be opened: No such file"):
        read_source(tmp_path / "song.mid", SIX_TRACK)


def tune(count=32, program=0, onset=0):
    return [(program, onset + 12 * n, 12, 60 + 2 * (n % 5), 64) for n in range(count)]


SONGS = {
    "waltz": ({"notes": tune(), "metres": [(0, 3, 4)]}, {}, "not in 4/4: bar 1 is in 3/4, and six_track models write"),
    "2/4 at bar 3": ({"notes": tune(), "metres": [(0, 4, 4), (96, 2, 4)]}, {}, "not in 4/4: bar 3 is in 2/4"),
    "drums only": ({"notes": tune(program=128)}, {"needs_melody": True}, "no melody: no track can be told"),
    "chords only": (
        {"notes": [(0, 48 * bar, 48, pitch, 64) for bar in range(32) for pitch in (48, 52, 55, 60)]},
        {"needs_melody": True},
        "no melody: no track can be told .* put it on a track of its own, or give other tracks",
    ),
    "short tune": (
        {"notes": tune(8, program=73)},
        {"needs_melody": True},
        "no melody: .* .it takes 24 notes, mostly one at a time.; put it",
    ),
    "sound effects": ({"notes": tune(program=122)}, {}, "no notes for the six tracks: nothing but percussion"),
    "no such track": ({"notes": tune()}, {"melody_track": 5}, "no track 5: the song has tracks 1; name one of these"),
    "melody of drums": ({"notes": tune(program=128)}, {"melody_track": 1}, "no melody: track 1 plays drums"),
}


@pytest.mark.parametrize(("song", "options", "sentence"), SONGS.values(), ids=SONGS)
def test_songs(build_midi, song, options, sentence):
    with pytest.raises(SongError, match=f"^{sentence}"):
        read_source(build_midi(**song), SIX_TRACK, **options)


@pytest.mark.parametrize("representation", [SIX_TRACK, GENERAL], ids=lambda r: r.name)
def test_a_performance_without_a_beat(representation):
    rng = np.random.default_rng(1)
    midi = MidiFile()
    track = Instrument(0)
    track.notes = [
        Note(64, int(p), int(t), int(t) + 300) for t, p in zip(rng.integers(0, 96000, 300), rng.integers(40, 80, 300))
    ]
    midi.instruments.append(track)
    with pytest.raises(SongError, match="^off the beat: .* align it with the bars in a sequencer first"):
        read_source(midi, representation)


def test_bars_past_the_end(build_midi):
    source = read_source(build_midi(tune(16)), SIX_TRACK)
    source.require_bars([4, 1])
    for bars, wrong in (([5, 3], 5), ([0], 0)):
        with pytest.raises(SongError, match=f"no bar {wrong}: the song has bars 1-4, up to its last note"):
            source.require_bars(bars)
    with pytest.raises(SongError, match="no bar 2: the song has bar 1 alone"):
        read_source(build_midi(tune(1)), SIX_TRACK).require_bars([2])


def test_a_song_of_one_note(build_midi):
    source = read_source(build_midi([(0, 0, 12, 61, 64)]), SIX_TRACK)
    assert source.bar_count == 1 and len(source.bars()[1]) == 7
    assert [note.start for note in with_written_bars(source, {1: source.empty_bar(1)}).instruments[0].notes] == []


def test_a_song_of_3000_bars(build_midi):
    source = read_source(build_midi(tune(4 * 3000, program=80)), SIX_TRACK)
    bars = source.bars()
    assert len(bars) == 3000
    require_grammar([token for bar in bars.values() for token in bar], SIX_TRACK)
    out = with_written_bars(source, {1500: source.empty_bar(1500)})
    assert len(out.instruments[0].notes) == 4 * 2999


def test_too_many_bars(build_midi):
    with pytest.raises(SongError, match="too long: it spans more than 20000 bars"):
        read_source(build_midi([*tune(4), (0, 48 * 20_000, 12, 60, 64)]), SIX_TRACK)


def test_forty_tracks(build_midi):
    notes = [note for program in range(40) for note in tune(32, program)]
    midi = build_midi(notes)
    source = read_source(midi, SIX_TRACK, melody_track=25)
    assert source.roles.mapped and "Taken as melody: track 25 (program 24); " in source.sentences[0]
    out = with_written_bars(source, {2: source.bars()[3]})
    assert len(out.instruments) == 40
    for ours, theirs in zip(out.instruments, midi.instruments):
        kept = [(n.start, n.pitch) for n in theirs.notes if n.start // 1920 != 1]
        assert [(n.start, n.pitch) for n in ours.notes if n.start // 1920 != 1] == kept


def test_the_melody_of_a_piano_alone_is_the_track_named(build_midi):
    source = read_source(build_midi([*tune(8), *[(0, 0, 48, 48, 64)]]), SIX_TRACK, melody_track=1)
    assert source.tracks == {"melody": 80}
    out = with_written_bars(source, {2: ["t-35", "o-0", "i-0", "p-60", "d-12", "v-16", "b-1"]}, ["melody"])
    assert [(t.program, t.name) for t in out.instruments] == [(0, ""), (0, "piano")]


def test_a_file_of_type_0_has_the_tracks_of_its_channels(tmp_path, build_midi):
    channels = b"".join(b"\x00" + bytes([0xC0 | channel, program]) for channel, program in ((0, 73), (1, 33), (2, 48)))
    notes = b"".join(
        b"\x00"
        + bytes([0x90 | channel, (72, 36, 60)[channel] + n % 4, 64])
        + b"\x81\x70"
        + bytes([0x80 | channel, (72, 36, 60)[channel] + n % 4, 0])
        for n in range(30)
        for channel in range(3)
    )
    (tmp_path / "song.mid").write_bytes(midi_file(channels + notes, type_=0))
    source = read_source(tmp_path / "song.mid", SIX_TRACK)
    assert len(source.midi.instruments) == 3 and {"bass", "strings"} <= source.tracks.keys()


def test_damage_and_losses_are_told(tmp_path):
    zero = b"\x00\x90\x40\x40\x00\x80\x40\x00"
    (tmp_path / "song.mid").write_bytes(midi_file(b"\x00\xff\x59\x02\x09\x00" + zero + NOTE))
    source = read_source(tmp_path / "song.mid", SIX_TRACK)
    assert source.song.damaged_events == 1 and source.song.dropped_notes == 1
    assert source.sentences[0] == "Left out 1 damaged meta event, such as a key that does not exist."
    assert source.sentences[1] == "Left out 1 note of length zero."
    (tmp_path / "out.mid").write_bytes(midi_bytes(with_written_bars(source, {})))
    back = MidiFile(str(tmp_path / "out.mid"))
    assert [(n.pitch, n.start, n.end) for n in back.instruments[0].notes] == [(60, 0, 480)]
