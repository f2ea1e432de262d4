"""Learning curves out of logs as fairseq writes them, by hand and from real trainings."""

import json
import math

import numpy as np
import pytest

from evaluation.learning_curves import main, read_log

PREFIX = "2026-01-02 03:04:05 | INFO | "
SIMPLE = f"""train.sh: 4 pieces an update
{PREFIX}train_inner | epoch 001:     10 / 15 loss=9.5, ppl=724, wps=11.1, ups=4.61, wpb=100, bsz=2, num_updates=10, \
lr=0.0003, gnorm=1.338, train_wall=20, wall=5
{PREFIX}valid | epoch 001 | valid on 'valid' subset | loss 9 | ppl 512 | wps 3806.8 | wpb 43 | bsz 1 | num_updates 12
{PREFIX}train | epoch 001 | loss 9.581 | ppl 766 | wps 1097.9 | wpb 236.8 | num_updates 15 | train_wall 3 | wall 6
{PREFIX}train_inner | epoch 002:      5 / 15 loss=7.5, ppl=181, wps=9, ups=3.69, wpb=300, bsz=2, num_updates=20, \
lr=0.00025, gnorm=1.28, train_wall=40, wall=7
{PREFIX}valid | epoch 002 | valid on 'valid' subset | loss 8 | ppl 256 | wps 2094 | num_updates 24 | best_loss 8.932
"""


def write(folder, *texts):
    paths = [folder / f"run_{number}.log" for number in range(len(texts))]
    for path, text in zip(paths, texts):
        path.write_text(text)
    return paths


def test_points_by_hand(tmp_path):
    (path,) = write(tmp_path, SIMPLE)
    curve = read_log(path)
    np.testing.assert_allclose(curve.training, [[10, 1000, 20, 9.5], [20, 4000, 60, 7.5]])
    # after 12 updates a fifth of the way to 4,000 tokens; after 24 on at the latest pace
    np.testing.assert_allclose(curve.validation, [[12, 1600, 28, 9], [24, 5200, 76, 8]])


def test_losses_at_points_by_hand(tmp_path):
    (path,) = write(tmp_path, SIMPLE)
    curve = read_log(path)
    assert curve.training_loss(1000) == 9.5
    assert curve.training_loss(1020) == pytest.approx((31 * 9.5 + 20 * 7.5) / 51)  # tokens 969 to 1,020
    assert curve.validation_loss(1600) == 9
    assert curve.validation_loss(2500) == 8.75
    assert math.isnan(curve.validation_loss(1599))
    assert curve.at(2500, 1).tolist() == [15, 2500, 40]
    assert curve.at(40, 2).tolist() == [15, 2500, 40]
    assert curve.at(10, 2).tolist() == [5, 500, 10]
    assert curve.at(4001, 1) is None


def test_a_resumed_run_takes_the_place_of_what_it_repeats(tmp_path):
    again = SIMPLE.replace("loss=7.5", "loss=7").replace("loss 9 ", "loss 8.5 ").replace("wall=7", "wall=0")
    resumed, once = map(read_log, write(tmp_path, SIMPLE + again, again))
    np.testing.assert_array_equal(resumed.training, once.training)
    np.testing.assert_array_equal(resumed.validation, once.validation)


def test_other_forms_of_the_same_log(tmp_path):
    train = {"epoch": 1, "update": 0.667, "loss": "9.5", "wpb": "100", "num_updates": "10", "train_wall": "20"}
    valid = {"epoch": 1, "valid_loss": "9", "valid_wpb": "43", "valid_num_updates": "12"}
    lines = [("train_inner", train), ("valid", valid)]
    plain = "".join(f"{PREFIX}{tag} | {json.dumps(values)}\n" for tag, values in lines)
    hydra = "".join(f"[2026-01-02 03:04:05,678][{tag}][INFO] - {json.dumps(values)}\n" for tag, values in lines)
    cut = plain + f"{PREFIX}train_inner | " + json.dumps(train)[:40]
    for curve in map(read_log, write(tmp_path, plain, hydra, cut)):
        np.testing.assert_allclose(curve.training, [[10, 1000, 20, 9.5]])
        np.testing.assert_allclose(curve.validation, [[12, 1200, 24, 9]])


def test_the_table_and_the_picture(tmp_path, capsys):
    paths = write(tmp_path, SIMPLE, SIMPLE.replace("loss=7.5", "loss=nan"))
    command = [*map(str, paths), "--at-tokens", "2500,5e9", "--at-minutes", "0.5", "--out"]
    for name in ("a.svg", "b.svg", "c.png"):
        assert main([*command, str(tmp_path / name)]) == 0
    rows = [[cell.strip() for cell in row.split("|")[1:-1]] for row in capsys.readouterr().out.splitlines()[:8]]
    assert rows[2:5] == [
        ["run_0.log", "15", "2,500", "0.7", "7.500", "8.750"],
        ["run_0.log", "12", "1,750", "0.5", "7.500", "8.958"],
        ["run_0.log", "20", "4,000", "1.0", "7.500", "8.333"],
    ]
    assert rows[7] == ["run_1.log", "20", "4,000", "1.0", "–", "8.333"]
    assert (tmp_path / "a.svg").read_bytes() == (tmp_path / "b.svg").read_bytes()
    assert "<svg" in (tmp_path / "a.svg").read_text()
    assert (tmp_path / "c.png").read_bytes().startswith(b"\x89PNG")


@pytest.mark.parametrize("form", ["simple", "json"])
def test_real_logs_of_a_training_that_was_resumed(form, must_run, data_bin, piece_lines, task_options, tmp_path):
    small = ["--arch", "museformer_tiny", "--decoder-embed-dim", 16, "--decoder-ffn-embed-dim", 32]
    training = ["--optimizer", "adam", "--lr", 1e-2, "--batch-size", 8, "--num-workers", 0, "--log-interval", 2]
    saving = ["--save-dir", tmp_path / "checkpoints", "--no-epoch-checkpoints", "--log-format", form]
    printed = ""
    for updates in (3, 6):
        printed += must_run(
            "fairseq-train", data_bin, *task_options, *small, *training, *saving, "--max-update", updates
        )
    (path,) = write(tmp_path, printed)
    curve = read_log(path)
    tokens = sum(len(line.split()) + 1 for line in piece_lines["train"])  # all of them in each update
    assert curve.training[:, 0].tolist() == [2, 4, 6]
    np.testing.assert_allclose(curve.training[:, 1], tokens * curve.training[:, 0], rtol=1e-3)
    assert (np.diff(curve.training[:, 2]) >= 0).all()
    assert (np.diff(curve.training[:, 3]) < 0).all()
    assert curve.validation[:, 0].tolist() == [1, 2, 3, 4, 5, 6]  # epochs of one update
    np.testing.assert_allclose(curve.validation[:, 1], tokens * curve.validation[:, 0], rtol=1e-3)


@pytest.mark.parametrize(
    ("logs", "options", "sentence"),
    [
        (["nothing here\n"], [], "holds no training loss"),
        ([SIMPLE], ["--out", "curves.pdf"], "ends in neither .svg nor .png"),
        ([], ["absent.log"], "absent.log"),
    ],
)
def test_wrong_input_ends_in_a_sentence(tmp_path, caplog, logs, options, sentence):
    assert main([*map(str, write(tmp_path, *logs)), *options]) == 1
    assert sentence in caplog.text


def test_a_log_named_twice_and_wrong_points_are_told(tmp_path, caplog, capsys):
    (path,) = map(str, write(tmp_path, SIMPLE))
    assert main([path, path]) == 1
    assert "named twice" in caplog.text
    with pytest.raises(SystemExit):
        main([path, "--at-tokens", "1e6,-3"])
    assert "is not a list of numbers above 0" in capsys.readouterr().err
