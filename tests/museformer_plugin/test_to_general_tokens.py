"""A six-track model as the beginning of one of general tokens: what is kept, and what is told where it cannot be."""

import subprocess
import sys

import numpy as np
import pytest
import torch
from fairseq.checkpoint_utils import load_model_ensemble_and_task

import museformer_plugin  # noqa: F401  (registers what the checkpoints name)
from data_prep.tokens.encode import encode
from data_prep.tokens.song import song_of
from data_prep.tokens.vocabulary import GENERAL, SIX_TRACK
from examples.make_songs import compose_song, to_midi
from museformer_plugin.to_general_tokens import general_parameters

SPECIALS = 4


@pytest.fixture(scope="module")
def shipped(repository):
    return repository / "pretrained" / "six_track"


@pytest.fixture(scope="module")
def command(repository):
    """A function that runs the command with these arguments."""

    def run(*arguments):
        command = [sys.executable, "-W", "ignore", "-m", "museformer_plugin.to_general_tokens", *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=repository)

    return run


@pytest.fixture(scope="module")
def general(command, shipped, tmp_path_factory):
    """What the command makes of the weights that ship."""
    out = tmp_path_factory.mktemp("general") / "start.pt"
    done = command(shipped / "model.pt", out)
    assert done.returncode == 0, done.stderr
    return out


def load(path, folder):
    (model,), _, task = load_model_ensemble_and_task([str(path)], arg_overrides={"data": str(folder)})
    return model.eval().float(), task.source_dictionary


@pytest.fixture(scope="module")
def general_folder(tmp_path_factory):
    folder = tmp_path_factory.mktemp("dictionary")
    (folder / "dict.txt").write_text(GENERAL.dict_txt())
    return folder


@torch.no_grad()
def test_what_both_dictionaries_have_is_predicted_as_before(general, general_folder, shipped):
    """Tokens of six tracks, read by both: the same logits of the tokens that mean the same.

    But for tempos, which stand before a bar's first onset in one and behind it in the other.
    """
    words = encode(song_of(to_midi(compose_song(1, seed=1))), "six_track")[:600]
    words = [word for word in words if not word.startswith("t-")]
    logits, columns = [], []
    same = [word for word in SIX_TRACK.symbols() if word in set(GENERAL.symbols())]
    for path, folder in ((shipped / "model.pt", shipped), (general, general_folder)):
        model, dictionary = load(path, folder)
        tokens = torch.tensor([[dictionary.eos(), *map(dictionary.index, words)]])
        columns.append([dictionary.index(word) for word in same])
        logits.append(model(tokens)[0][0][:, columns[-1]])
    assert len(same) > 500
    assert columns[0] != columns[1]
    torch.testing.assert_close(logits[1], logits[0], rtol=1e-4, atol=1e-4)


def test_programs_begin_as_the_track_that_takes_them(general):
    rows = torch.load(general, weights_only=True)["model"]["decoder.embedding.token.weight"]

    def row(symbol):
        return rows[SPECIALS + GENERAL.symbols().index(symbol)]

    for program, like in ((34, 43), (27, 25), (2, 0), (41, 48)):
        torch.testing.assert_close(row(f"i-{program}"), row(f"i-{like}"), rtol=0, atol=0)
    tracks = torch.stack([row(f"i-{track.instrument}") for track in SIX_TRACK.tracks])
    torch.testing.assert_close(row("i-120"), tracks.mean(dim=0))


def test_what_is_said_of_tracks_moves_with_them(shipped):
    six_track = torch.load(shipped / "model.pt", weights_only=True)["model"]
    general = general_parameters(six_track)
    for name in ("decoder.conditions", "decoder.late_conditions"):
        before, after = six_track[name].float(), general[name]
        kept = len(before) - len(SIX_TRACK.instruments)
        assert len(after) == kept + len(GENERAL.instruments)
        torch.testing.assert_close(after[:kept], before[:kept], rtol=0, atol=0)
        for rank, instrument in enumerate(SIX_TRACK.instruments):
            at = kept + GENERAL.instruments.index(instrument)
            torch.testing.assert_close(after[at], before[kept + rank], rtol=0, atol=0)
    assert not np.array_equal(six_track["decoder.conditions"][-1], six_track["decoder.conditions"][-2])


def test_what_cannot_be_done_is_told_in_a_sentence(command, general, shipped, tmp_path):
    for arguments, said in (
        ((shipped / "model.pt", general), "exists already"),
        ((general, tmp_path / "again.pt"), "The model has 1024 dictionary entries, not those of six_track."),
        ((shipped / "dict.txt", tmp_path / "none.pt"), ""),
    ):
        done = command(*arguments)
        assert done.returncode == 1
        assert said in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
    assert not list(tmp_path.iterdir())
