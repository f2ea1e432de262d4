"""The command: what it refuses, and all of it on small data with the weights that ship."""

import shutil

import pytest

from evaluation.orders.__main__ import MEASURES, main
from evaluation.orders.tables import figure, markdown


def test_a_measure_that_does_not_exist_is_refused(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["model.pt", "data-bin", "--what", "form,colour"])
    assert "there is no 'colour'; there are form, bars, fill, accompany, exactness" in capsys.readouterr().err


def test_labels_and_their_songs_go_together(capsys):
    with pytest.raises(SystemExit, match="2"):
        main(["model.pt", "data-bin", "--labels", "labels.tsv"])
    assert "--labels and --midi go together" in capsys.readouterr().err


def test_a_model_that_cannot_be_told_is_refused(checkpoint, data_bin, caplog):
    assert main([str(checkpoint), str(data_bin)]) == 1
    assert "was trained without --steerable" in caplog.text


def test_songs_that_are_too_short_are_told(repository, data_bin, caplog):
    weights = repository / "pretrained" / "six_track" / "model.pt"
    assert main([str(weights), str(data_bin), "--what", "accompany", "--pieces", "1"]) == 1
    assert "No song has 16 bars." in caplog.text


def test_accompaniments_without_songs_to_learn_chords_from_are_refused_at_once(repository, data_bin, tmp_path, caplog):
    weights = repository / "pretrained" / "six_track" / "model.pt"
    shutil.copytree(data_bin, tmp_path / "bin", ignore=shutil.ignore_patterns("train.*"))
    assert main([str(weights), str(tmp_path / "bin"), "--what", "form,accompany", "--pieces", "1"]) == 1
    assert "holds no 'train' pieces: run fairseq-preprocess with --trainpref." in caplog.text


@pytest.mark.slow
def test_requests_into_songs_of_noise_are_kept_to(repository, data_bin, capsys):
    weights = repository / "pretrained" / "six_track" / "model.pt"
    arguments = ["--what", "exactness,fill", "--requests", "1", "--places", "1"]
    assert main([str(weights), str(data_bin), *arguments]) == 0
    printed = capsys.readouterr().out
    rows = {line.split(" | ")[0]: line for line in printed.splitlines()}
    assert rows["| all"].startswith("| all | 8 | ") and rows["| all"].endswith(" | 0 |")
    assert rows["| the song's own"].split(" | ")[1] == "100.0 [100.0, 100.0]"
    assert [name for name in MEASURES if f"## {name}\n" in printed] == ["fill", "exactness"]


def test_tables_show_figures_with_their_intervals():
    from evaluation.bootstrap import Estimate

    assert figure(Estimate(0.5, 0.25, 0.75), 1, percent=True) == "50.0 [25.0, 75.0]"
    assert figure(Estimate(float("nan"))) == "-" and figure(Estimate(2.0)) == "2.00"
    assert markdown(["a", "b"], [["c", "1"]]) == "| a | b |\n| --- | ---: |\n| c | 1 |"
