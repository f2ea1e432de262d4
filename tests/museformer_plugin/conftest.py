"""What the tests of the plugin share: dictionaries, random pieces, small models, commands."""

import os
import random
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
import torch
from fairseq.data import Dictionary
from fairseq.models import MODEL_DATACLASS_REGISTRY, MODEL_REGISTRY

from data_prep.tokens.grammar import GrammarState
from data_prep.tokens.vocabulary import REPRESENTATIONS
from museformer_plugin.convert_checkpoint import convert_options, convert_parameters, read_original
from museformer_plugin.models.museformer import MuseformerConfig, MuseformerDecoder
from museformer_plugin.token_families import TokenFamilies
from tests.architectures import SMALL
from tests.tiny_model import TINY


def _dictionary_of(name):
    dictionary = Dictionary()
    for symbol in REPRESENTATIONS[name].symbols():
        dictionary.add_symbol(symbol)
    return dictionary


def _write_piece(name, bars, seed, notes_a_bar=3):
    """A piece of ``bars`` random bars, all kinds of tokens in it, as words."""
    chance = random.Random(f"{name} {bars} {seed}")
    state, words = GrammarState(REPRESENTATIONS[name]), []
    instruments = REPRESENTATIONS[name].instruments
    for _ in range(bars):
        room = chance.randrange(2 * notes_a_bar + 1)
        while True:
            bounds = state.bounds()
            if room <= 0 and "b" in bounds:
                bounds = {"b": bounds["b"]}
            elif len(bounds) > 1:
                bounds.pop("b", None)
            family = chance.choice(sorted(bounds))
            id_ = chance.randint(*bounds[family])
            if family == "s":
                id_ = chance.choice([8, 9, 19])  # 3/4, 4/4, 6/8
            elif family == "o":  # leave room for more
                id_ = min(id_, bounds[family][0] + chance.randrange(12))
            elif family == "i":
                id_ = instruments[id_]
            word = f"{family}-{id_}"
            assert word != "s-126"  # a bar of 1/64 is shorter than a position
            state.advance(word)
            words.append(word)
            room -= family == "v"
            if family == "b":
                break
    return words


@pytest.fixture(scope="session")
def dictionary_of():
    """A function from the name of a representation to its fairseq dictionary."""
    return _dictionary_of


@pytest.fixture(scope="session")
def families_of():
    """A function from the name of a representation to the families of its tokens."""
    return lambda name: TokenFamilies(_dictionary_of(name))


@pytest.fixture(scope="session")
def write_piece():
    """A function (representation, bars, seed) to the words of a random piece that keeps to the grammar."""
    return _write_piece


@pytest.fixture(scope="session")
def read_piece():
    """A function (representation, bars, seed) to such a piece as the model reads it: int64, ``</s>`` first."""

    def read(name, bars, seed, notes_a_bar=3):
        dictionary = _dictionary_of(name)
        words = _write_piece(name, bars, seed, notes_a_bar)
        return torch.tensor([dictionary.eos(), *(dictionary.index(word) for word in words)])

    return read


@pytest.fixture(scope="session")
def build_decoder():
    """A function from a representation and options to a small decoder with random weights."""

    def build(name="six_track", seed=0, dtype=torch.float64, architecture="museformer", **options):
        torch.manual_seed(seed)
        config, decoder_class = MODEL_DATACLASS_REGISTRY[architecture], MODEL_REGISTRY[architecture].decoder_class
        decoder = decoder_class(config(**{**TINY, **SMALL.get(architecture, {}), **options}), _dictionary_of(name))
        for parameter in decoder.parameters():  # biases are made 0, which would hide what is done with them
            if not parameter.any():
                torch.nn.init.normal_(parameter, std=0.5)
        return decoder.to(dtype).eval()

    return build


@pytest.fixture(scope="session")
def load_original():
    """A function from an original checkpoint and its representation to a decoder with its parameters."""

    def load(path, name, dtype=torch.float64):
        args, parameters = read_original(path)
        options = convert_options(args, len(parameters["decoder.embed_regular_tokens.weight"]))
        converted = convert_parameters(parameters, options["decoder_layers"], not options["no_coarse_attention"])
        decoder = MuseformerDecoder(MuseformerConfig(**options), _dictionary_of(name))
        decoder.load_state_dict({key.removeprefix("decoder."): value for key, value in converted.items()})
        return decoder.to(dtype).eval()

    return load


@pytest.fixture(scope="session")
def golden_case():
    """A function that reads a golden ``.npz`` of the model as a dictionary of arrays."""

    def read(path):
        with np.load(path) as arrays:
            return {name: arrays[name] for name in arrays}

    return read


@pytest.fixture(scope="session")
def run_command():
    """A function that runs a command of this Python environment and returns the finished process."""

    def run(*command, timeout=300, **keywords):
        name, *arguments = map(str, command)
        program = Path(sys.executable).parent / name
        keywords.setdefault("env", {**os.environ, "OMP_NUM_THREADS": "1"})
        return subprocess.run([program, *arguments], capture_output=True, text=True, timeout=timeout, **keywords)

    return run


@pytest.fixture(scope="session")
def fairseq_preprocess(run_command):
    """A function that binarises token lines by split (split -> lines) with fairseq-preprocess."""

    def preprocess(folder, lines_by_split, representation):
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "dict.txt").write_text(REPRESENTATIONS[representation].dict_txt())
        arguments = ["--only-source", "--srcdict", folder / "dict.txt", "--destdir", folder / "bin"]
        for split, lines in lines_by_split.items():
            (folder / f"{split}.tokens").write_text("".join(f"{line}\n" for line in lines))
        for kind in ("train", "valid", "test"):
            files = [str(folder / f"{split}.tokens") for split in lines_by_split if split.startswith(kind)]
            if files:
                arguments += [f"--{kind}pref", ",".join(files)]
        done = run_command("fairseq-preprocess", *arguments)
        assert done.returncode == 0, done.stderr
        return folder / "bin"

    return preprocess


@pytest.fixture(scope="session")
def piece_lines():
    """Token lines of small six-track data, by split; unequal pieces, 13 for training."""
    bars = {"train": [2 + n % 5 for n in range(13)], "valid": [3, 5, 4], "test": [4, 2, 6]}
    return {
        split: [" ".join(_write_piece("six_track", count, f"{split} {n}")) for n, count in enumerate(counts)]
        for split, counts in bars.items()
    }


@pytest.fixture(scope="session")
def data_bin(fairseq_preprocess, piece_lines, tmp_path_factory):
    """``piece_lines`` as fairseq-preprocess writes them."""
    return fairseq_preprocess(tmp_path_factory.mktemp("data"), piece_lines, "six_track")
