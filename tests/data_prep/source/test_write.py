import copy
import io
import random
from collections import Counter

import pytest
from miditoolkit import (
    ControlChange,
    KeySignature,
    Lyric,
    Marker,
    MidiFile,
    Note,
    PitchBend,
    TempoChange,
    TimeSignature,
)

from data_prep.source.read import read_source
from data_prep.source.write import with_written_bars
from data_prep.tokens.decode import midi_bytes
from data_prep.tokens.song import SongError
from data_prep.tokens.vocabulary import GENERAL, SIX_TRACK, TokenError

BAR = 4 * 480
EVENTS = ("tempo_changes", "time_signature_changes", "key_signature_changes", "lyrics", "markers")


def read_back(midi):
    return MidiFile(file=io.BytesIO(midi_bytes(midi)))


def notes_by_track(midi, where=lambda note: True):
    """The notes of each track, by its program, drums and name."""
    found = {}
    for track in midi.instruments:
        notes = Counter((n.start, n.end, n.pitch, n.velocity) for n in track.notes if where(n))
        if notes:
            found[track.program, track.is_drum, track.name] = notes
    return found


def bar(tokens):
    return [*tokens.split(), "b-1"]


def outside(written):
    """Whether a note of a song in 4/4 at 480 ticks, on the grid, begins in none of the bars."""
    return lambda note: note.start // BAR + 1 not in written


def test_200_requests_leave_all_other_bars_as_they_were(songs):
    rng = random.Random(1)
    sources = [read_source(midi, SIX_TRACK) for midi in songs]
    bars_of_songs = [source.bars() for source in sources]
    for request in range(200):
        index = rng.randrange(len(songs))
        midi, source = songs[index], sources[index]
        bars = rng.choice(bars_of_songs)
        first = rng.randint(1, source.bar_count)
        written = {
            bar: rng.choice(list(bars.values()))
            for bar in range(first, min(first + rng.randint(1, 8), source.bar_count + rng.randint(1, 5)))
        }
        out = with_written_bars(source, written)
        for result in (out, read_back(out)) if request % 10 == 0 else (out,):  # reading takes longest
            assert notes_by_track(result, outside(written)) == notes_by_track(midi, outside(written))
            assert result.time_signature_changes == midi.time_signature_changes
        assert out.tempo_changes == midi.tempo_changes
        inside = [note for track in out.instruments for note in track.notes if not outside(written)(note)]
        tokens = [token for bar in written.values() for token in bar]
        assert len(inside) <= sum(token.startswith("p-") for token in tokens)
        assert bool(inside) == any(token.startswith("p-") for token in tokens)


@pytest.mark.parametrize("representation", [SIX_TRACK, GENERAL], ids=lambda r: r.name)
def test_golden_songs_of_any_metre_and_division(golden, representation):
    rng = random.Random(4)
    requests = 0
    for path in sorted((golden / "encode" / "midi").glob("*.mid")):
        try:
            source = read_source(path, representation)
        except SongError:
            continue
        bars = source.bars()
        for attempt in range(4):
            first = rng.randint(1, source.bar_count)
            written = {bar: bars[bar] for bar in range(first, min(first + 3, source.bar_count + 1))}
            out = with_written_bars(source, written)
            kept, replaced = Counter(), 0
            for index, track in enumerate(source.midi.instruments):
                for note in track.notes:
                    position = round(12 * note.start / source.midi.ticks_per_beat - source.offset)
                    inside = int((source.layout.starts <= max(0, position)).sum()) in written
                    replaced += inside
                    if not inside and note.end > note.start:
                        kept[index, note.start, note.end, note.pitch, note.velocity] += 1
            found = Counter(
                (index, note.start, note.end, note.pitch, note.velocity)
                for index, track in enumerate(out.instruments)
                for note in track.notes
            )
            assert not kept - found, path
            assert (found - kept).total() <= replaced
            if not attempt:
                assert sum(len(t.notes) for t in read_back(out).instruments) == found.total()
            requests += 1
    assert requests >= 100


def test_200_accompaniments_leave_the_melody_as_it_was(songs):
    rng = random.Random(2)
    sources = [read_source(midi, SIX_TRACK) for midi in songs]
    bars = [source.bars() for source in sources]
    for request in range(200):
        index = rng.randrange(len(songs))
        source, other = sources[index], rng.choice(bars)
        tracks = rng.choice((["melody"], ["melody", "bass"], ["bass"]))
        tracks = [track for track in tracks if track in source.tracks] or ["melody"]
        first = rng.randint(1, source.bar_count - 8)
        written = {bar: rng.choice(list(other.values())) for bar in range(first, first + 9)}
        out = with_written_bars(source, written, given_tracks=tracks)
        out = read_back(out) if request % 10 == 0 else out
        given = {key: notes for key, notes in notes_by_track(songs[index]).items() if key[2] in tracks}
        assert given and given == {key: notes for key, notes in notes_by_track(out).items() if key[2] in tracks}


def test_a_songs_own_bars_come_back_in_its_key_and_on_its_tracks(songs):
    for midi in songs[:4]:
        source = read_source(midi, SIX_TRACK)
        out = with_written_bars(source, source.bars())
        for track, expected in zip(midi.instruments, out.instruments, strict=True):
            assert (track.program, track.is_drum, track.name) == (expected.program, expected.is_drum, expected.name)
            # Velocities and durations are spelled in steps; doubled notes sound once.
            assert {(n.start, n.pitch) for n in track.notes} == {(n.start, n.pitch) for n in expected.notes}
        assert source.key_shift != 0 or midi is not songs[0]


def test_written_notes_are_at_the_ticks_of_the_file(build_midi):
    midi = build_midi([(0, 12 * n, 12, 62 + n % 2, 64) for n in range(16)], ticks_per_quarter=96)
    source = read_source(midi, SIX_TRACK)
    shift = source.key_shift
    out = with_written_bars(source, {2: bar(f"t-35 o-18 i-0 p-{60 + shift} d-6 v-20")})
    (track,) = out.instruments
    assert [n for n in track.notes if 384 <= n.start < 768] == [Note(82, 60, 384 + 144, 384 + 192)]
    assert out.ticks_per_beat == 96


def test_what_is_written_is_as_late_as_the_song(songs):
    midi = copy.deepcopy(songs[2])
    for track in midi.instruments:
        track.program = 1 if track.program == 0 else track.program  # so that the song is mapped
        for note in track.notes:
            note.start, note.end = note.start + 90, note.end + 90
    source = read_source(midi, SIX_TRACK)
    out = with_written_bars(source, source.bars())
    wanted = {(n.start, n.pitch) for track in midi.instruments for n in track.notes}
    written = {(n.start, n.pitch) for track in out.instruments for n in track.notes}
    assert source.offset > 2 and len(wanted) > 200
    assert {pitch for _, pitch in written} == {pitch for _, pitch in wanted}
    for start, pitch in written:
        assert any((start + late, pitch) in wanted for late in range(-3, 4))  # ticks


def test_the_songs_tempo_goes_on_after_written_bars_but_not_past_its_end(songs):
    midi = copy.deepcopy(songs[0])
    midi.tempo_changes = [TempoChange(96.0, 0)]
    source = read_source(midi, SIX_TRACK)
    end = source.bar_count
    written = {end: ["t-20", "b-1"], end + 1: ["t-20", "b-1"]}
    tempos = with_written_bars(source, written, tempo=52).tempo_changes
    assert [(t.tempo, t.time // BAR) for t in tempos] == [(96, 0), (52, end - 1)]


def test_a_role_without_a_track_gets_one(build_midi):
    source = read_source(build_midi([(0, 12 * n, 12, 60, 64) for n in range(8)]), SIX_TRACK)
    out = with_written_bars(source, {2: bar("t-35 o-0 i-128 p-164 d-3 v-20 i-48 p-60 d-12 v-20")})
    assert [(t.program, t.is_drum, t.name) for t in out.instruments[1:]] == [(48, False, "strings"), (0, True, "drums")]
    out = with_written_bars(read_source(source.midi, GENERAL), {2: bar("s-9 o-0 t-35 i-73 p-60 d-12 v-20")})
    assert [(t.program, t.is_drum, t.name) for t in out.instruments[1:]] == [(73, False, "73")]


def test_a_mapped_song_is_written_on_its_own_instruments(songs):
    midi = copy.deepcopy(songs[0])
    for track in midi.instruments:
        track.program = {80: 73, 43: 33, 0: 5, 48: 49, 25: 27}[track.program] if not track.is_drum else 0
    source = read_source(midi, SIX_TRACK)
    out = with_written_bars(source, {2: source.bars()[3]})
    assert source.roles.mapped
    assert [(t.program, t.name) for t in out.instruments] == [(t.program, t.name) for t in midi.instruments]
    assert notes_by_track(out, outside({2})) == notes_by_track(midi, outside({2}))


def test_notes_without_a_role_go_from_written_bars_alone(build_midi):
    tune = [(73, 12 * n, 12, 60 + n % 5, 64) for n in range(32)]
    effects = [(122, 48 * bar, 48, 60, 64) for bar in range(8)]
    source = read_source(build_midi([*tune, *effects]), SIX_TRACK)
    out = with_written_bars(source, {3: source.empty_bar(3)})
    assert [note.start // BAR + 1 for note in out.instruments[1].notes] == [1, 2, 4, 5, 6, 7, 8]


def test_a_note_that_sounds_into_a_written_bar_stays(build_midi):
    source = read_source(build_midi([(0, 36, 24, 60, 64), (0, 96, 12, 62, 64)]), SIX_TRACK)
    out = with_written_bars(source, {2: source.empty_bar(2)})
    assert [(n.start, n.end) for n in out.instruments[0].notes] == [(1440, 2400), (3840, 4320)]


def test_bars_past_the_end_lengthen_the_song(songs):
    source = read_source(songs[0], SIX_TRACK)
    end = source.bar_count
    bars = source.bars()
    out = with_written_bars(source, {end + 2: bars[3], end + 3: bars[4]})
    starts = {n.start // BAR + 1 for t in out.instruments for n in t.notes}
    assert max(starts) == end + 3 and end + 1 not in starts
    assert notes_by_track(out, lambda n: n.start < end * BAR) == notes_by_track(songs[0])


def events_of_every_kind(songs):
    midi = copy.deepcopy(songs[0])
    midi.key_signature_changes = [KeySignature("Eb", 0), KeySignature("F#m", 4 * BAR)]
    midi.lyrics = [Lyric("la", BAR * bar) for bar in range(8)]
    midi.markers = [Marker("verse", 0), Marker("chorus", 4 * BAR)]
    midi.tempo_changes = [TempoChange(96.0, 0), TempoChange(200.0, 3 * BAR + 480), TempoChange(70.0, 6 * BAR)]
    track = midi.instruments[0]
    track.control_changes = [ControlChange(64, 127, 0), ControlChange(64, 0, 5 * BAR), ControlChange(7, 90, 6 * BAR)]
    track.pitch_bends = [PitchBend(512, BAR), PitchBend(0, 6 * BAR)]
    return midi


def test_events_stay_and_come_back_from_a_file(songs):
    midi = events_of_every_kind(songs)
    source = read_source(midi, SIX_TRACK)
    out = with_written_bars(source, {7: source.bars()[2]}, given_tracks=["melody"])
    back = read_back(out)
    for name in EVENTS[1:]:
        assert getattr(back, name) == getattr(midi, name)
    assert [(round(t.tempo, 3), t.time) for t in back.tempo_changes] == [(t.tempo, t.time) for t in midi.tempo_changes]
    assert back.instruments[0].control_changes == midi.instruments[0].control_changes
    assert back.instruments[0].pitch_bends == midi.instruments[0].pitch_bends


def test_lyrics_go_with_the_melody_they_are_sung_to(songs):
    source = read_source(events_of_every_kind(songs), SIX_TRACK)
    for given, bars in (([], [1, 2, 5, 6, 7, 8]), (["drums"], [1, 2, 5, 6, 7, 8]), (["melody"], range(1, 9))):
        out = with_written_bars(source, {3: source.bars()[1], 4: source.bars()[2]}, given)
        assert [lyric.time // BAR + 1 for lyric in out.lyrics] == [*bars]


@pytest.mark.parametrize(
    ("written", "bends"),
    [
        ((1,), [(512, 1), (0, 6)]),
        ((2,), [(512, 2), (0, 6)]),
        ((3, 4), [(512, 1), (0, 2), (512, 4), (0, 6)]),
        ((3, 5), [(512, 1), (0, 2), (512, 3), (0, 4), (512, 5), (0, 6)]),
        ((6,), [(512, 1), (0, 5), (0, 6)]),
        ((7,), [(512, 1), (0, 6)]),
    ],
)
def test_what_is_written_sounds_in_tune(songs, written, bends):
    source = read_source(events_of_every_kind(songs), SIX_TRACK)
    name = source.midi.instruments[0].name
    note = bar(f"t-35 o-0 i-{source.tracks[name]} p-{188 if name == 'drums' else 60} d-12 v-16")
    out = with_written_bars(source, dict.fromkeys(written, note))
    assert [(bend.pitch, bend.time / BAR) for bend in out.instruments[0].pitch_bends] == bends


def test_cut_after_a_bar(songs):
    midi = events_of_every_kind(songs)
    source = read_source(midi, SIX_TRACK)
    bars = source.bars()
    out = with_written_bars(source, {5: bars[2], 6: bars[3]}, cut_after=4)
    assert {n.start // BAR + 1 for t in out.instruments for n in t.notes} == {1, 2, 3, 4, 5, 6}
    assert notes_by_track(out, lambda n: n.start < 4 * BAR) == notes_by_track(midi, lambda n: n.start < 4 * BAR)
    assert [len(getattr(out, name)) for name in EVENTS] == [2, 1, 1, 4, 1]
    track = out.instruments[0]
    assert track.control_changes == [ControlChange(64, 127, 0), ControlChange(64, 0, 4 * BAR)]
    assert track.pitch_bends == [PitchBend(512, BAR), PitchBend(0, 4 * BAR)]


def test_written_tempos_hold_in_their_bars_where_asked(songs):
    midi = events_of_every_kind(songs)
    source = read_source(midi, SIX_TRACK)
    # 96 and 97 bpm are both spelled t-31, 51 is spelled t-20
    written = {2: ["t-31", "b-1"], 4: ["t-31", "b-1"], 5: ["t-31", "b-1"]}
    tempos = with_written_bars(source, written, tempo=97).tempo_changes
    expected = [(96, 0), (97, BAR), (96, 2 * BAR), (97, 3 * BAR), (200, 5 * BAR), (70, 6 * BAR)]
    assert [(t.tempo, t.time) for t in tempos] == expected
    written = {4: ["t-20", "b-1"], 5: ["t-20", "b-1"]}
    tempos = with_written_bars(source, written, tempo=51).tempo_changes
    assert [(t.tempo, t.time) for t in tempos] == [(96, 0), (51, 3 * BAR), (200, 5 * BAR), (70, 6 * BAR)]
    assert with_written_bars(source, written).tempo_changes == midi.tempo_changes


def test_metres_of_general_songs(build_midi):
    notes = [(0, 12 * n, 12, 60, 64) for n in range(12)]
    source = read_source(build_midi(notes, metres=[(0, 3, 4)]), GENERAL)
    waltz = bar("s-8 o-24 t-35 i-0 p-60 d-12 v-16")
    common = bar("s-9 o-36 t-35 i-0 p-60 d-12 v-16")
    out = with_written_bars(source, {2: waltz, 5: waltz, 6: common, 7: common, 9: waltz})
    assert out.time_signature_changes == [TimeSignature(3, 4, 0), TimeSignature(4, 4, 7200), TimeSignature(3, 4, 12960)]
    starts = [note.start for note in out.instruments[0].notes]
    assert [start for start in starts if start >= 5760] == [6720, 8640, 10560, 13920]
    with pytest.raises(TokenError, match="bar 3 is written in 4/4, and the song has it in 3/4"):
        with_written_bars(source, {3: common})
    assert with_written_bars(source, {3: common}, cut_after=2).time_signature_changes[-1] == TimeSignature(4, 4, 2880)


def test_pitches_that_would_leave_the_range_move_by_octaves(build_midi):
    # In G major: the shift down to C is taken back, and 127 would become 134.
    scale = (67, 69, 71, 72, 74, 76, 78, 79)
    source = read_source(build_midi([(0, 12 * n, 12, pitch, 64) for n, pitch in enumerate(scale)]), SIX_TRACK)
    assert source.key_shift == -7
    out = with_written_bars(source, {2: bar("t-35 o-0 i-0 p-127 d-12 v-16")})
    assert out.instruments[0].notes[-1].pitch == 122


@pytest.mark.parametrize(
    ("written", "sentence"),
    [
        ({0: ["t-35", "b-1"]}, "bar 0 cannot be written: bars are numbered from 1"),
        ({2: ["t-35"]}, "bar 2: the piece stops after token 1 without b-1"),
        ({2: []}, "bar 2: the piece stops after token 0"),
        ({2: ["t-35", "b-1", "t-35", "b-1"]}, "bar 2: its tokens hold 2 bars"),
        ({2: ["t-35", "o-99", "b-1"]}, "bar 2: token 2: o-99 may not come here"),
        ({2: ["s-9", "b-1"]}, "bar 2: token 1: s-9 may not come here"),
    ],
)
def test_what_is_no_bar(songs, written, sentence):
    with pytest.raises(TokenError, match=sentence):
        with_written_bars(read_source(songs[0], SIX_TRACK), written)


def test_given_tracks_and_cuts_that_the_song_has_not(songs, build_midi):
    source = read_source(build_midi([(0, 12 * n, 12, 60, 64) for n in range(8)]), SIX_TRACK)
    with pytest.raises(SongError, match="no melody: the song has piano; ask for one of these"):
        with_written_bars(source, {}, given_tracks=["melody"])
    with pytest.raises(TokenError, match="cannot be cut after bar 0"):
        with_written_bars(source, {}, cut_after=0)
