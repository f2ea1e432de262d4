"""Each rule has a song that breaks it and nothing else; what is accepted is six tracks that encode."""

import numpy as np
import pytest
from miditoolkit import Instrument, Note, TempoChange, TimeSignature

from data_prep.six_track.prepare_song import Prepared, PrepareOptions, Rejected, prepare_song
from data_prep.six_track.rules import RULES
from data_prep.tokens.encode import check_encodable, encode
from data_prep.tokens.grammar import check_piece
from data_prep.tokens.song import read_song
from data_prep.tokens.vocabulary import SIX_TRACK
from examples.make_songs import compose_song, to_midi

POSITION = 40  # ticks
BAR = 48 * POSITION


def wild(number=2):
    """A song as strangers write it: other programs, no useful names, tracks split in two."""
    midi = to_midi(compose_song(number, 1))
    programs = {"melody": 65, "bass": 33, "guitar": 27, "piano": 4, "strings": 50, "drums": 0}
    for track in midi.instruments:
        track.program, track.name = programs[track.name], ""
    return midi


def prepared(midi, tmp_path, options=None):
    path = tmp_path / "wild.mid"
    midi.dump(str(path))
    return prepare_song(path, options or PrepareOptions())


def notes_by_program(path):
    song = read_song(path)
    return {int(i): sorted(map(tuple, song.notes[song.notes[:, 4] == i][:, :4])) for i in np.unique(song.notes[:, 4])}


@pytest.mark.parametrize("number", range(1, 13))
def test_a_wild_song_comes_back_as_the_six_tracks_it_was(number, tmp_path):
    outcome = prepared(wild(number), tmp_path)
    assert isinstance(outcome, Prepared), outcome
    (tmp_path / "six.mid").write_bytes(outcome.midi)
    to_midi(compose_song(number, 1)).dump(str(tmp_path / "original.mid"))
    six, original = notes_by_program(tmp_path / "six.mid"), notes_by_program(tmp_path / "original.mid")
    assert set(six) == set(original) <= set(SIX_TRACK.instruments)
    for program in original:
        assert set(six[program]) <= set(original[program])  # but for doubled notes
        assert len(six[program]) > 0.97 * len(original[program])
    song = read_song(tmp_path / "six.mid")
    check_encodable(song, SIX_TRACK)
    check_piece(encode(song, SIX_TRACK), SIX_TRACK)
    assert (outcome.notes, outcome.offset) == (len(song.notes), 0)


def test_an_offset_is_removed(tmp_path):
    plain = prepared(wild(), tmp_path)
    late = wild()
    for track in late.instruments:
        for note in track.notes:
            note.start += 37
            note.end += 37
    outcome = prepared(late, tmp_path)
    assert outcome.offset == pytest.approx(37 / POSITION, abs=0.02)
    assert outcome.midi == plain.midi
    assert prepared(late, tmp_path, PrepareOptions(left_out=frozenset({"grid"}))).offset == 0


def test_bars_before_the_first_note_go_with_their_metre_and_tempo(tmp_path):
    plain = prepared(wild(), tmp_path)
    late = wild()
    for track in late.instruments:
        for note in track.notes:
            note.start, note.end = note.start + 3 * 480, note.end + 3 * 480
    late.time_signature_changes = [TimeSignature(3, 4, 0), TimeSignature(4, 4, 3 * 480)]
    for change in late.tempo_changes:
        change.time += 3 * 480
    late.tempo_changes.insert(0, TempoChange(90, 0))
    assert prepared(late, tmp_path).midi == plain.midi


def break_metre(midi):
    midi.time_signature_changes = [TimeSignature(4, 4, 0), TimeSignature(3, 4, 4 * BAR)]


def break_melody(midi):
    midi.instruments = [track for track in midi.instruments if track.program not in (65, 4, 27, 50)]


def break_instruments(midi):
    midi.instruments = [track for track in midi.instruments if track.program == 65]


def break_grid(midi):
    for track in midi.instruments:
        for note in track.notes:
            note.start, note.end = round(note.start * 1.017), round(note.end * 1.017) + 1


def break_tempo(midi):
    midi.tempo_changes[0].tempo = 201


def break_pitch(midi):
    midi.instruments[0].notes[5].pitch = 20


def break_length(midi):
    midi.instruments[0].notes[-1].end = midi.instruments[0].notes[-1].start + 17 * 480


def break_empty_bars(midi):
    for track in midi.instruments:
        for note in track.notes:
            if note.start >= 8 * BAR:
                note.start, note.end = note.start + 4 * BAR, note.end + 4 * BAR


def break_variety(midi):
    for track in midi.instruments:
        for note in track.notes if not track.is_drum else ():
            note.end = note.start + 240


@pytest.mark.parametrize("rule", RULES)
def test_each_rule(rule, tmp_path):
    midi = wild()
    globals()[f"break_{rule.replace('-', '_')}"](midi)
    outcome = prepared(midi, tmp_path)
    assert isinstance(outcome, Rejected) and outcome.rule == rule, outcome
    fault, colon, detail = outcome.reason.partition(": ")
    assert fault and colon and detail
    without = prepared(midi, tmp_path, PrepareOptions(left_out=frozenset({rule})))
    assert isinstance(without, Prepared), without


@pytest.mark.parametrize(("tempo", "kept"), [(24, True), (200, True), (23, False), (201, False)])
def test_tempo_limits(tempo, kept, tmp_path):
    midi = wild()
    midi.tempo_changes = [TempoChange(tempo, 0)]
    assert isinstance(prepared(midi, tmp_path), Prepared) == kept


def test_long_drum_notes_and_three_empty_bars_are_fine(tmp_path):
    midi = wild()
    drums = next(track for track in midi.instruments if track.is_drum)
    drums.notes[0].end += 20 * 480
    drums.notes.append(Note(90, 20, 0, 40))
    last = max(note.start for track in midi.instruments for note in track.notes) // BAR
    drums.notes.append(Note(90, 38, (last + 4) * BAR, (last + 4) * BAR + 40))
    assert isinstance(prepared(midi, tmp_path), Prepared)


def test_general_keeps_programs_and_metres(tmp_path):
    midi = wild()
    break_metre(midi)
    midi.instruments[0].program = 119
    outcome = prepared(midi, tmp_path, PrepareOptions(general=True))
    (tmp_path / "general.mid").write_bytes(outcome.midi)
    song = read_song(tmp_path / "general.mid")
    assert {119, 33, 27, 4, 50, 128} >= set(song.notes[:, 4].tolist()) > {119}
    assert song.metres == [(0, (4, 4)), (4 * 48, (3, 4))]


def test_nothing_but_sound_effects(tmp_path):
    midi = wild()
    midi.instruments = [track for track in midi.instruments if track.program == 50]
    midi.instruments[0].program = 126
    outcome = prepared(midi, tmp_path)
    assert outcome.rule == "readable" and outcome.reason.startswith("no notes for the six tracks")


def test_what_is_no_midi_is_told(tmp_path):
    (tmp_path / "a.mid").write_bytes(b"RIFF")
    assert prepare_song(tmp_path / "a.mid", PrepareOptions()).rule == "readable"
    midi = wild()
    midi.instruments = [Instrument(0)]
    midi.instruments[0].notes = [Note(80, 60, 0, 10), Note(80, 60, 40_000 * BAR, 40_000 * BAR + 10)]
    outcome = prepared(midi, tmp_path, PrepareOptions(left_out=frozenset(RULES)))
    assert outcome.rule == "readable" and outcome.reason.startswith("too long")
