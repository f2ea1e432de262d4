"""Every architecture is resumed as if it had never stopped, in any precision, and loads as fairseq's hub does it."""

import pytest
import torch
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq.models import ARCH_MODEL_REGISTRY
from fairseq_cli.train import main

ARCHITECTURES = {
    "museformer_rotary_tiny": [],
    "full_attention_rotary_tiny": [],
    "linear_transformer_rotary_tiny": [],
    "longformer_tiny": ["--window", "30"],
    "music_transformer_tiny": ["--max-relative-distance", "20"],
    "sparse_transformer_rotary_tiny": ["--sparse-stride", "12", "--sparse-expressivity", "3"],
    "transformer_xl_tiny": ["--segment-tokens", "30", "--memory-tokens", "20"],
}
SIZES = "--decoder-embed-dim 32 --decoder-ffn-embed-dim 32 --token-embed-dim 16 --bar-embed-dim 8 --beat-embed-dim 8"
TRAINING = "--optimizer muon --lr 0.02 --max-tokens 150 --num-workers 0 --disable-validation --log-format none"
WINDOWS = "--window-tokens 40,120 --window-updates 3 --save-interval-updates 100 --no-epoch-checkpoints"


@pytest.fixture
def train(data_bin, repository):
    """A function that trains in this process and returns the last checkpoint."""

    def train(folder, arch, updates, *more):
        task = ["--user-dir", str(repository / "museformer_plugin"), "--task", "museformer_language_modeling", "--cpu"]
        arguments = [
            str(data_bin),
            *task,
            "--arch",
            arch,
            *ARCHITECTURES[arch],
            *f"{SIZES} {TRAINING} {WINDOWS}".split(),
        ]
        arguments += ["--max-update", str(updates), "--save-dir", str(folder), *more]
        main(convert_namespace_to_omegaconf(options.parse_args_and_arch(options.get_training_parser(), arguments)))
        return folder / "checkpoint_last.pt"

    return train


@pytest.mark.parametrize("precision", [[], ["--bf16"]], ids=["float32", "bfloat16"])
@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_a_training_goes_on_where_it_stopped(train, tmp_path, arch, precision):
    whole = torch.load(train(tmp_path / "whole", arch, 6, *precision), weights_only=True)["model"]
    train(tmp_path / "in two", arch, 4, *precision)
    in_two = torch.load(train(tmp_path / "in two", arch, 6, *precision), weights_only=True)["model"]
    assert whole.keys() == in_two.keys()
    for name, tensor in whole.items():
        assert torch.equal(tensor, in_two[name]), name


@pytest.mark.parametrize("arch", ARCHITECTURES)
def test_it_trains_in_bfloat16_and_loads_from_its_folder(train, tmp_path, data_bin, arch, read_piece):
    checkpoint = train(tmp_path, arch, 3, "--bf16")
    hub = ARCH_MODEL_REGISTRY[arch].from_pretrained(str(tmp_path), checkpoint.name, data_name_or_path=str(data_bin))
    decoder = hub.models[0].decoder.eval().float()
    assert decoder.facts()
    logits = decoder(read_piece("six_track", bars=2, seed=1)[None])[0]
    assert torch.isfinite(logits).all() and logits.std() > 0
    trained = torch.load(checkpoint, weights_only=True)["model"]
    for name, tensor in hub.models[0].state_dict().items():
        assert torch.equal(tensor, trained[name].float()), name
