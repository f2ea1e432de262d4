"""Two processes train as one with twice the batches an update, whatever an architecture sends along with a batch.

One of each kind: Museformer with rotary positions, one of distances, one of plans. test_commands.py has the paper's
Museformer.
"""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest
import torch

from tests.architectures import SMALL
from tests.tiny_model import TINY, as_words
from tests.two_processes import distributed, free_port

MODELS = ["museformer", "music_transformer", "longformer"]
BATCHES = ["--max-tokens", "150", "--window-tokens", "40,120", "--window-updates", "2", "--num-workers", "0"]
TRAINING = ["--optimizer", "muon", "--lr", "0.02", "--dropout", "0", "--attention-dropout", "0", "--max-update", "4"]
SAVING = ["--disable-validation", "--no-epoch-checkpoints", "--save-dir"]


def options_of(model, folder):
    sizes = as_words({**TINY, **SMALL[model]})
    return ["--arch", f"{model}_rotary_tiny", *sizes, *BATCHES, *TRAINING, *SAVING, str(folder / model)]


@pytest.fixture(scope="module")
def of_two_processes(data_bin, repository, tmp_path_factory):
    """A folder with the checkpoints that two processes have trained together, a model after the other."""
    folder = tmp_path_factory.mktemp("two")
    port = free_port()
    task = [
        str(data_bin),
        "--user-dir",
        str(repository / "museformer_plugin"),
        "--task",
        "museformer_language_modeling",
    ]
    environment = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONPATH": str(repository)}
    processes = []
    for rank in (0, 1):
        told = [[*task, "--cpu", *options_of(model, folder), *distributed(rank, port)] for model in MODELS]
        (folder / f"{rank}.json").write_text(json.dumps(told))
        command = [sys.executable, Path(__file__).with_name("train_in_turn.py"), folder / f"{rank}.json"]
        with (folder / f"{rank}.log").open("w") as log:
            processes.append(subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment))
    deadline = time.monotonic() + 300
    while any(process.poll() is None for process in processes) and time.monotonic() < deadline:
        if any(process.poll() for process in processes):
            break  # the other would wait for it
        time.sleep(0.05)
    for process in processes:
        process.kill()
    said = "".join((folder / f"{rank}.log").read_text() for rank in (0, 1))
    assert [process.wait() for process in processes] == [0, 0], said
    return folder


@pytest.mark.parametrize("model", MODELS)
def test_two_processes_train_as_one_with_update_freq_2(of_two_processes, run_here, tmp_path, model):
    run_here("fairseq-train", *options_of(model, tmp_path), "--update-freq", 2)
    found, expected = (
        torch.load(folder / model / "checkpoint_last.pt", weights_only=True) for folder in (of_two_processes, tmp_path)
    )
    assert found["cfg"]["distributed_training"]["distributed_world_size"] == 2
    assert found["optimizer_history"][-1]["num_updates"] == expected["optimizer_history"][-1]["num_updates"] == 4
    torch.testing.assert_close(dict(found["model"]), dict(expected["model"]), rtol=0, atol=1e-5)
