"""What is told of written songs beside them."""

import json

import pytest

from data_prep.tokens_to_midi import main as decode
from listening import describe

BAR = "t-31 o-0 i-80 p-60 d-12 v-20 o-24 i-80 p-{0} d-12 v-20 b-1"
PIECE = " ".join([*(BAR.format(pitch) for pitch in (62, 64, 65, 67)), *(BAR.format(n) for n in (62, 64, 65, 67))])


@pytest.fixture
def songs(tmp_path):
    (tmp_path / "generated.txt").write_text(f"H-0\t-1.0\t{PIECE}\nH-1\t-1.0\t{PIECE} t-31 b-1\n")
    assert decode([str(tmp_path / "generated.txt"), str(tmp_path)]) == 0
    return tmp_path


def told(folder):
    return json.loads((folder / "songs.json").read_text())


def test_what_was_asked_is_told(songs):
    arguments = ["--control", "seed=1", "--control", "tempo=96", "--given-bars", "1-2,7", "--form", "A4B4"]
    assert describe.main([str(songs), *arguments]) == 0
    found = told(songs)
    assert found["controls"] == {"seed": "1", "tempo": "96"}
    assert [song["file"] for song in found["songs"]] == ["generated_0.mid", "generated_1.mid"]
    assert found["songs"][0]["given_bars"] == [[1, 2], [7, 7]]
    assert found["songs"][0]["sections"] == [["A", 1, 4], ["B", 5, 4]]


def test_sections_are_heard_and_end_with_the_notes(songs):
    assert describe.main([str(songs), "--given-bars", "3-40"]) == 0
    for song in told(songs)["songs"]:
        assert song["given_bars"] == [[3, 8]]
        assert sum(bars for _, _, bars in song["sections"]) == 8  # the last bar of the second is silent


@pytest.mark.parametrize(
    ("written", "given"),
    [
        ("3-4", [[1, 2], [5, 8]]),
        ("7-9,1", [[2, 6]]),
        ("5,3-4", [[1, 2], [6, 8]]),
        ("8", [[1, 7]]),
        ("1-8", []),
    ],
)
def test_bars_that_were_not_written_were_given(songs, written, given):
    assert describe.main([str(songs), "--written-bars", written]) == 0
    assert [song["given_bars"] for song in told(songs)["songs"]] == [given] * 2


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["--form", "A"], "--form: "),
        (["--written-bars", "3-x"], "--written-bars: '3-x' is neither a bar"),
        (["--given-bars", "x"], "--given-bars: 'x' is neither a bar nor"),
    ],
)
def test_wrong_words_are_told(songs, arguments, sentence, capsys, caplog):
    assert describe.main([str(songs), *arguments]) != 0
    assert sentence in capsys.readouterr().err + caplog.text
    assert not (songs / "songs.json").exists()
