import numpy as np
import pytest
from miditoolkit import Instrument, MidiFile, Note

from data_prep.command import CommandError
from data_prep.form.sections import parse_form
from evaluation.form_agreement import MEASURES, agreement
from evaluation.form_labels import main, notes_of_song, read_labels

HEADER = "file\tfirst_bar\tmelody_match\tlabels_1\tlabels_2\n"
BAR = 4 * 480


def between(form, other):
    return dict(zip(MEASURES, agreement(parse_form(form), parse_form(other)).tolist()))


def test_boundaries_and_pairs():
    same = between("A4B4", "b4X4")
    assert set(same.values()) == {1.0}
    found = between("A4A4", "A2B2A4")
    assert [found[name] for name in MEASURES[:3]] == [1, 0.5, pytest.approx(2 / 3)]
    # 28 pairs of 8 bars are alike in the first; 15 of six As and one of Bs in the second, all alike in the first too
    assert [found[name] for name in MEASURES[3:]] == [16 / 28, 1, pytest.approx(32 / 44)]
    assert between("A4a4", "A4A4")["pair precision"] == 1 > between("A4A4", "A4a4")["pair precision"]


def test_only_bars_that_both_have_are_compared():
    assert set(between("A4B4", "A4B6C2").values()) == {1.0}
    assert between("A4B4", "A5")["boundary precision"] == 0


def test_nothing_to_find_is_no_figure():
    assert np.isnan(agreement(parse_form("A1"), parse_form("A1"))).all()
    found = between("A4", "A2B2")
    assert (found["boundary precision"], found["boundary recall"], found["boundary F1"]) == (0, 0, 0)


def write_song(path, bars, lead_in=0, name="MELODY"):
    """A melody whose bars play the pitches ``bars``, after ``lead_in`` empty bars."""
    midi = MidiFile(ticks_per_beat=480)
    track = Instrument(0, name=name)
    for bar, pitch in enumerate(bars, start=lead_in):
        track.notes += [
            Note(80, pitch + step, bar * BAR + step * 480, bar * BAR + step * 480 + 400) for step in range(4)
        ]
    midi.instruments.append(track)
    path.parent.mkdir(parents=True, exist_ok=True)
    midi.dump(str(path))


def test_bars_are_counted_from_where_the_labels_begin(tmp_path):
    write_song(tmp_path / "a.mid", [60, 62, 64, 65], lead_in=3)
    for first_bar, left in ((0, 7), (2, 5), (3, 4), (5, 2)):
        notes, bars = notes_of_song(tmp_path / "a.mid", first_bar)
        assert bars == left
        assert sorted({bar for bar, *_ in notes.tolist()}) == list(range(max(0, 3 - first_bar), left))
        assert set(notes[:, 1].tolist()) == {80}
    assert 80 not in notes_of_song(tmp_path / "a.mid", 3, named=False)[0][:, 1]


def test_the_command_measures_songs_with_even_numbers(tmp_path, capsys):
    chance = np.random.default_rng(1)
    verse, chorus = chance.integers(60, 72, (2, 8))
    rows = []
    for number in (2, 3, 4):
        write_song(tmp_path / "songs" / f"{number:03}_x.mid", [*verse, *verse, *chorus, *chorus, *verse], lead_in=1)
        rows.append(f"songs/{number:03}_x.mid\t2\t1.0\tA8A8B8B8A8\tA8A8B16A8\n")
    (tmp_path / "labels.tsv").write_text(HEADER + "".join(rows))
    assert main([str(tmp_path / "labels.tsv"), str(tmp_path)]) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[0] == "songs: 2 songs"
    people = next(line for line in lines if line.strip().startswith("first : second"))
    assert people.split()[3::3][:3] == ["0.750", "1.000", "0.857"]
    assert main([str(tmp_path / "labels.tsv"), str(tmp_path), "--songs", "all", "--unnamed"]) == 0
    assert capsys.readouterr().out.startswith("songs: 3 songs")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("file\tlabels_1\n", "no column first_bar"),
        (HEADER + "a.mid\t0\t1.0\tA8\tA8\n", "line 2: first_bar counts from 1"),
        (HEADER + "a.mid\tone\t1.0\tA8\tA8\n", "line 2: "),
        (HEADER + "a.mid\t1\t1.0\tA8\tA8\nb.mid\t1\t1.0\tA8\tA8 B8\n", "line 3: this is no form: at place 3"),
        (HEADER + "a.mid\t1\n", "line 2: the form is empty"),
    ],
)
def test_labels_that_cannot_be_read_are_told_in_a_sentence(text, said, tmp_path):
    (tmp_path / "labels.tsv").write_text(text)
    with pytest.raises(CommandError, match=said):
        read_labels(tmp_path / "labels.tsv")


@pytest.mark.parametrize("fault", ["no labels", "no songs", "no file", "no MIDI", "no melody"])
def test_faults_end_the_command_with_a_sentence(fault, tmp_path, caplog):
    labels, song = tmp_path / "labels.tsv", tmp_path / "2.mid"
    if fault != "no labels":
        labels.write_text(HEADER + ("" if fault == "no songs" else "2.mid\t1\t1.0\tA8\tA8\n"))
    if fault == "no MIDI":
        song.write_bytes(b"no")
    if fault == "no melody":
        write_song(song, [60], name="LEAD")
    assert main([str(labels), str(tmp_path)]) == 1
    said = {
        "no labels": "There are no labels at",
        "no songs": "names no songs to measure",
        "no file": "There is no MIDI file at",
        "no MIDI": "not a MIDI file",
        "no melody": "has no track named MELODY",
    }
    assert said[fault] in caplog.text
