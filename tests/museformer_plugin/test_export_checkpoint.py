"""What export_checkpoint leaves: a file that every command of fairseq loads by its path, and nothing of its origin."""

import json
import math
import os
import re
import subprocess
import sys
from argparse import Namespace
from pathlib import Path

import pytest
import torch

from data_prep.tokens.grammar import check_piece
from data_prep.tokens.vocabulary import GENERAL, SIX_TRACK
from museformer_plugin.errors import UserError
from museformer_plugin.export_checkpoint import export, in_half_precision, main
from museformer_plugin.trained_checkpoints import representation_of_model

PLUGIN = Path(__file__).resolve().parents[2] / "museformer_plugin"
TASK = ["--user-dir", PLUGIN, "--task", "museformer_language_modeling"]
SMALL = ["--arch", "museformer_rotary_tiny", "--decoder-embed-dim", 32, "--decoder-ffn-embed-dim", 32]
SMALL += ["--token-embed-dim", 16, "--bar-embed-dim", 8, "--beat-embed-dim", 8, "--structure-bars", "1,2"]
TRAIN = [*TASK, *SMALL, "--cpu", "--seed", 3, "--num-workers", 0, "--log-format", "simple", "--max-tokens", 150]
MUON = ["--optimizer", "muon", "--lr", 0.02, "--adamw-lr", 1e-2, "--window-tokens", "40,120", "--window-updates", 7]
HALF = {"rtol": 2**-11, "atol": 2**-24}  # what rounding to float16 may change


@pytest.fixture(scope="module")
def train(run_command, data_bin):
    """A function that trains with further options into a folder and returns the parameters at the end."""

    def train(save_dir, *arguments):
        done = run_command("fairseq-train", data_bin, *TRAIN, "--save-dir", save_dir, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return save_dir / "checkpoint_last.pt"

    return train


@pytest.fixture(scope="module")
def trained(train, tmp_path_factory):
    """The checkpoint of a short training, with all that a training may leave in one."""
    return train(tmp_path_factory.mktemp("trained"), *MUON, "--max-update", 12)


@pytest.fixture(scope="module")
def exported(trained, tmp_path_factory):
    """The folder that the command writes, of a model trained a little."""
    folder = tmp_path_factory.mktemp("exported") / "a model"
    export(trained, folder)
    return folder


def read(path):
    return torch.load(path, weights_only=True)


def bits(done):
    assert done.returncode == 0, done.stdout + done.stderr
    return float(re.findall(r"(?:Loss \(base 2\):|\| loss)\s*([\d.]+)", done.stdout + done.stderr)[-1])


def test_weights_are_halved_and_nothing_of_the_training_is_left(trained, exported):
    before, after = read(trained), read(exported / "model.pt")
    assert {tensor.dtype for tensor in after["model"].values()} == {torch.float16}
    assert after["model"].keys() == before["model"].keys()
    for name, tensor in before["model"].items():
        torch.testing.assert_close(after["model"][name].float(), tensor, **HALF)
    assert after["last_optimizer_state"] is None
    assert after["optimizer_history"][-1]["num_updates"] == 12
    assert after["cfg"]["common"]["seed"] == 3
    held = sum(tensor.numel() for tensor in after["model"].values())
    assert (exported / "model.pt").stat().st_size < 2 * held + 60_000


def test_the_options_of_the_model_are_kept_and_those_of_the_data_are_not(trained, exported):
    before, after = read(trained)["cfg"], read(exported / "model.pt")["cfg"]
    options = {name: value for name, value in before["model"].items() if name not in ("_name", "tpu")}
    assert {name: after["model"][name] for name in options} == options
    assert options["positions"] == "rotary"
    assert (after["task"]["data"], after["task"]["window_tokens"]) == ("", "")


def test_no_folder_of_the_machine_is_named(trained, exported, repository):
    state = read(exported / "model.pt")
    text = json.dumps({name: value for name, value in state.items() if name != "model"})
    for folder in (repository, trained.parent, trained.parent.parent):
        assert str(folder) not in text
    assert re.findall(r'"(/[^"]*)"', text) == ["/tmp/plasma"]  # which fairseq gives every model


def test_the_dictionary_is_that_of_the_data(exported, data_bin):
    assert (exported / "dict.txt").read_text() == SIX_TRACK.dict_txt()
    entries = [line.split()[0] for line in (data_bin / "dict.txt").read_text().splitlines()]
    assert [line.split()[0] for line in (exported / "dict.txt").read_text().splitlines()] == entries


def test_eval_lm_and_validate_give_the_checkpoints_loss(run_command, data_bin, trained, exported):
    evaluate = ["fairseq-eval-lm", data_bin, *TASK, "--cpu", "--gen-subset", "test"]
    expected = bits(run_command(*evaluate, "--path", trained))
    assert 1 < expected < math.log2(560)
    assert bits(run_command(*evaluate, "--path", exported / "model.pt")) == pytest.approx(expected, abs=0.002)
    validate = ["fairseq-validate", data_bin, *TASK, "--cpu", "--valid-subset", "test", "--batch-size", 2]
    assert bits(run_command(*validate, "--path", exported / "model.pt")) == pytest.approx(expected, abs=0.002)


def test_generate_continues_songs(run_command, data_bin, exported):
    command = ["fairseq-generate", data_bin, *TASK, "--cpu", "--path", exported / "model.pt", "--prompt-bars", 1]
    command += ["--sampling", "--sampling-topk", 8, "--beam", 1, "--nbest", 1, "--max-len-b", 120, "--batch-size", 3]
    done = run_command(*command)
    assert done.returncode == 0, done.stderr
    written = [line.split("\t")[2].split() for line in done.stdout.splitlines() if line.startswith("H-")]
    assert len(written) == 3
    for words in written:
        check_piece(words, SIX_TRACK)


def test_generate_sh_needs_no_other_folder(repository, exported, tmp_path):
    done = subprocess.run(
        [repository / "generate.sh", exported / "model.pt", exported, tmp_path / "songs", "--pieces", "2"],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", "MAX_LEN": "200", "MIN_LEN": "150"},
    )
    assert done.returncode == 0, done.stderr
    assert len(list((tmp_path / "songs").glob("*.mid"))) == 2


@pytest.mark.parametrize("way", ["finetune", "restore"])
def test_training_goes_on_from_the_weights(train, exported, tmp_path, way):
    """With a rate of almost nothing the weights stay what they were."""
    resets = ["--reset-optimizer", "--reset-lr-scheduler", "--reset-meters", "--reset-dataloader"]
    loading = {"finetune": ["--finetune-from-model"], "restore": [*resets, "--restore-file"]}[way]
    slow = ["--optimizer", "adam", "--lr", 1e-9, "--max-update", 2, "--disable-validation"]
    found = read(train(tmp_path, *slow, *loading, exported / "model.pt"))
    assert found["optimizer_history"][-1]["num_updates"] == 2
    for name, tensor in read(exported / "model.pt")["model"].items():
        torch.testing.assert_close(found["model"][name], tensor.float(), rtol=0, atol=1e-7)


# what does not work


@pytest.fixture
def run_export(monkeypatch, capsys):
    """A function that runs the command in this process: (exit status, what it printed for the user)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["export_checkpoint", *map(str, arguments)])
        status = main()
        return status, capsys.readouterr().err

    return run


def test_a_model_is_not_written_over(trained, run_export, tmp_path):
    (tmp_path / "model.pt").write_bytes(b"dear")
    status, printed = run_export(trained, tmp_path)
    assert status == 1
    assert printed == f"museformer: {tmp_path}/model.pt exists already; move it away, or name another folder.\n"
    assert (tmp_path / "model.pt").read_bytes() == b"dear"
    assert [path.name for path in tmp_path.iterdir()] == ["model.pt"]


def test_another_dictionary_is_not_written_over(trained, run_export, tmp_path):
    (tmp_path / "dict.txt").write_text("b-1 0\n")
    status, printed = run_export(trained, tmp_path)
    assert (status, "is of another model" in printed) == (1, True)
    assert [path.name for path in tmp_path.iterdir()] == ["dict.txt"]


def test_the_same_dictionary_may_be_there(trained, run_export, tmp_path):
    (tmp_path / "dict.txt").write_text(SIX_TRACK.dict_txt())
    status, printed = run_export(trained, tmp_path)
    assert status == 0
    assert re.fullmatch(rf"{re.escape(str(tmp_path))}/model\.pt: \d+ parameters after 12 updates, 0\.\d MB\n", printed)


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        (None, "No such file"),
        (b"", "truncated or not a checkpoint"),
        ({"model": {}}, "is not a checkpoint that fairseq-train wrote for an architecture of this"),
        ({"model": {}, "cfg": {"model": {"_name": "transformer_lm"}}}, "for an architecture of this plugin"),
        ({"model": {}, "cfg": {"model": Namespace(arch="lstm_lm")}}, "those of fairseq's own models are used as they"),
        (
            {"model": {}, "cfg": {"model": {"_name": "museformer_tiny"}}},
            "has 0 dictionary entries, neither those of six_track nor of general",
        ),
    ],
    ids=["missing", "empty", "no options", "another model", "an older model", "no weights"],
)
def test_what_is_no_checkpoint_of_ours_ends_in_a_sentence(run_export, tmp_path, content, sentence):
    path = tmp_path / "strange.pt"
    if isinstance(content, bytes):
        path.write_bytes(content)
    elif content is not None:
        torch.save(content, path)
    status, printed = run_export(path, tmp_path / "out")
    assert status == 1
    assert sentence in printed
    assert printed.count("\n") == 1
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("value", [65520.0, float("nan")])
def test_weights_that_float16_cannot_hold_are_refused(value):
    with pytest.raises(UserError, match="The parameter heavy holds numbers that float16 cannot"):
        in_half_precision({"light": torch.ones(2), "heavy": torch.tensor([1.0, value])})


def test_both_representations_are_known_by_their_dictionary():
    for representation, entries in ((SIX_TRACK, 560), (GENERAL, 1024)):
        assert representation_of_model({"decoder.embedding.token.weight": torch.zeros(entries, 1)}) is representation
