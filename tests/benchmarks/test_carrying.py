"""A training's checkpoint in parts, and its losses: what comes back is what it goes on from."""

import tarfile

import pytest
import torch

from benchmarks.gpu import carrying
from benchmarks.gpu.carrying import pack, unpack
from benchmarks.gpu.curve import append_losses, losses
from benchmarks.gpu.train_run import unpacked

LOG = """\
2026-01-01 00:00:01 | INFO | fairseq_cli.train | {'not': 'these'}
2026-01-01 00:00:02 | INFO | train_inner | {"epoch": 1, "loss": "2.5", "num_updates": "20"}
2026-01-01 00:00:03 | INFO | valid | {"epoch": 1, "valid_loss": "2.25"}
2026-01-01 00:00:04 | INFO | train | {"epoch": 1, "train_loss": "2.4"}
2026-01-01 00:00:05 | INFO | train_inner | {"epoch": 1, "lo
"""


@pytest.fixture
def checkpoint(tmp_path):
    """A file with what of fairseq's checkpoints matters here."""
    generator = torch.Generator().manual_seed(0)
    state = {
        "cfg": {"model": {"_name": "museformer"}},
        "model": {"weight": torch.randn(40, 50, generator=generator).bfloat16()},
        "optimizer_history": [{"num_updates": 300}],
        "extra_state": {"previous_training_time": 123.5},
        "last_optimizer_state": {
            "state": {
                0: {"momentum_buffer": torch.randn(40, 50, generator=generator)},
                1: {
                    "exp_avg": torch.randn(7, generator=generator),
                    "exp_avg_sq": torch.rand(7, generator=generator),
                    "step": torch.tensor(300.0),
                },
            },
            "param_groups": [{"lr": 0.04, "params": [0]}, {"lr": 0.006, "params": [1]}],
            "full_precision": [torch.randn(40, 50, generator=generator), torch.randn(7, generator=generator)],
        },
    }
    path = tmp_path / "checkpoint_last.pt"
    torch.save(state, path)
    return path


def test_what_goes_on_is_there(checkpoint, tmp_path, monkeypatch):
    monkeypatch.setattr(carrying, "_PART", 700)
    (tmp_path / "checkpoint.part99").write_bytes(b"of a run before")
    parts = pack(checkpoint, tmp_path)
    assert len(parts) > 4
    assert all(part.stat().st_size <= 700 for part in parts)
    joined = tmp_path / "next" / "checkpoint_last.pt"
    assert unpack(tmp_path, joined) == 123.5
    before, after = (torch.load(path, weights_only=True) for path in (checkpoint, joined))
    assert torch.equal(before["model"]["weight"], after["model"]["weight"])
    assert after["optimizer_history"] == before["optimizer_history"]
    assert after["last_optimizer_state"]["param_groups"] == before["last_optimizer_state"]["param_groups"]
    kept, was = after["last_optimizer_state"]["state"], before["last_optimizer_state"]["state"]
    momentum = kept[0]["momentum_buffer"].float()
    assert momentum.shape == (40, 50)
    assert not momentum.any()
    momentum.add_(1)  # every number has a place of its own
    assert kept[1]["step"] == 300
    for name in ("exp_avg", "exp_avg_sq"):
        torch.testing.assert_close(kept[1][name].float(), was[1][name], rtol=4e-3, atol=0)


def test_momentum_and_copies_take_no_room(checkpoint, tmp_path):
    (part,) = pack(checkpoint, tmp_path)
    assert part.stat().st_size < checkpoint.stat().st_size - 2 * 40 * 50 * 4


def test_nothing_to_go_on_from(tmp_path):
    with pytest.raises(FileNotFoundError, match="has no checkpoint.part0"):
        unpack(tmp_path, tmp_path / "checkpoint_last.pt")


def test_losses_of_updates_and_validations(tmp_path):
    expected = [
        {"kind": "train_inner", "epoch": 1, "loss": "2.5", "num_updates": "20"},
        {"kind": "valid", "epoch": 1, "valid_loss": "2.25"},
    ]
    assert losses(LOG) == expected
    log, curve = tmp_path / "training.txt", tmp_path / "curve.jsonl"
    log.write_text(LOG)
    assert [append_losses(log, curve) for _ in range(2)] == [2, 2]
    assert len(curve.read_text().splitlines()) == 4
    assert append_losses(tmp_path / "none.txt", curve) == 0


def test_data_come_packed_or_not(tmp_path):
    data_bin = tmp_path / "data-bin"
    data_bin.mkdir()
    (data_bin / "dict.txt").write_text("b-1 1\n")
    archive = tmp_path / "data.tar.gz"
    with tarfile.open(archive, "w:gz") as packed:
        packed.add(data_bin, arcname="data-bin")
        packed.add(data_bin / "dict.txt", arcname="../outside/dict.txt")
    found = unpacked(archive, tmp_path / "work")
    assert not (tmp_path / "outside").exists()
    assert found == tmp_path / "work" / "data-bin"
    assert (found / "dict.txt").read_text() == "b-1 1\n"
