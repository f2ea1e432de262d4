import json
import os
import pickle
import signal
import subprocess
import sys
from argparse import Namespace

import pytest
import torch

from museformer_plugin.convert_checkpoint import convert, convert_options, convert_parameters, main, read_original
from museformer_plugin.errors import UserError
from museformer_plugin.fc_attention import BarLayout, PieceBars
from museformer_plugin.models.museformer import MuseformerConfig, MuseformerLanguageModel, parse_structure_bars

PAPER_COARSE = ((None, -32), (-31, -24), (-23, -16), (-15, -12), (-11, -8), (-7, -4), -3)


def tuples(value):
    """JSON's lists as the tuples that the original's options are."""
    return tuple(map(tuples, value)) if isinstance(value, list) else value


@pytest.fixture
def original(golden):
    """(options, parameters) of the six-track fixture."""
    return read_original(golden / "model" / "six_track_checkpoint.pt")


@pytest.fixture(params=["six_track", "general"])
def checkpoint(request, golden):
    return golden / "model" / f"{request.param}_checkpoint.pt"


def test_the_converted_checkpoint_holds_plain_values(checkpoint, tmp_path):
    convert(checkpoint, tmp_path / "ours.pt")
    state = torch.load(tmp_path / "ours.pt", weights_only=True)
    assert state["cfg"]["task"]["_name"] == "museformer_language_modeling"
    assert state["cfg"]["model"]["structure_bars"] == "1,2,4,8,12,16,24,32"
    assert state["cfg"]["common"]["user_dir"] is None
    assert [file.name for file in tmp_path.iterdir()] == ["ours.pt"]


def test_checkpoints_of_fairseqs_older_models_load_after_a_conversion(original, tmp_path):
    """They hold a Namespace, too, which museformer_plugin.models.any_fairseq allows."""
    torch.save({"cfg": {"model": Namespace(arch="lstm_lm")}}, tmp_path / "checkpoint.pt")
    assert torch.load(tmp_path / "checkpoint.pt", weights_only=True)["cfg"]["model"].arch == "lstm_lm"


def test_the_converted_checkpoint_names_no_folder_of_this_machine(checkpoint, tmp_path, repository):
    convert(checkpoint, tmp_path / "ours.pt")
    cfg = torch.load(tmp_path / "ours.pt", weights_only=True)["cfg"]
    assert str(repository) not in json.dumps(cfg)


@pytest.mark.parametrize(("file", "name"), [("lmd6remi", "six_track"), ("general", "general")])
def test_the_full_size_original_becomes_the_paper_size(golden, dictionary_of, file, name):
    """Every one of its parameters has a place, and ours are all filled, with the shapes they have."""
    spec = json.loads((golden / "model" / f"{file}_full_size_state_dict_spec.json").read_text())
    args = Namespace(**{option: tuples(value) for option, value in spec["args"].items()})
    parameters = {}
    for entry in spec["state_dict"]:
        tied = entry["tied_to"]
        parameters[entry["name"]] = parameters[tied] if tied else torch.randn(entry["shape"])
    options = convert_options(args, len(parameters["decoder.embed_regular_tokens.weight"]))
    cfg = MuseformerConfig(**options)
    assert parse_structure_bars(cfg.structure_bars) == (1, 2, 4, 8, 12, 16, 24, 32)
    with torch.device("meta"):
        task = Namespace(target_dictionary=dictionary_of(name))
        ours = {
            key: tensor.shape for key, tensor in MuseformerLanguageModel.build_model(cfg, task).state_dict().items()
        }
    converted = convert_parameters(parameters, options["decoder_layers"], coarse=True)
    assert {key: tensor.shape for key, tensor in converted.items()} == ours


def with_scheme(args, con2con, con2sum):
    return Namespace(**{**vars(args), "con2con": ((con2con,),), "con2sum": ((con2sum,),)})


@pytest.mark.parametrize(
    ("con2con", "con2sum", "structure_bars", "no_coarse"),
    [
        (((-2, 0), -4, -8, -12, -16, -24, -32), PAPER_COARSE, "1,2,4,8,12,16,24,32", False),
        (((-8, 0),), ((None, -8),), "1,2,3,4,5,6,7,8", False),
        ((-1,), ((None, -1),), "1", False),
        ((-3, -1), ((None, -3), -2), "1,3", False),
        ((-1, -2), None, "1,2", True),
        (None, ((None, 0),), "", False),
    ],
    ids=["paper", "last_eight_bars", "last_bar", "odd_order", "no_coarse", "coarse_only"],
)
def test_schemes(original, con2con, con2sum, structure_bars, no_coarse):
    options = convert_options(with_scheme(original[0], con2con, con2sum), 560)
    assert (options["structure_bars"], options["no_coarse_attention"]) == (structure_bars, no_coarse)


@pytest.mark.parametrize("scheme", ["default", "last_eight_bars", "all_bars_coarse"])
def test_schemes_mean_the_masks_of_the_original(golden, original, scheme):
    case = next(
        c for c in json.loads((golden / "masks" / "index.json").read_text()) if c["file"] == f"mask_seed1_{scheme}.npz"
    )
    args = Namespace(**{**vars(original[0]), **{key: tuples(case[key]) for key in ("con2con", "con2sum")}})
    options = convert_options(args, 560)
    assert parse_structure_bars(options["structure_bars"]) == tuple(case["structure_bars"])


@pytest.mark.parametrize(
    ("con2con", "con2sum"),
    [
        (((-2, 0),), ((None, -3),)),
        (((-2, 0),), ((None, -1),)),
        (((-2, 0), -4), ((None, -4), (-4, -2))),
        (((-2, 0),), (-3,)),
    ],
    ids=["gap", "twice", "twice_within", "not_all"],
)
def test_coarse_that_is_not_the_complement_of_fine_is_refused(original, con2con, con2sum):
    with pytest.raises(UserError, match="con2sum is not the complement"):
        convert_options(with_scheme(original[0], con2con, con2sum), 560)


def test_fine_without_end_is_refused(original):
    with pytest.raises(UserError, match="attends to all bars token by token"):
        convert_options(with_scheme(original[0], ((None, 0),), None), 560)


@pytest.mark.parametrize("per", ["layer", "head"])
def test_schemes_that_differ_are_refused(original, per):
    one, other = ((-2, 0),), (-1,)
    scheme = ((one,), (other,)) if per == "layer" else ((one, other),)
    args = Namespace(**{**vars(original[0]), "con2con": scheme})
    with pytest.raises(UserError, match=f"con2con differs from {per} to {per}"):
        convert_options(args, 560)


@pytest.mark.parametrize(
    ("option", "value", "sentence"),
    [
        ("num_summary_tokens_each_chunk", 2, "num_summary_tokens_each_chunk = 2; only 1 can be converted"),
        ("activation_fn", "relu", "activation_fn = 'relu'"),
        ("ffn_embed_dim", (32, 64), "ffn_embed_dim differs from layer to layer"),
        ("beat_mask_ts", True, "beat_mask_ts = True does not go with a dictionary of 560 entries"),
    ],
)
def test_a_model_that_ours_cannot_be_is_refused(original, option, value, sentence):
    args = Namespace(**{**vars(original[0]), option: value})
    with pytest.raises(UserError, match=sentence):
        convert_options(args, 560)


def test_an_unknown_dictionary_is_refused(original):
    with pytest.raises(UserError, match="999 dictionary entries"):
        convert_options(original[0], 999)


def test_a_missing_parameter_is_told(original):
    args, parameters = original
    del parameters["decoder.layers.1.self_attn.sum_key_bias"]
    with pytest.raises(UserError, match=r"lacks the parameter decoder\.layers\.1\.self_attn\.sum_key_bias"):
        convert_parameters(parameters, 2, coarse=True)


def test_a_parameter_without_a_place_is_told(original):
    parameters = {**original[1], "decoder.rotary.weight": torch.ones(1)}
    with pytest.raises(UserError, match=r"decoder\.rotary\.weight has no counterpart"):
        convert_parameters(parameters, 2, coarse=True)


def test_a_copy_that_is_not_tied_is_told(original):
    parameters = dict(original[1])
    name = next(name for name in parameters if "sum_fc1.weight" in name or "sum_query_proj.weight" in name)
    parameters[name] = parameters[name] + 1
    with pytest.raises(UserError, match="has no counterpart"):
        convert_parameters(parameters, 2, coarse=True)


@pytest.fixture
def run_convert(monkeypatch, capsys):
    """A function that runs the command in this process: (exit status, what it printed for the user)."""

    def run(*arguments):
        monkeypatch.setattr(sys, "argv", ["convert_checkpoint", *map(str, arguments)])
        status = main()
        return status, capsys.readouterr().err

    return run


class Intruder:
    """Pickles as a call that makes a file."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


def spoil(kind, golden, folder):
    """A file that is no good checkpoint."""
    file = folder / "spoilt.pt"
    whole = (golden / "model" / "six_track_checkpoint.pt").read_bytes()
    if kind == "truncated":
        file.write_bytes(whole[: len(whole) // 2])
    elif kind == "cut_at_the_end":
        file.write_bytes(whole[:-10])
    elif kind == "empty":
        file.write_bytes(b"")
    elif kind == "text":
        file.write_text("hello\n")
    elif kind == "code":
        torch.save({"args": Namespace(), "model": Intruder(folder / "ran")}, file)
    elif kind == "old_pickle_with_code":
        file.write_bytes(pickle.dumps(Intruder(folder / "ran"), protocol=2))
    elif kind == "tensor":
        torch.save(torch.ones(2), file)
    return file


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [
        ("missing", "No such file"),
        ("truncated", "truncated"),
        ("cut_at_the_end", "truncated"),
        ("empty", "truncated"),
        ("text", "checkpoint"),
        ("code", "could run code"),
        ("old_pickle_with_code", "could run code"),
        ("tensor", "holds no 'args' and 'model'"),
    ],
)
def test_no_checkpoint_ends_in_a_sentence(golden, tmp_path, run_convert, kind, sentence):
    status, printed = run_convert(spoil(kind, golden, tmp_path), tmp_path / "ours.pt")
    assert status == 1
    assert sentence in printed
    assert printed.startswith("museformer: ")
    assert printed.count("\n") == 1
    assert not (tmp_path / "ours.pt").exists()
    assert not (tmp_path / "ran").exists()


def test_a_folder_that_is_not_there_is_told(golden, tmp_path, run_convert):
    status, printed = run_convert(golden / "model" / "six_track_checkpoint.pt", tmp_path / "nowhere" / "ours.pt")
    assert status == 1
    assert printed.startswith("museformer: [Errno 2] No such file or directory: ")


def test_a_full_disk_is_told(golden, tmp_path, run_convert):
    resource = pytest.importorskip("resource")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)  # so that writing fails instead
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, limits[1]))
    try:
        status, printed = run_convert(golden / "model" / "six_track_checkpoint.pt", tmp_path / "ours.pt")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
        signal.signal(signal.SIGXFSZ, handler)
    assert status == 1
    assert printed == "museformer: No space is left on the device: free some and resume.\n"
    assert not list(tmp_path.iterdir())


def test_the_command_converts(golden, tmp_path, repository):
    command = [sys.executable, "-m", "museformer_plugin.convert_checkpoint"]
    command += [golden / "model" / "general_checkpoint.pt", tmp_path / "ours.pt"]
    done = subprocess.run(command, cwd=repository, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    ours = tmp_path / "ours.pt"
    assert done.stderr == f"{ours}: 228416 parameters, structure bars 1,2,4,8,12,16,24,32\n"
    assert ours.is_file()


def test_no_coarse_attention_converts_to_a_model_without_summaries(original, dictionary_of):
    """As the original without it keeps no summaries' parameters."""
    args, parameters = original
    options = convert_options(with_scheme(args, (-1, -2), None), 560)
    own_to_summaries = ("summary_tokens", "sum_proj_embeddings", "sum_query_bias", "sum_key_bias", "sum_value_bias")
    own_to_summaries += ("sum_key2_proj", "sum_value2_proj")
    kept = {name: tensor for name, tensor in parameters.items() if not any(part in name for part in own_to_summaries)}
    converted = convert_parameters(kept, options["decoder_layers"], coarse=False)
    task = Namespace(target_dictionary=dictionary_of("six_track"))
    model = MuseformerLanguageModel.build_model(MuseformerConfig(**options), task)
    model.load_state_dict(converted)
    piece = PieceBars(3, torch.tensor([1]).numpy(), 1)
    assert BarLayout.build([piece], model.decoder.structure_bars, model.decoder.coarse).num_summaries == 0
