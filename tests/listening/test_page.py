import base64
import json
import re
import shutil
import subprocess
import sys

import numpy as np
import pytest

from data_prep.tokens.encode import encode
from data_prep.tokens.song import read_song
from evaluation.self_similarity import self_similarity
from listening.page import main

HOSTILE = "\"'</script><script>alert(1)</script><!--@script@\u2028&amp;"


def data_of(page):
    """The data that the page holds, read as a browser does: up to the first end of a script element."""
    text = page.read_text(encoding="utf-8")
    return json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script', text, flags=re.S)[1])


@pytest.fixture
def folder(tmp_path, write_song, band):
    write_song(tmp_path / "generated_0.mid", band)
    return tmp_path


def details(folder, content):
    (folder / "songs.json").write_text(content if isinstance(content, str) else json.dumps(content))


def test_a_song_note_for_note(folder, band):
    assert main([str(folder)]) == 0
    (song,) = data_of(folder / "index.html")["songs"]
    assert base64.b64decode(song["midi"]) == (folder / "generated_0.mid").read_bytes()
    assert song["bars"] == [1920 * bar for bar in range(17)]
    assert song["metres"] == [[0, "4/4"]]
    assert song["tempos"] == [[0, 120]]
    assert [track["program"] for track in song["tracks"]] == [80, 128, 43, 25, 0, 48]
    for track in song["tracks"]:
        notes = np.array(track["notes"]).reshape(-1, 4)
        starts = np.cumsum(notes[:, 0])
        read = sorted(zip(starts.tolist(), (starts + notes[:, 1]).tolist(), notes[:, 2].tolist()))
        assert read == sorted((int(480 * a), int(480 * b), pitch) for a, b, pitch in band[track["program"]])


def test_the_picture_is_the_evaluations(folder):
    assert main([str(folder)]) == 0
    pictures = data_of(folder / "index.html")["songs"][0]["similarity"]
    line = " ".join(encode(read_song(folder / "generated_0.mid"), "six_track"))
    assert [picture["of"] for picture in pictures] == ["all tracks", "melody"]
    for picture, instrument in zip(pictures, (None, 80)):
        cells = np.frombuffer(base64.b64decode(picture["cells"]), np.uint8).reshape(16, 16)
        np.testing.assert_allclose(cells / 250, self_similarity(line, instrument), atol=0.002)


def test_a_long_songs_picture_is_pooled(tmp_path, write_song):
    write_song(tmp_path / "long.mid", {0: [(4 * bar, 4 * bar + 1, 60 + bar % 2) for bar in range(600)]})
    assert main([str(tmp_path)]) == 0
    (song,) = data_of(tmp_path / "index.html")["songs"]
    (picture,) = song["similarity"]
    assert (picture["size"], picture["bars_per_cell"]) == (200, 3)
    cells = np.frombuffer(base64.b64decode(picture["cells"]), np.uint8).reshape(200, 200)
    assert cells[0, 0] == round(250 * 5 / 9)  # of bars 1, 2, 3 against themselves, A B A: five of nine are alike
    assert cells[0, 1] == round(250 * 4 / 9)


def test_empty_bars_are_told_from_different_ones(tmp_path, write_song):
    write_song(tmp_path / "gap.mid", {0: [(0, 1, 60), (12, 13, 60)]})
    assert main([str(tmp_path)]) == 0
    (picture,) = data_of(tmp_path / "index.html")["songs"][0]["similarity"]
    cells = np.frombuffer(base64.b64decode(picture["cells"]), np.uint8).reshape(4, 4)
    assert cells.tolist() == [[250, 0, 0, 250], [0, 255, 255, 0], [0, 255, 255, 0], [250, 0, 0, 250]]


def test_what_is_known_of_songs(folder):
    details(
        folder,
        {
            "controls": {"seed": 1, "form": "A8A8"},
            "songs": [
                {
                    "file": "generated_0.mid",
                    "first_bar": 9,
                    "given_bars": [[9, 12], [24, 24]],
                    "sections": [["A", 9, 8], ["B", 17, 8]],
                }
            ],
        },
    )
    assert main([str(folder)]) == 0
    data = data_of(folder / "index.html")
    assert data["controls"] == [["seed", "1"], ["form", "A8A8"]]
    assert data["songs"][0]["given"] == [[0, 4], [15, 16]]
    assert data["songs"][0]["sections"] == [["A", 0, 8], ["B", 8, 16]]
    assert data["songs"][0]["first_bar"] == 9


SONG = {"file": "generated_0.mid"}


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("{", "songs.json cannot be read and was left out: Expecting property name"),
        ("[" * 100_000, "songs.json cannot be read and was left out"),
        ([], "songs.json was left out: it must be an object"),
        ({"controls": ["seed"]}, "controls was left out: it must be an object of texts"),
        ({"controls": {"seed": {}}}, "controls was left out: it must be an object of texts"),
        ({"songs": {}}, "songs was left out: it must be a list"),
        ({"songs": ["generated_0.mid"]}, "a song was left out: it must be an object that names its file"),
        ({"songs": [{"file": "other.mid"}]}, "songs.json names other.mid, which is not here"),
        ({"songs": [SONG | {"given_bars": [1, 8]}]}, "given_bars was left out: it must be a list of pairs"),
        ({"songs": [SONG | {"given_bars": [[8, 1]]}]}, "given_bars was left out: it must be a list of pairs"),
        ({"songs": [SONG | {"given_bars": [["1", "8"]]}]}, "given_bars was left out: it must be a whole number"),
        ({"songs": [SONG | {"given_bars": [[9, 17]]}]}, "lie outside its bars 1 to 16"),
        ({"songs": [SONG | {"sections": [["A", 1, 0]]}]}, "sections was left out: it must be a list of a name"),
        ({"songs": [SONG | {"sections": [[1, 1, 4]]}]}, "sections was left out: it must be a list of a name"),
        ({"songs": [SONG | {"first_bar": 1.5}]}, "first_bar was left out: it must be a whole number"),
        ({"songs": [SONG | {"first_bar": 1e400}]}, "first_bar was left out: it must be a whole number"),
    ],
)
def test_wrong_details_are_told_and_the_songs_shown(folder, caplog, content, sentence):
    details(folder, content)
    assert main([str(folder)]) == 1
    assert sentence in caplog.text
    data = data_of(folder / "index.html")
    assert len(data["songs"]) == 1
    assert any(sentence in fault for fault in data["faults"])


def test_hostile_texts_stay_texts(tmp_path, write_song):
    name = "\"'<script>alert(1)<!--@data@&amp;.mid"  # a file name has no slash
    write_song(tmp_path / name, {0: [(0, 1, 60)]})
    details(tmp_path, {"controls": {HOSTILE: HOSTILE}, "songs": [{"file": name, "sections": [[HOSTILE, 1, 1]]}]})
    assert main([str(tmp_path)]) == 0
    data = data_of(tmp_path / "index.html")
    assert data["controls"] == [[HOSTILE, HOSTILE]]
    assert data["songs"][0]["name"] == name.removesuffix(".mid")
    assert data["songs"][0]["sections"] == [[HOSTILE, 0, 1]]
    page = (tmp_path / "index.html").read_text(encoding="utf-8")
    assert len(re.findall("</?script", page)) == 4  # the data and the script, each with its end
    assert "alert(1)</" not in page
    assert not re.findall("@[a-z]+@", page.replace("@data@", "", 2).replace("@script@", ""))


def test_it_asks_for_nothing_from_outside(folder):
    assert main([str(folder)]) == 0
    page = (folder / "index.html").read_text(encoding="utf-8")
    assert not re.search(r"https?:|//[a-z]+\.|@import|\bsrc=|<link", page)


def test_broken_midi_beside_others(folder, caplog):
    (folder / "generated_1.mid").write_bytes(b"MThd and no more")
    (folder / "generated_2.mid").write_bytes(b"")
    assert main([str(folder)]) == 1
    data = data_of(folder / "index.html")
    assert [song["file"] for song in data["songs"]] == ["generated_0.mid"]
    assert data["faults"] == [
        "generated_1.mid cannot be shown: damaged MIDI: its header is cut short or gives a length past the end of the "
        "file.",
        "generated_2.mid cannot be shown: not a MIDI file: it is empty.",
    ]
    assert all(fault in caplog.text for fault in data["faults"])


def test_nothing_but_broken_midi(tmp_path):
    (tmp_path / "song.mid").write_bytes(b"no")
    assert main([str(tmp_path)]) == 1
    assert data_of(tmp_path / "index.html")["songs"] == []


def test_generated_songs_go_first_and_in_order_of_their_numbers(folder, write_song):
    for name in ("generated_10.mid", "generated_2.MID", "prompt.mid"):
        shutil.copy(folder / "generated_0.mid", folder / name)
    assert main([str(folder)]) == 0
    files = [song["file"] for song in data_of(folder / "index.html")["songs"]]
    assert files == ["generated_0.mid", "generated_2.MID", "generated_10.mid"]


def test_all_midi_files_where_none_was_generated(tmp_path, write_song):
    for name in ("b.midi", "a.mid"):
        write_song(tmp_path / name, {0: [(0, 1, 60)]})
    (tmp_path / "notes.txt").write_text("no song")
    assert main([str(tmp_path)]) == 0
    assert [song["name"] for song in data_of(tmp_path / "index.html")["songs"]] == ["a", "b"]


def test_an_empty_folder(tmp_path, caplog):
    assert main([str(tmp_path)]) == 1
    assert "holds no MIDI file" in caplog.text
    assert list(tmp_path.iterdir()) == []
    assert main([str(tmp_path / "nowhere")]) == 1
    assert "There is no folder" in caplog.text


def test_only_our_own_page_is_replaced(folder, caplog):
    page = folder / "index.html"
    page.write_text("<p>somebody's</p>")
    assert main([str(folder)]) == 1
    assert page.read_text() == "<p>somebody's</p>"
    assert "is not a page of this command" in caplog.text
    page.unlink()
    assert main([str(folder)]) == 0
    first = page.read_bytes()
    assert main([str(folder)]) == 0
    assert page.read_bytes() == first
    assert sorted(path.name for path in folder.iterdir()) == ["generated_0.mid", "index.html"]


def test_eight_songs_of_a_hundred_bars_are_under_4_mb(tmp_path, write_song, band):
    # 2,500 notes each, as many a bar as the songs of the six-track sets have
    long = {
        program: [(a + 64 * turn, b + 64 * turn, pitch) for turn in range(7) for a, b, pitch in notes if a < 64]
        for program, notes in band.items()
    }
    for number in range(8):
        write_song(tmp_path / f"generated_{number}.mid", long)
    assert main([str(tmp_path)]) == 0
    assert len(data_of(tmp_path / "index.html")["songs"][7]["bars"]) > 100
    assert (tmp_path / "index.html").stat().st_size < 4_000_000


def test_listening_imports_no_heavy_package(repository):
    program = """
import importlib, sys
class Refuse:
    def find_spec(self, name, path=None, target=None):
        if name.split(".")[0] in ("torch", "fairseq", "triton", "museformer_plugin", "evaluation", "matplotlib"):
            raise AssertionError(name)
sys.meta_path.insert(0, Refuse())
for name in sys.argv[1:]:
    importlib.import_module(name)
"""
    names = [f"listening.{file.stem}" for file in (repository / "listening").glob("[!_]*.py")]
    assert "listening.page" in names
    subprocess.run([sys.executable, "-c", program, *names], cwd=repository, check=True)
