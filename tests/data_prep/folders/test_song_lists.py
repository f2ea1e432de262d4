from pathlib import Path

import pytest

from data_prep.folders.song_lists import SongFinder

FILES = ["top.txt", "a/top.txt", "a/one.txt", "b/c/two.txt", "b/two.mid.txt", "b/same.txt", "c/same.txt"]


@pytest.mark.parametrize(
    ("name", "files"),
    [
        ("top.mid", ["top.txt"]),  # the whole path, although a/top.txt ends alike
        ("a/top.mid", ["a/top.txt"]),
        ("x/a/top", ["a/top.txt"]),
        ("one", ["a/one.txt"]),
        ("/lmd/a/one.MIDI", ["a/one.txt"]),
        ("b/one.mid", []),
        ("c/two", ["b/c/two.txt"]),
        ("two.mid", ["b/two.mid.txt"]),  # named in full before without its suffix
        ("same", ["b/same.txt", "c/same.txt"]),
        ("absent", []),
        ("", []),
    ],
)
def test_find(name, files):
    assert [str(file) for file in SongFinder(map(Path, FILES)).find(name)] == files
