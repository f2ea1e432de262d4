"""Every architecture, fairseq's own too, through all of fairseq's commands: resumed as if it had never stopped, scored
alike by both commands that score, and writing; those of ours in bfloat16 too, and loaded as fairseq's hub does it.

The commands run in this process; test_commands_of_architectures.py runs some as a person does.
"""

import re

import pytest
import torch
from fairseq.models import ARCH_MODEL_REGISTRY

from data_prep.tokens.grammar import check_piece
from data_prep.tokens.vocabulary import SIX_TRACK
from tests.architectures import KINDS, SMALL
from tests.tiny_model import TINY, as_words


def arch_of_ours(architecture, **options):
    muon = ["--optimizer", "muon", "--lr", 0.02]
    return [
        "--arch",
        f"{architecture}_rotary_tiny",
        *as_words({**TINY, **SMALL.get(architecture, {}), **options}),
        *muon,
    ]


WIDTHS = {"decoder_embed_dim": 16, "decoder_layers": 2}
TRANSFORMER = {**WIDTHS, "decoder_ffn_embed_dim": 32, "decoder_attention_heads": 2}
FAIRSEQS = {
    "lstm_lm": {**WIDTHS, "decoder_hidden_size": 16, "decoder_out_embed_dim": 16},
    "transformer_lm": TRANSFORMER,
    "transformer_lm_gpt": TRANSFORMER,
}
OURS = {name: arch_of_ours(**kind) for name, kind in KINDS.items()}
ALL = {
    **OURS,
    **{
        name: ["--arch", name, *as_words(sizes), "--optimizer", "adam", "--lr", 0.01]
        for name, sizes in FAIRSEQS.items()
    },
}
BATCHES = ["--max-tokens", 150, "--num-workers", 0, "--disable-validation", "--log-format", "none"]
WINDOWS = ["--window-tokens", "40,120", "--window-updates", 3, "--no-epoch-checkpoints"]
PROMPT = "t-37 o-0 i-80 p-60 d-5 v-20 b-1 t-37 o-6"


@pytest.fixture(scope="module")
def train(run_here):
    """A function that trains a model on windows and returns the last checkpoint."""

    def train(folder, model, updates, *more):
        saving = ["--max-update", updates, "--save-dir", folder]
        run_here("fairseq-train", *ALL[model], *BATCHES, *WINDOWS, *saving, *more)
        return folder / "checkpoint_last.pt"

    return train


@pytest.fixture(scope="module", params=ALL)
def trained(request, train, tmp_path_factory):
    """The name of a model, and its checkpoint after six updates."""
    return request.param, train(tmp_path_factory.mktemp(request.param), request.param, 6)


def parameters(checkpoint):
    return torch.load(checkpoint, weights_only=True)["model"]


def assert_writes(printed, prompts):
    """Whole pieces by the grammar, which begin with their prompts, and some of which go on behind them."""
    pieces = dict(re.findall(r"^H-(\d+)\t\S+\t(.*)$", printed, flags=re.MULTILINE))
    assert sorted(pieces) == [str(number) for number in range(len(prompts))]
    written = [pieces[str(number)].split() for number in range(len(prompts))]
    for words, prompt in zip(written, prompts):
        check_piece(words, SIX_TRACK)
        assert words[: len(prompt)] == prompt
    assert max(len(words) - len(prompt) for words, prompt in zip(written, prompts)) > 5


def test_a_training_goes_on_where_it_stopped(train, trained, tmp_path):
    model, checkpoint = trained
    train(tmp_path, model, 4)
    whole, in_two = parameters(checkpoint), parameters(train(tmp_path, model, 6))
    assert whole.keys() == in_two.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, in_two[name]), name


def test_validate_and_eval_lm_agree(run_here, trained):
    told = ["--path", trained[1], "--num-workers", 0]
    validated = run_here("fairseq-validate", *told, "--valid-subset", "test", "--batch-size", 2)
    scored = run_here("fairseq-eval-lm", *told, "--gen-subset", "test", "--max-tokens", 150)
    bits = float(re.search(r"Loss \(base 2\): ([\d.]+)", scored)[1])
    assert bits > 1
    assert float(re.search(r"\| loss ([\d.]+)", validated)[1]) == pytest.approx(bits, abs=0.0006)


@pytest.mark.parametrize("command", ["fairseq-generate", "fairseq-interactive"])
def test_it_writes(run_here, trained, piece_lines, tmp_path, command):
    writing = ["--path", trained[1], "--sampling", "--beam", 1, "--max-len-b", 200, "--batch-size", 3, "--streams", 2]
    if command == "fairseq-generate":
        prompts = [line[: line.index("b-1") + 3].split() for line in piece_lines["test"]]
        writing += ["--gen-subset", "test", "--prompt-bars", 1, "--num-workers", 0]
    else:
        prompts = [[], PROMPT.split(), []]
        (tmp_path / "prompts").write_text(f"\n{PROMPT}\n\n")
        writing += ["--input", tmp_path / "prompts", "--buffer-size", 3]
    assert_writes(run_here(command, *writing), prompts)


@pytest.mark.parametrize("model", OURS)
def test_it_goes_on_exactly_in_bfloat16_and_loads_from_its_folder(train, tmp_path, data_bin, model, read_piece):
    whole = parameters(train(tmp_path / "whole", model, 4, "--bf16"))
    train(tmp_path, model, 2, "--bf16")
    checkpoint = train(tmp_path, model, 4, "--bf16")
    arch = ARCH_MODEL_REGISTRY[OURS[model][1]]
    hub = arch.from_pretrained(str(tmp_path), checkpoint.name, data_name_or_path=str(data_bin))
    decoder = hub.models[0].decoder.eval().float()
    assert decoder.facts()
    logits = decoder(read_piece("six_track", bars=2, seed=1)[None])[0]
    assert torch.isfinite(logits).all() and logits.std() > 0
    kept = parameters(checkpoint)
    for name, tensor in hub.models[0].state_dict().items():
        assert torch.equal(tensor, kept[name].float()), name
        assert torch.equal(kept[name], whole[name]), name
