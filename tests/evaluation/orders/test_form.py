"""Similarity of bars under letters, on forms whose bars are known."""

import pytest
from miditoolkit import Instrument, MidiFile, Note

from data_prep.form.sections import parse_form
from evaluation.orders.form import FORMS, agreement_of, of_labelled, of_written, report, similarities_of, write

A = [(0, 80, 60, 12), (24, 80, 64, 12)]
B = [(0, 80, 67, 12), (12, 80, 65, 12)]


def bars_of(form, tunes):
    """A bar for each of a form: the tune of its letter, moved up by its place in the section."""
    bars = []
    for section in parse_form(form):
        tune = tunes.get(section.letter, [(0, 0, 40, 12)])
        bars += [[(o, i, p + place, d) for o, i, p, d in tune] for place in range(section.bars)]
    return bars


def test_a_form_that_repeats_to_the_note_has_similarity_one(piece_of):
    piece = piece_of(bars_of("A4B4A4B4", {"A": A, "B": B}))
    same, pairs, other, others = similarities_of(piece.notes, parse_form("A4B4A4B4"))
    assert (same, pairs) == (8, 8)  # four places of two letters, each a pair of sections
    assert others == 64 and other == 0


def test_half_of_the_notes_in_common_are_a_third(piece_of):
    first, varied = [A] * 2, [[A[0], (24, 80, 72, 12)]] * 2
    sums = similarities_of(piece_of(first + varied).notes, parse_form("A2A2"))
    assert sums.tolist() == pytest.approx([2 / 3, 2, 0, 0])


def test_only_sections_with_a_melody_that_may_come_again_count(piece_of):
    notes = piece_of(bars_of("i2A2X2A2o2", {"A": A, "X": A})).notes
    assert similarities_of(notes, parse_form("i2A2X2A2o2")).tolist() == [2, 2, 0, 0]


def test_sections_within_each_other_and_other_tracks_do_not_count(piece_of):
    bars = bars_of("A2A2", {"A": A})
    loud = [[*bar, (0, 0, 40 + n, 12)] for n, bar in enumerate(bars)]
    assert similarities_of(piece_of(loud).notes, parse_form("A2A2")).tolist() == [2, 2, 0, 0]
    assert similarities_of(piece_of(loud).notes, parse_form("A4")).tolist() == [0, 0, 0, 0]


def test_agreement_of_a_form_with_itself_is_one():
    form = parse_form("i4A8B8A8o2")
    assert agreement_of(form, form).tolist() == [1, 1]
    assert agreement_of(form, parse_form("i4A8B8A10"))[0] == pytest.approx(6 / 7)


def test_pieces_that_keep_to_what_was_asked_pass(known_writer, piece_of):
    tunes = {
        "A": [(o, 80, 60 + o // 6, 6) for o in range(0, 42, 6)],
        "B": [(o, 80, 79 - o // 8, 6) for o in (0, 8, 16)],
    }
    pieces = [piece_of(bars_of(form, tunes)) for form in FORMS]
    figures = of_written(pieces, FORMS)
    sums = figures.similarities.sum(axis=0)
    assert sums[0] == sums[1] > 50
    assert sums[2] / sums[3] < 0.1
    writer = known_writer(pieces)
    assert write(writer, len(FORMS)) == (pieces, list(FORMS))
    table = report(known_writer(pieces), pieces[:2], len(FORMS), None, None)
    written = next(line for line in table.splitlines() if line.startswith("| written"))
    assert "| 100.0 [100.0, 100.0] |" in written


def _write_song(path, tune):
    midi = MidiFile(ticks_per_beat=480)
    melody, piano = Instrument(80, name="MELODY"), Instrument(0, name="PIANO")
    for bar, letter in enumerate(tune):
        pitch = {"A": 72, "B": 76}[letter]
        melody.notes += [
            Note(90, pitch + step, 1920 * bar + 480 * step, 1920 * bar + 480 * step + 240) for step in (0, 2)
        ]
        piano.notes.append(Note(90, 48, 1920 * bar, 1920 * bar + 960))
    midi.instruments = [melody, piano]
    midi.dump(str(path))


def test_labelled_songs_are_even_ones_once_each(tmp_path):
    (tmp_path / "one").mkdir()
    for name in ("002", "003", "002_band"):
        _write_song(tmp_path / "one" / f"{name}.mid", "AABBAA" if name == "002" else "AABBBB")
    labels = tmp_path / "labels.tsv"
    rows = [
        f"one/{name}.mid\t1\tA2B2A2\t{second}" for name, second in (("002", "A4A2"), ("003", "A2"), ("002_band", "A2"))
    ]
    labels.write_text("\n".join(["file\tfirst_bar\tlabels_1\tlabels_2", *rows]))
    figures, heard = of_labelled(labels, tmp_path)
    assert figures.similarities.tolist() == [[2, 2, 0, 8]]  # of 002 alone, under the first person's letters
    assert figures.agreements.tolist() == [[pytest.approx(2 / 3), pytest.approx(2 * 7 / (7 + 15))]]
    assert heard.shape == (1, 2)
