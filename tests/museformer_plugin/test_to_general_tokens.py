"""A six-track model as the beginning of one of general tokens: what is kept, and what is told where it cannot be."""

import subprocess
import sys

import pytest
import torch
from fairseq.checkpoint_utils import load_model_ensemble_and_task

import museformer_plugin  # noqa: F401  (registers what the checkpoints name)
from data_prep.tokens.encode import encode
from data_prep.tokens.song import song_of
from data_prep.tokens.vocabulary import DRUMS, GENERAL, SIX_TRACK
from examples.make_songs import compose_song, to_midi
from museformer_plugin.errors import UserError
from museformer_plugin.to_general_tokens import general_parameters

SPECIALS = 4
HELD = [f"{f}-{n}" for f, ids in (("o", 48), ("p", 256), ("d", 96), ("v", 32), ("t", 49)) for n in range(ids)]
HELD += ["b-1", *[f"i-{instrument}" for instrument in SIX_TRACK.instruments]]  # what six-track pieces hold


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
    out = tmp_path_factory.mktemp("general") / "a new folder" / "start.pt"
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
    same = [word for word in HELD if word in set(GENERAL.symbols())]
    for path, folder in ((shipped / "model.pt", shipped), (general, general_folder)):
        model, dictionary = load(path, folder)
        tokens = torch.tensor([[dictionary.eos(), *map(dictionary.index, words)]])
        columns.append([dictionary.index(word) for word in same])
        logits.append(model(tokens)[0][0][:, columns[-1]])
    assert len(same) > 480
    assert columns[0] != columns[1]
    torch.testing.assert_close(logits[1], logits[0], rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize("name", ["decoder.embedding.token.weight", "decoder.output_projection.weight"])
def test_other_tokens_begin_as_what_is_nearest_to_them(general, shipped, name):
    six_track = torch.load(shipped / "model.pt", weights_only=True)["model"][name].float()
    rows = torch.load(general, weights_only=True)["model"][name]
    assert len(rows) == SPECIALS + len(GENERAL.symbols())

    def row(symbol):
        return rows[SPECIALS + GENERAL.symbols().index(symbol)]

    def mean(*symbols):
        return six_track[[SPECIALS + SIX_TRACK.symbols().index(symbol) for symbol in symbols]].mean(dim=0)

    for program, like in ((34, 43), (27, 25), (2, 0), (41, 48)):
        torch.testing.assert_close(row(f"i-{program}"), mean(f"i-{like}"), rtol=0, atol=0)
    torch.testing.assert_close(row("i-120"), mean(*[f"i-{instrument}" for instrument in SIX_TRACK.instruments]))
    for onset in (50, 100):  # of longer bars: the dictionary of six tracks has the first, its pieces never
        torch.testing.assert_close(row(f"o-{onset}"), mean(*[f"o-{n}" for n in range(48)]))
    never = [f"b-0 o-{n} d-{m} u-{k}".split() for n in range(48, 64) for m in range(96, 128) for k in range(17)]
    impossible = mean(*sorted({symbol for symbols in never for symbol in symbols}), "<c>", "</c>")
    for symbol in ("b-0", "d-96", "u-39", "e-1"):
        torch.testing.assert_close(row(symbol), impossible)
    torch.testing.assert_close(row("s-9"), mean(*HELD))


@pytest.mark.parametrize(
    ("before", "after"), [("conditions", "late_conditions"), ("conditions.embedding", "conditions.late")]
)
def test_what_is_said_of_tracks_moves_with_them(shipped, before, after):
    """In models from before commit f886ed0, as the one that ships, and in those since."""
    parameters = torch.load(shipped / "model.pt", weights_only=True)["model"]
    told = {
        f"decoder.{before}": parameters.pop("decoder.conditions"),
        f"decoder.{after}": parameters.pop("decoder.late_conditions"),
    }
    general = general_parameters({**parameters, **told})
    for name, rows in told.items():
        rows = rows.float()
        kept = len(rows) - len(SIX_TRACK.instruments)
        of_tracks = dict(zip(SIX_TRACK.instruments, rows[kept:]))
        of_instruments = dict(zip(GENERAL.instruments, general[name][kept:], strict=True))
        torch.testing.assert_close(general[name][:kept], rows[:kept], rtol=0, atol=0)
        for instrument, like in ((80, 80), (DRUMS, DRUMS), (34, 43), (41, 48), (0, 0), (3, 0)):
            torch.testing.assert_close(of_instruments[instrument], of_tracks[like], rtol=0, atol=0)
        torch.testing.assert_close(of_instruments[120], rows[kept:].mean(dim=0))
        assert not torch.equal(of_tracks[0], of_tracks[48])


def test_a_model_that_is_told_nothing_or_something_else(shipped):
    parameters = torch.load(shipped / "model.pt", weights_only=True)["model"]
    conditions = parameters.pop("decoder.conditions")
    del parameters["decoder.late_conditions"]
    assert not [name for name in general_parameters(parameters) if "conditions" in name]
    with pytest.raises(UserError, match="told of bars by 117 numbers, where models are now by 118"):
        general_parameters({**parameters, "decoder.conditions": conditions[1:]})


def test_what_cannot_be_done_is_told_in_a_sentence(command, general, shipped, tmp_path):
    before = general.read_bytes()
    for arguments, said in (
        ((shipped / "model.pt", general), "exists already; move it away"),
        ((general, tmp_path / "again.pt"), "The model is of general tokens already: train on from it as it is."),
        ((shipped / "dict.txt", tmp_path / "none.pt"), "The checkpoint is truncated or not a checkpoint"),
    ):
        done = command(*arguments)
        assert done.returncode == 1
        assert said in done.stderr
        assert done.stderr.count("\n") == 1, done.stderr
    assert not list(tmp_path.iterdir())
    assert general.read_bytes() == before
