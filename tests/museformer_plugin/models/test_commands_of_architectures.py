"""One architecture of ours and one of fairseq's go the whole way as a person runs the commands.

All others go it in test_every_architecture.py.
"""

import re

import pytest
import torch

from data_prep.tokens.grammar import check_piece
from data_prep.tokens.vocabulary import SIX_TRACK
from museformer_plugin.export_checkpoint import export

SIZES = ["--decoder-embed-dim", 32, "--decoder-layers", 1]
OURS = [*SIZES, "--decoder-ffn-embed-dim", 32, "--token-embed-dim", 16, "--bar-embed-dim", 8, "--beat-embed-dim", 8]
OURS += ["--optimizer", "muon", "--lr", 0.02]
LSTM = [*SIZES, "--decoder-hidden-size", 32, "--decoder-out-embed-dim", 32]
LSTM += ["--optimizer", "adam", "--lr", 1e-2, "--dropout", 0]


@pytest.fixture
def run(run_command, data_bin, repository):
    """A function that runs a command on the data and returns what it printed."""
    task = ["--user-dir", repository / "museformer_plugin", "--task", "museformer_language_modeling", "--cpu"]

    def run(command, *arguments):
        done = run_command(command, data_bin, *task, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture
def train(run):
    """A function that trains on windows and returns the last checkpoint."""

    def train(folder, updates, *options):
        windows = ["--window-tokens", "40,120", "--window-updates", 3, "--save-interval-updates", 3]
        batches = ["--max-tokens", 150, "--num-workers", 0, "--disable-validation"]
        run("fairseq-train", *options, *batches, *windows, "--max-update", updates, "--save-dir", folder)
        return folder / "checkpoint_last.pt"

    return train


def assert_writes(run, checkpoint):
    writing = ["--path", checkpoint, "--gen-subset", "test", "--prompt-bars", 1, "--sampling", "--beam", 1]
    printed = run("fairseq-generate", *writing, "--max-len-b", 200, "--batch-size", 3, "--streams", 2)
    pieces = re.findall(r"^H-\d+\t\S+\t(.*)$", printed, flags=re.MULTILINE)
    assert len(pieces) == 3
    for piece in pieces:
        check_piece(piece.split(), SIX_TRACK)


def test_full_attention_is_resumed_scored_and_exported(run, train, tmp_path):
    arch = ["--arch", "full_attention_rotary_tiny", *OURS]
    checkpoint = train(tmp_path / "whole", 6, *arch)
    train(tmp_path / "in two", 4, *arch)
    found, expected = (
        torch.load(path, weights_only=True)["model"] for path in (train(tmp_path / "in two", 6, *arch), checkpoint)
    )
    for name, tensor in found.items():
        assert torch.equal(tensor, expected[name]), name
    export(checkpoint, tmp_path / "exported")
    losses = [
        re.findall(r"Loss \(base 2\): ([\d.]+)", run("fairseq-eval-lm", "--path", path, "--gen-subset", "test"))
        for path in (checkpoint, tmp_path / "exported" / "model.pt")
    ]
    assert float(losses[0][0]) == pytest.approx(float(losses[1][0]), abs=2e-3)
    assert_writes(run, tmp_path / "exported" / "model.pt")


def test_fairseqs_lstm_trains_and_writes(run, train, tmp_path):
    assert_writes(run, train(tmp_path / "checkpoints", 4, "--arch", "lstm_lm", *LSTM))
