"""What is given comes back note for note, at its ticks; what is asked for holds in what is written."""

import copy
import io

import pytest
from miditoolkit import MidiFile

from data_prep.tokens.decode import midi_bytes
from museformer import RequestError

SMALL = {"max_tokens": 2500, "topk": 0}  # random weights write anything


def content(midi):
    return midi_bytes(midi)


@pytest.mark.parametrize("method", ["fill", "vary"])
@pytest.mark.parametrize(("bars", "written"), [("3-4", {3, 4}), ("1", {1}), ("2,6-8", {2, 6, 7, 8}), (8, {8})])
def test_other_bars_stay(model, song, notes_of, method, bars, written):
    before = song()
    result = getattr(model, method)(before, bars=bars, seed=5, **SMALL)
    others = set(range(1, 9)) - written
    assert notes_of(result.midi, others) == notes_of(before, others)
    assert notes_of(result.midi, written) != notes_of(before, written)
    assert set(result.written) == written
    assert [(c.tempo, c.time) for c in result.midi.tempo_changes] == [(c.tempo, c.time) for c in before.tempo_changes]
    lead = next(track for track in result.midi.instruments if track.name == "lead")
    assert len(lead.control_changes) == 2
    assert result.midi.key_signature_changes[0].key_name == "D"


@pytest.mark.parametrize("prompt_bars", [1, 4, 8, 30])
def test_a_continued_song_begins_as_it_did(model, song, notes_of, prompt_bars):
    before, kept = song(), min(prompt_bars, 8)
    result = model.continue_(before, prompt_bars=prompt_bars, bars=kept + 3, seed=1, **SMALL)
    assert notes_of(result.midi, range(1, kept + 1)) == notes_of(before, range(1, kept + 1))
    assert list(result.written) == [kept + 1, kept + 2, kept + 3]
    assert not notes_of(result.midi, range(kept + 4, 99))


def test_a_song_is_continued_until_the_model_ends_it(model, song, notes_of):
    result = model.continue_(song(), prompt_bars=2, seed=1, topk=0, max_tokens=800)
    assert notes_of(result.midi, {1, 2}) == notes_of(song(), {1, 2})
    assert list(result.written) == list(range(3, 3 + len(result.written)))


def test_pitches_written_into_a_song_are_drawn_colder_unless_told_otherwise(model, song):
    """As generate.sh does."""
    drawn = [
        content(model.vary(song(), bars="3-4", seed=3, **SMALL, **told).midi)
        for told in ({}, {"family_temperatures": "pitch=0.6"}, {"family_temperatures": ""})
    ]
    assert drawn[0] == drawn[1] != drawn[2]


@pytest.mark.parametrize(("given", "programs"), [("melody", {80}), ("bass, drums", {43, 128}), (["drums"], {128})])
def test_given_tracks_stay_and_others_are_written(model, song, notes_of, given, programs):
    before = song()
    result = model.accompany(before, given=given, seed=2, **SMALL)
    assert notes_of(result.midi, programs=programs) == notes_of(before, programs=programs)
    others = {0, 25, 48, 43, 80, 128} - programs
    assert notes_of(result.midi, programs=others) not in ([], notes_of(before, programs=others))


def test_a_song_for_other_instruments_keeps_them(model, wild_song, notes_of):
    result = model.fill(wild_song, bars="4-5", seed=1, **SMALL)
    others = {1, 2, 3, 6, 7, 8}
    assert notes_of(result.midi, others) == notes_of(wild_song, others)
    assert any("program 73" in sentence for sentence in result.sentences)
    accompanied = model.accompany(wild_song, seed=1, **SMALL)
    assert notes_of(accompanied.midi, programs={73}) == notes_of(wild_song, programs={73})


def test_the_callers_song_stays_as_it_is(model, song, tmp_path):
    before = song()
    as_it_was, bars = content(before), copy.deepcopy([vars(track) for track in before.instruments])
    model.fill(before, bars="2-3", seed=1, **SMALL)
    model.accompany(before, seed=1, **SMALL)
    model.continue_(before, prompt_bars=3, bars=5, tempo=60, seed=1, **SMALL)
    assert content(before) == as_it_was
    assert [list(map(str, track["notes"])) for track in bars] == [
        list(map(str, track.notes)) for track in before.instruments
    ]


def test_paths_and_midi_files_are_alike(model, song, tmp_path):
    path = tmp_path / "song.mid"
    path.write_bytes(midi_bytes(song()))
    read = MidiFile(file=io.BytesIO(path.read_bytes()))
    results = [model.vary(given, bars="2", seed=4, **SMALL) for given in (path, str(path), read)]
    assert len({content(result.midi) for result in results}) == 1
    assert path.read_bytes() == midi_bytes(song())


@pytest.mark.parametrize("bars", [1, 5])
def test_a_song_has_as_many_bars_as_asked(model, bars):
    result = model.sample(bars=bars, seed=1, **SMALL)
    assert list(result.written) == list(range(1, bars + 1))
    assert result.tokens.count("b-1") == bars


def test_tracks_tempo_and_form(model, notes_of):
    options = {"form": "A2B2", "tracks": ["melody", "drums", "3:+bass"], "tempo": 96, "density": 6}
    result = model.sample(seed=2, **options, **SMALL)
    assert len(result.written) == 4
    assert {note[0] for note in notes_of(result.midi, {1, 2})} <= {80, 128}
    assert {note[0] for note in notes_of(result.midi)} <= {80, 128, 43}
    assert [(change.tempo, change.time) for change in result.midi.tempo_changes] == [(96, 0)]


def test_the_key_moves_all_but_drums(model, notes_of):
    plain = model.sample(bars=3, seed=2, **SMALL)
    moved = model.sample(bars=3, seed=2, key="E minor", **SMALL)
    assert moved.tokens == plain.tokens
    for track, other in zip(plain.midi.instruments, moved.midi.instruments):
        steps = {(b.pitch - a.pitch) % 12 for a, b in zip(track.notes, other.notes)}
        assert steps == ({0} if track.is_drum else {7})  # from A up to E
    assert any("E minor" in sentence for sentence in moved.sentences)


def test_a_continued_song_keeps_its_tempo(model, song):
    """As ``generate.sh`` does, unless another is asked for; the stream says so too."""

    def tempos(**options):
        stream = model.stream(song(), prompt_bars=3, bars=5, seed=1, **options, **SMALL)
        heard = [bar.tempo for bar in stream]
        return heard, [(change.time, change.tempo) for change in stream.song().midi.tempo_changes]

    assert tempos() == ([97, 97], [(0, 97)])
    assert tempos(tempo=150) == ([150, 150], [(0, 97), (3 * 4 * 384, 150)])
    assert tempos(tempo=96) == ([96, 96], [(0, 97), (3 * 4 * 384, 96)])  # which has the token of 97


def test_the_tempo_asked_for_holds_in_written_bars_alone(model, song):
    result = model.fill(song(), bars="3-4", tempo=150, seed=1, **SMALL)
    bar = 4 * 384
    assert [(c.tempo, c.time) for c in result.midi.tempo_changes] == [
        (97, 0), (150, 2 * bar), (97, 4 * bar), (93.5, 7 * bar)
    ]  # fmt: skip


def test_general_songs_keep_their_metres(general_model, song, notes_of):
    before = song(6)
    before.time_signature_changes[0].numerator = 3
    for method, options in (("fill", {"bars": "2-3"}), ("vary", {"bars": "5"}), ("accompany", {"given": ["43"]})):
        result = getattr(general_model, method)(before, seed=1, **options, **SMALL)
        assert [(t.numerator, t.time) for t in result.midi.time_signature_changes] == [(3, 0)]


def test_a_general_song_in_the_metre_asked_for(general_model):
    result = general_model.sample(bars=3, metre="3/4", seed=1, **SMALL)
    assert {tokens[0] for tokens in result.written.values()} == {"s-8"}
    assert [(t.numerator, t.denominator) for t in result.midi.time_signature_changes] == [(3, 4)]


def test_there_is_room_for_all_that_is_asked_for(model, song, monkeypatch):
    """However long the song, and however many bars: what is written at most depends on both."""
    monkeypatch.setattr("museformer.options.LONGEST", 60)  # the song has some 350 tokens
    monkeypatch.setattr("museformer.options.LONGEST_BAR", 60)
    filled = model.fill(song(), bars="3", seed=1, topk=0)
    assert set(filled.written) == {3}
    assert len(model.continue_(song(), seed=1, topk=0).tokens) <= 60
    long = model.sample(bars=6, seed=1, topk=0)
    assert len(long.tokens) > 200  # not bars that end at once since there is no room
    with pytest.raises(RequestError, match="max_tokens="):
        model.fill(song(), bars="3", seed=1, max_tokens=60)
