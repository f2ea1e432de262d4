import errno
import os

import pytest

from data_prep.folders.files import find_files, from_bytes, from_one_line, one_line, to_bytes, whole_file, write_whole


def test_a_file_appears_whole_or_not_at_all(tmp_path):
    target = tmp_path / "deep" / "a.txt"
    write_whole(target, b"first")
    with pytest.raises(RuntimeError), whole_file(target) as stream:
        stream.write(b"second")
        assert target.read_bytes() == b"first"
        raise RuntimeError
    assert target.read_bytes() == b"first"
    assert list(target.parent.iterdir()) == [target]


def test_a_full_disk_names_the_file(tmp_path):
    with pytest.raises(OSError, match="No space left") as caught, whole_file(tmp_path / "a.txt"):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    assert caught.value.filename == str(tmp_path / "a.txt")
    assert not list(tmp_path.iterdir())


def test_find_files_in_a_stable_order(tmp_path):
    for name in ("b/x.MID", "a/y.midi", "a.mid", "a/no.txt", "b/mid"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    found = find_files(tmp_path, (".mid", ".midi"), on_error=print)
    assert list(map(str, found)) == ["a/y.midi", "a.mid", "b/x.MID"]


def test_any_name_is_one_field_of_one_line():
    names = ["a\tb", "a\nb", "a\\tb", "a\rb", "a\\\tb"]
    fields = [one_line(name) for name in names]
    assert not any(character in field for field in fields for character in "\t\n\r")
    assert len(set(fields)) == len(names)
    assert [from_one_line(field) for field in fields] == names
    assert from_bytes(to_bytes(os.fsdecode(b"\xff\xe9"))) == os.fsdecode(b"\xff\xe9")
