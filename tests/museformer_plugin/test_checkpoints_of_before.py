"""Checkpoints that earlier code wrote (at commit 8f3192e) load, and trainings go on from them as they went on then."""

import shutil

import numpy as np
import pytest
import torch
from fairseq.checkpoint_utils import load_model_ensemble_and_task

import museformer_plugin  # noqa: F401  (registers what the checkpoints name)
from data_prep.tokens.vocabulary import SIX_TRACK
from museformer_plugin.positions import Positions
from museformer_plugin.rotary import RotaryPositions

SIZES = ["--decoder-layers", 1, "--decoder-embed-dim", 16, "--decoder-ffn-embed-dim", 16, "--token-embed-dim", 8]
SIZES += ["--bar-embed-dim", 4, "--beat-embed-dim", 4, "--decoder-attention-heads", 2, "--structure-bars", "1,2"]
TRAIN = ["--task", "museformer_language_modeling", "--cpu", "--num-workers", 0, *SIZES, "--seed", 3]
TRAIN += ["--save-interval-updates", 3, "--disable-validation", "--max-update", 6]
ADAM = ["--arch", "museformer_tiny", "--optimizer", "adam", "--lr", 1e-2, "--batch-size", 2]
ADAM += ["--dropout", 0, "--attention-dropout", 0]
MUON = ["--arch", "museformer_rotary_tiny", "--optimizer", "muon", "--lr", 0.02, "--max-tokens", 150]
MUON += ["--window-tokens", "40,120", "--window-updates", 2, "--rotary-index", "bar"]
# Muon then orthogonalised in float32 everywhere, and now in bfloat16 where the CPU has instructions for it.
TRAIN_IN_FLOAT32 = """
import torch
torch.cpu._is_avx512_bf16_supported = torch.cpu._is_amx_tile_supported = lambda: False
from fairseq_cli.train import cli_main
cli_main()
"""


def test_rotary_positions_count_as_they_did(golden, tmp_path):
    """The size that the checkpoint names has another index now; loading it may not take that one."""
    (tmp_path / "dict.txt").write_text(SIX_TRACK.dict_txt())
    path = golden / "checkpoints" / "muon_after_3_updates.pt"
    (model,), cfg, _ = load_model_ensemble_and_task([str(path)], arg_overrides={"data": str(tmp_path)})
    assert cfg.model.rotary_index == "bar"
    positions = Positions(*(torch.tensor([n]) for n in (3, 0, 7, 11, 4)))
    expected = RotaryPositions(8, in_onset=False)(positions, torch.zeros(1))
    assert torch.equal(model.decoder.rotary(positions, torch.zeros(1)).keys, expected.keys)


@pytest.mark.parametrize(("kind", "options"), [("adam", ADAM), ("muon", MUON)], ids=["adam", "muon"])
def test_training_goes_on_as_it_did(run_command, fairseq_preprocess, golden, repository, tmp_path, kind, options):
    folder = golden / "checkpoints"
    lines = (folder / "songs.tokens").read_text().splitlines()
    data = fairseq_preprocess(tmp_path, {"train": lines, "valid": lines}, "six_track")
    save_dir = tmp_path / "checkpoints"
    save_dir.mkdir()
    shutil.copy(folder / f"{kind}_after_3_updates.pt", save_dir / "checkpoint_last.pt")
    plugin = ["--user-dir", repository / "museformer_plugin", "--save-dir", save_dir]
    done = run_command("python", "-c", TRAIN_IN_FLOAT32, data, *plugin, *TRAIN, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    found = torch.load(save_dir / "checkpoint_last.pt", weights_only=True)["model"]
    start = torch.load(folder / f"{kind}_after_3_updates.pt", weights_only=True)["model"]
    with np.load(folder / f"{kind}_after_6_updates.npz") as expected:
        assert set(found) - set(expected) <= {"decoder.rotary.counts_from_bar"}  # a mark that weights have since
        for name in expected:
            error = np.abs(found[name].numpy() - expected[name]).max()
            assert error <= 1e-5, (name, error)
            assert (found[name] != start[name]).any() or "bias" in name, name
