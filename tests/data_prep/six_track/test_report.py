import pytest

from data_prep.six_track.report import ACCEPTED, HEADER, REJECTED, ReportRow, read_report, settle


def report(path, rows, tail=""):
    path.write_text(HEADER + "".join(row.line() for row in rows) + tail)
    return path


def accepted(file, fingerprint):
    return ReportRow(file, ACCEPTED, output=file, fingerprint=fingerprint)


def test_of_copies_the_first_by_name_stays(tmp_path):
    rows = [accepted("c.mid", "1:1"), accepted("b.mid", "2:2"), accepted("a.mid", "1:1")]
    counts = settle([report(tmp_path / "r.tsv", rows)], tmp_path / "r.tsv", duplicates=True)
    settled = list(read_report(tmp_path / "r.tsv"))
    assert [(row.file, row.fate, row.reason) for row in settled] == [
        ("a.mid", ACCEPTED, ""),
        ("b.mid", ACCEPTED, ""),
        ("c.mid", REJECTED, "duplicate: of a.mid"),
    ]
    assert counts == {"": 2, "duplicate": 1}


def test_settling_again_changes_nothing_and_a_newcomer_may_take_over(tmp_path):
    path = report(tmp_path / "r.tsv", [accepted("c.mid", "1:1"), accepted("b.mid", "1:1")])
    settle([path], path, duplicates=True)
    once = path.read_bytes()
    settle([path], path, duplicates=True)
    assert path.read_bytes() == once
    with path.open("a") as stream:
        stream.write(accepted("a.mid", "1:1").line())
    settle([path], path, duplicates=True)
    assert [row.reason for row in read_report(path)] == ["", "duplicate: of a.mid", "duplicate: of a.mid"]


def test_the_last_row_of_a_file_holds_and_a_torn_one_does_not(tmp_path):
    rows = [ReportRow("a.mid", REJECTED, "limits", "too slow: 1 s"), accepted("a.mid", "1:1")]
    path = report(tmp_path / "r.tsv", rows, tail=ReportRow("b.mid", REJECTED, "grid", "off").line()[:-1])
    settle([path], path, duplicates=True)
    assert list(read_report(path)) == [rows[1]]


def test_several_reports_become_one_sorted(tmp_path):
    parts = [
        report(tmp_path / "1.tsv", [accepted("d.mid", "4:4"), accepted("b.mid", "2:2")]),
        report(tmp_path / "2.tsv", [accepted("c.mid", "2:2"), accepted("a.mid", "1:1")]),
    ]
    settle(parts, tmp_path / "all.tsv", duplicates=True, dropped=frozenset({"d.mid"}))
    assert [(row.file, row.rule) for row in read_report(tmp_path / "all.tsv")] == [
        ("a.mid", ""),
        ("b.mid", ""),
        ("c.mid", "duplicate"),
    ]


@pytest.mark.parametrize("content", ["", HEADER, HEADER[:20]])
def test_empty_reports(tmp_path, content):
    (tmp_path / "r.tsv").write_text(content)
    assert not settle([tmp_path / "r.tsv", tmp_path / "none.tsv"], tmp_path / "r.tsv", duplicates=True)
    assert (tmp_path / "r.tsv").read_text() == HEADER
