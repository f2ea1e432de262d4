"""The weights that ship: what lies in every folder of ``pretrained/``."""

import math
import os
import subprocess
from pathlib import Path

import pytest
import torch
import torch.nn.functional as F
from fairseq.checkpoint_utils import load_model_ensemble_and_task

import museformer_plugin  # noqa: F401  (registers what the checkpoints name)
from data_prep.tokens.encode import encode
from data_prep.tokens.song import song_of
from data_prep.tokens.vocabulary import REPRESENTATIONS
from examples.make_songs import compose_song, to_midi

REPOSITORY = Path(__file__).resolve().parent.parent
BITS = {"six_track": 0.8960, "general": 1.2502}
FOLDERS = sorted(path.parent for path in (REPOSITORY / "pretrained").glob("*/model.pt"))


@pytest.fixture(params=FOLDERS, ids=lambda folder: folder.name)
def folder(request):
    return request.param


def test_a_model_of_each_representation_ships():
    assert [folder.name for folder in FOLDERS] == sorted(REPRESENTATIONS)


def test_weights_are_small_and_hold_nothing_but_tensors(folder):
    assert (folder / "model.pt").stat().st_size <= 12e6
    state = torch.load(folder / "model.pt", weights_only=True)
    assert {tensor.dtype for tensor in state["model"].values()} == {torch.float16}
    assert state["last_optimizer_state"] is None


def test_the_dictionary_is_that_of_the_representation(folder):
    assert (folder / "dict.txt").read_text() == REPRESENTATIONS[folder.name].dict_txt()


def test_the_card_says_what_it_learnt_from_and_how(folder):
    card = (folder / "README.md").read_text()
    for said in ("licence", "train.sh", "perplexity", "What it cannot do"):
        assert said in card


@torch.no_grad()
def test_it_is_read_as_it_was_trained(folder):
    """Bits a token of a song of ours: another meaning of its positions or options would show here alone."""
    song = song_of(to_midi(compose_song(1, seed=1)))
    (model,), _, task = load_model_ensemble_and_task([str(folder / "model.pt")], arg_overrides={"data": str(folder)})
    words = encode(song, folder.name)
    entries = [task.source_dictionary.index(word) for word in words]
    tokens = torch.tensor([task.source_dictionary.eos(), *entries])
    logits = model.eval().float()(tokens[None])[0][0, :-1]
    bits = F.cross_entropy(logits.double(), tokens[1:]).item() / math.log(2)
    assert bits == pytest.approx(BITS[folder.name], abs=5e-4)


@pytest.mark.slow
def test_it_writes_a_song(folder, tmp_path):
    command = [REPOSITORY / "generate.sh", folder / "model.pt", folder, tmp_path / "songs"]
    options = {"MAX_LEN": "300", "SEED": "1"}
    done = subprocess.run(command, capture_output=True, text=True, env={**os.environ, **options})
    assert done.returncode == 0, done.stderr
    assert [path.suffix for path in sorted((tmp_path / "songs").iterdir())] == [".txt", ".mid", ".html", ".json"]
    bars = (tmp_path / "songs" / "generated.txt").read_text().count("b-1")
    assert bars >= 1
