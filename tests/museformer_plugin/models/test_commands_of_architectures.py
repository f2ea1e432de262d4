"""Every architecture goes the whole way: trained, stopped and resumed, scored, written with, exported."""

import re

import pytest
import torch

from data_prep.tokens.grammar import check_piece
from data_prep.tokens.vocabulary import SIX_TRACK
from museformer_plugin.export_checkpoint import export

SIZES = ["--decoder-embed-dim", 32, "--decoder-layers", 1]
OURS = [*SIZES, "--decoder-ffn-embed-dim", 32, "--token-embed-dim", 16, "--bar-embed-dim", 8, "--beat-embed-dim", 8]
OURS += ["--optimizer", "muon", "--lr", 0.02]
ADAM = [*SIZES, "--optimizer", "adam", "--lr", 1e-2, "--dropout", 0]
ARCHITECTURES = {
    "full_attention_rotary_tiny": OURS,
    "longformer_tiny": [*OURS, "--window", 30],
    "sparse_transformer_tiny": [*OURS, "--sparse-stride", 16],
    "lstm_lm": [*ADAM, "--decoder-hidden-size", 32, "--decoder-out-embed-dim", 32],
    "transformer_lm": [*ADAM, "--decoder-ffn-embed-dim", 32, "--decoder-attention-heads", 2],
}


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_the_whole_way(run_command, data_bin, repository, tmp_path, arch):
    task = ["--user-dir", repository / "museformer_plugin", "--task", "museformer_language_modeling", "--cpu"]

    def run(command, *arguments):
        done = run_command(command, data_bin, *task, *arguments)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    def train(folder, updates):
        options = ["--arch", arch, *ARCHITECTURES[arch], "--max-tokens", 150, "--num-workers", 0]
        windows = ["--window-tokens", "40,120", "--window-updates", 3, "--save-interval-updates", 3]
        run("fairseq-train", *options, *windows, "--max-update", updates, "--save-dir", folder)
        return torch.load(folder / "checkpoint_last.pt", weights_only=True)["model"]

    whole = train(tmp_path / "whole", 6)
    train(tmp_path / "in two", 4)
    for name, found in train(tmp_path / "in two", 6).items():
        assert torch.equal(found, whole[name]), name
    paths = [tmp_path / "whole" / "checkpoint_last.pt"]
    if ARCHITECTURES[arch][: len(OURS)] == OURS:
        export(paths[0], tmp_path / "exported")
        paths.append(tmp_path / "exported" / "model.pt")
    losses = [
        re.findall(r"Loss \(base 2\): ([\d.]+)", run("fairseq-eval-lm", "--path", path, "--gen-subset", "test"))
        for path in paths
    ]
    assert float(losses[0][0]) == pytest.approx(float(losses[-1][0]), abs=2e-3)
    writing = ["--path", paths[-1], "--gen-subset", "test", "--prompt-bars", 1, "--sampling", "--beam", 1]
    printed = run("fairseq-generate", *writing, "--max-len-b", 300, "--batch-size", 2)
    pieces = re.findall(r"^H-\d+\t\S+\t(.*)$", printed, flags=re.MULTILINE)
    assert len(pieces) == 3
    for piece in pieces:
        check_piece(piece.split(), SIX_TRACK)
