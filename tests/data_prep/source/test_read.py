import copy

import numpy as np
import pytest
from miditoolkit import Instrument, Note, TimeSignature

from data_prep.source.read import read_source
from data_prep.source.source_song import LEFT_OUT
from data_prep.tokens.decode import decode
from data_prep.tokens.encode import check_encodable, encode, normalising_shift
from data_prep.tokens.grammar import require_grammar
from data_prep.tokens.song import SongError, read_song
from data_prep.tokens.vocabulary import GENERAL, REPRESENTATIONS, SIX_TRACK
from examples.make_songs import compose_song

BAR = 4 * 480


def all_tokens(bars):
    return [token for number in sorted(bars) for token in bars[number]]


@pytest.mark.parametrize("representation", REPRESENTATIONS.values(), ids=lambda r: r.name)
def test_golden_songs_give_the_tokens_of_prompts(golden, representation):
    prompts = 0
    for path in sorted((golden / "encode" / "midi").glob("*.mid")):
        try:
            song = read_song(path)
            check_encodable(song, representation)
            shift, tokens = normalising_shift(song), encode(song, representation)
        except SongError:
            continue
        prompts += 1
        if path.stem in ("synth_tpb_25", "synth_tpb_96"):  # notes at random ticks
            with pytest.raises(SongError, match="off the beat"):
                read_source(path, representation)
            continue
        source = read_source(path, representation)
        bars = source.bars()
        assert list(bars) == list(range(1, source.bar_count + 1))
        require_grammar(all_tokens(bars), representation)
        empty = 0
        while len(bars[empty + 1]) == 2:
            empty += 1
        assert all_tokens(bars)[2 * empty :] == tokens and source.key_shift == shift, path
    assert prompts == {"six_track": 29, "general": 53}[representation.name]


def test_bars_are_those_of_a_sequencer(build_midi):
    # Two empty bars, one note, an empty bar, one note.
    source = read_source(build_midi([(0, 96, 12, 60, 64), (0, 96 + 96, 12, 60, 64)]), SIX_TRACK)
    bars = source.bars()
    assert [len(bars[n]) for n in range(1, 6)] == [2, 2, 7, 2, 7]
    assert bars[1] == ["t-35", "b-1"] and source.empty_bar(9) == ["t-35", "b-1"]


def test_tempo_and_metre_of_bars(build_midi):
    notes = [(0, onset, 6, 60, 64) for onset in range(0, 240, 12)]
    midi = build_midi(notes, tempos=[(0, 120.0), (48, 60.0)], metres=[(0, 4, 4), (48, 3, 4)])
    source = read_source(midi, GENERAL)
    assert [source.tempo_id(bar) for bar in (1, 2, 3, 99)] == [35, 23, 23, 23]
    assert source.empty_bar(1)[0] == "s-9" and source.empty_bar(2)[0] == source.empty_bar(99)[0] == "s-8"
    assert source.bars()[2][0] == "s-8"


def test_a_wild_song_is_mapped_and_told(songs):
    midi = copy.deepcopy(songs[0])
    programs = {"melody": 73, "bass": 33, "piano": 1, "strings": 49, "guitar": 27}
    for track in midi.instruments:
        if not track.is_drum:
            track.program = programs[track.name]
        track.name = "Flute" if track.name == "melody" else track.name
    effects = Instrument(122, name="Sea")
    effects.notes = [Note(64, 60, 0, BAR)]
    midi.instruments.append(effects)
    source = read_source(midi, SIX_TRACK)
    plain = read_source(songs[0], SIX_TRACK)
    assert source.roles.mapped and not plain.roles.mapped
    # Doubled notes apart, the same notes in the same six tracks.
    assert source.tracks == plain.tracks and source.key_shift == plain.key_shift
    assert {tuple(note) for note in source.song.notes.tolist()} == {tuple(note) for note in plain.song.notes.tolist()}
    number = next(n for n, track in enumerate(midi.instruments, start=1) if track.name == "Flute")
    assert source.sentences[0].startswith(f"Taken as melody: track {number} 'Flute' (program 73); ")
    assert source.sentences[-1].endswith(f"no place for it: track {len(midi.instruments)} 'Sea' (program 122).")
    assert (source.file_notes[-1] == [len(midi.instruments) - 1, 0, LEFT_OUT, 1]).all()


def test_bars_of_some_tracks_hold_their_notes_at_the_same_places(songs):
    source = read_source(songs[1], SIX_TRACK)
    melody, rest = source.bars_of_tracks(["melody"]), source.bars_of_tracks(set(source.tracks) - {"melody"})
    whole = source.bars()
    assert melody.keys() == rest.keys() == whole.keys()
    require_grammar(all_tokens(melody), SIX_TRACK)
    for bar, tokens in whole.items():
        assert notes_of(tokens) == sorted(notes_of(melody[bar]) + notes_of(rest[bar]))
    assert {note[0] for tokens in melody.values() for note in notes_of(tokens)} == {80}


def notes_of(tokens):
    tracks = decode(tokens, strict=True).midi.instruments
    return sorted(
        (track.program, track.is_drum, note.start, note.end, note.pitch, note.velocity)
        for track in tracks
        for note in track.notes
    )


def test_a_melody_is_looked_for_only_where_no_track_has_its_program(songs):
    midi = copy.deepcopy(songs[0])
    assert not read_source(midi, SIX_TRACK, needs_melody=True).roles.mapped
    number = next(n for n, track in enumerate(midi.instruments, start=1) if track.name == "melody")
    midi.instruments[number - 1].program = 0
    assert "melody" not in read_source(midi, SIX_TRACK).tracks
    source = read_source(midi, SIX_TRACK, needs_melody=True)
    assert source.roles.melody == (number,) and "melody" in source.tracks


def test_general_tracks_are_named_by_their_programs(build_midi):
    tune = [(73, 12 * n, 12, 72 + n % 5, 64) for n in range(32)]
    source = read_source(build_midi([*tune, (128, 0, 6, 36, 64), (0, 0, 12, 60, 64)]), GENERAL)
    assert source.tracks == {"0": 0, "73": 73, "drums": 128}
    assert source.instruments_of(["melody"]) == [73]
    assert {note[0] for tokens in source.bars_of_tracks(["73"]).values() for note in notes_of(tokens)} == {73}
    with pytest.raises(SongError, match="no 12: the song has 0, 73, drums"):
        source.bars_of_tracks(["12"])


def test_wild_songs_that_are_early_throughout_keep_their_bars(songs):
    midi = copy.deepcopy(songs[2])
    for track in midi.instruments:
        track.program = 1 if track.program == 0 else track.program
        for note in track.notes:
            note.start, note.end = note.start + BAR - 90, note.end + BAR - 90  # 2.25 positions early
    source, plain = read_source(midi, SIX_TRACK), read_source(songs[2], SIX_TRACK)
    assert source.roles.mapped and source.offset == pytest.approx(-2.25, abs=0.05)
    assert source.bar_count == plain.bar_count + 1
    assert np.array_equal(source.file_notes[:, 3], plain.file_notes[:, 3] + 1)
    assert np.array_equal(np.unique(source.song.notes[:, 0]), np.unique(plain.song.notes[:, 0]) + 48)
    assert any("0.19 beats earlier than the beat" in sentence for sentence in source.sentences)


def test_bars_as_long_as_4_4_are_taken(songs):
    midi = copy.deepcopy(songs[0])
    midi.time_signature_changes = [TimeSignature(2, 2, 0)]
    source = read_source(midi, SIX_TRACK)
    assert source.bars() == read_source(songs[0], SIX_TRACK).bars()
    assert "Its bars in 2/2 are taken as 4/4, since they are as long." in source.sentences


def test_a_midi_object_is_not_changed(songs):
    before = copy.deepcopy(songs[3])
    source = read_source(songs[3], "six_track")
    source.midi.instruments[0].notes.clear()
    assert songs[3] == before


def test_repeated_bars_of_a_melody_have_the_same_notes(songs):
    bars = read_source(songs[0], SIX_TRACK).bars_of_tracks(["melody"])
    same_as = compose_song(1, seed=1).same_as
    repeats = [(bar, first) for bar, first in enumerate(same_as, start=1) if first not in (None, bar)]
    assert repeats and len(bars) == len(same_as)
    for bar, first in repeats:
        assert [note[2:5] for note in notes_of(bars[bar])] == [note[2:5] for note in notes_of(bars[first])]
