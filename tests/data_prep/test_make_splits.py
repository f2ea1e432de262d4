import tarfile

import pytest

from data_prep.folders.song_lists import SongFinder, read_song_list
from data_prep.make_splits import main
from data_prep.tokens.vocabulary import GENERAL, SIX_TRACK

NOTE = "o-0 t-35 i-0 p-{} d-12 v-20 b-1"


def piece(number):
    return f"s-9 {NOTE.format(number)}"


@pytest.fixture
def tokens(tmp_path):
    """Twenty songs in two folders."""
    for number in range(20):
        path = tmp_path / "tokens" / "ab"[number % 2] / f"song{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(piece(number) + "\n")
    return tmp_path / "tokens"


def lines(path):
    return path.read_text().splitlines()


def split(tokens, name, *options):
    return main([str(tokens), str(tokens.parent / name), *map(str, options)])


def test_the_command(tokens, tmp_path, run_module):
    done = run_module("make_splits", tokens, tmp_path / "s", "--seed", "7")
    assert done.returncode == 0, done.stderr
    assert "seed 7" in done.stderr and "16 train, 2 valid, 2 test" in done.stderr
    everything = []
    for name, size in {"train": 16, "valid": 2, "test": 2}.items():
        pieces, sources = lines(tmp_path / "s" / f"{name}.tokens"), lines(tmp_path / "s" / f"{name}.pieces")
        assert len(pieces) == len(sources) == size
        for text, source in zip(pieces, sources):
            assert (tokens / source).read_text() == text + "\n"
        everything += pieces
    assert sorted(everything) == sorted(piece(number) for number in range(20))
    assert (tmp_path / "s" / "dict.txt").read_text() == GENERAL.dict_txt()
    assert (tmp_path / "s" / "rejected.tsv").read_text() == ""


def test_the_seed_decides(tokens, tmp_path):
    for name, seed in {"one": 1, "again": 1, "two": 2}.items():
        assert split(tokens, name, "--seed", seed) == 0
    one, again, two = (
        {path.name: path.read_text() for path in (tmp_path / name).iterdir()} for name in ("one", "again", "two")
    )
    assert one == again
    assert one["test.pieces"] != two["test.pieces"]


def test_six_track_has_its_own_dictionary(tmp_path):
    (tmp_path / "tokens").mkdir()
    (tmp_path / "tokens" / "all.txt").write_text("t-35 o-0 i-80 p-60 d-12 v-20 b-1\n" * 10)
    assert split(tmp_path / "tokens", "s") == 0
    assert (tmp_path / "s" / "dict.txt").read_text() == SIX_TRACK.dict_txt()
    assert len(lines(tmp_path / "s" / "train.pieces")) == 8
    assert all(line.startswith("all.txt:") for line in lines(tmp_path / "s" / "train.pieces"))


@pytest.mark.parametrize(
    ("count", "ratios", "sizes"),
    [(3, "8:1:1", [1, 1, 1]), (5, "8:1:1", [3, 1, 1]), (20, "1:1:0", [10, 10, 0]), (20, "0.5:0.25:0.25", [10, 5, 5])],
)
def test_sizes(tokens, tmp_path, count, ratios, sizes):
    for path in sorted(tokens.rglob("*.txt"))[count:]:
        path.unlink()
    assert split(tokens, "s", "--ratios", ratios) == 0
    assert [len(lines(tmp_path / "s" / f"{name}.tokens")) for name in ("train", "valid", "test")] == sizes


def test_an_empty_split_gets_a_sentence(tokens, tmp_path, caplog):
    for path in sorted(tokens.rglob("*.txt"))[2:]:
        path.unlink()
    assert split(tokens, "s") == 1
    assert "No piece for test (1 train, 1 valid, 0 test)" in caplog.text
    assert not (tmp_path / "s").exists()


def write_lists(folder, **names):
    folder.mkdir()
    for name in ("train", "valid", "test"):
        (folder / f"{name}.txt").write_text("\n".join(names[name]) + "\n")
    return folder


def test_lists(tokens, tmp_path, caplog):
    lists = write_lists(
        tmp_path / "lists",
        train=["a/song0.mid", "song1.MID", "song2", "corpus/a/song4.midi", "absent.mid", "absent2"],
        valid=["./b/song3.txt"],
        test=["b\\song5.mid", "", "b/song5.mid"],
    )
    assert split(tokens, "s", "--lists", lists) == 0
    assert lines(tmp_path / "s" / "train.pieces") == ["a/song0.txt", "a/song2.txt", "a/song4.txt", "b/song1.txt"]
    assert lines(tmp_path / "s" / "valid.pieces") == ["b/song3.txt"]
    assert lines(tmp_path / "s" / "test.pieces") == ["b/song5.txt"]
    assert "2 of the 6 names in train.txt have no piece, the first is absent.mid" in caplog.text
    assert "14 pieces are in no list and are left out" in caplog.text


@pytest.mark.parametrize(
    ("names", "sentence"),
    [
        ({"train": ["song0"], "valid": ["song1"], "test": ["a/song0.mid"]}, "both in train.txt and in test.txt"),
        ({"train": ["same"], "valid": ["song1"], "test": ["song2"]}, "may mean a/same.txt or b/same.txt"),
        ({"train": ["song0"], "valid": ["nothing"], "test": ["song2"]}, "No piece for valid"),
    ],
)
def test_faulty_lists(tokens, tmp_path, caplog, names, sentence):
    for folder in "ab":
        (tokens / folder / "same.txt").write_text(piece(50))
    assert split(tokens, "s", "--lists", write_lists(tmp_path / "lists", **names)) == 1
    assert sentence in caplog.text
    assert not (tmp_path / "s").exists()


def test_a_missing_list(tokens, tmp_path, caplog):
    (tmp_path / "lists").mkdir()
    assert split(tokens, "s", "--lists", tmp_path / "lists") == 1
    assert "train.txt is missing" in caplog.text


def test_pieces_that_break_the_grammar_are_rejected_with_their_reason(tokens, tmp_path, caplog):
    (tokens / "a" / "bad.txt").write_text("s-9 o-50 t-35 i-0 p-1 d-1 v-1 b-1")
    (tokens / "a" / "cut.txt").write_text(piece(1)[:-4])
    (tokens / "a" / "empty.txt").touch()
    (tokens / "a" / "text.txt").write_text("read me")
    (tokens / "a" / "two.txt").write_text(piece(1) + "\n\n")
    assert split(tokens, "s") == 0
    assert "5 pieces break the grammar" in caplog.text
    rejected = dict(line.split("\t") for line in lines(tmp_path / "s" / "rejected.tsv"))
    assert list(rejected) == ["a/bad.txt", "a/cut.txt", "a/empty.txt", "a/text.txt", "a/two.txt:2"]
    assert rejected["a/bad.txt"].startswith("token 2: o-50 may not come here")
    assert sum(len(lines(tmp_path / "s" / f"{name}.tokens")) for name in ("train", "valid", "test")) == 21


def test_mixed_representations_are_refused(tokens, tmp_path, caplog):
    (tokens / "six.txt").write_text("t-35 o-0 i-80 p-60 d-12 v-20 b-1")
    assert split(tokens, "s") == 1
    assert "20 pieces in general and 1 pieces in six_track" in caplog.text


def test_wrong_use_gets_a_sentence(tokens, tmp_path, caplog, capsys):
    assert split(tokens, "tokens/inside") == 1
    assert "move it out" in caplog.text
    (tmp_path / "filled").mkdir()
    (tmp_path / "filled" / "train.tokens").write_text("mine")
    assert split(tokens, "filled") == 1
    assert "not an empty folder" in caplog.text
    assert main([str(tmp_path / "absent"), str(tmp_path / "s")]) == 1
    assert "absent is not a folder" in caplog.text
    for ratios in ("8:1", "a:b:c", "0:0:0", "1:-1:1", "nan:1:1"):
        with pytest.raises(SystemExit):
            split(tokens, "s", "--ratios", ratios)
    assert "is not three shares such as 8:1:1" in capsys.readouterr().err


def test_published_lists_name_their_songs(shared, tmp_path):
    """Every name of the published lists finds the one token file of its corpus."""
    files = []
    for corpus in ("pop909_band", "nottingham_band", "freedoom_history"):
        with tarfile.open(shared / "corpora" / f"{corpus}.tar.xz") as archive:
            files += [
                tmp_path.joinpath(m.name).with_suffix(".txt").relative_to(tmp_path) for m in archive if m.isfile()
            ]
    finder = SongFinder(files)
    for name in ("train", "valid", "test"):
        for song in read_song_list(shared / "corpora" / "splits" / f"{name}.txt"):
            assert len(finder.find(song)) == 1, song
