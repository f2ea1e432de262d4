"""What the tests of evaluation share: random pieces, and a small model trained on them by fairseq's commands."""

import os
import random
import subprocess
import sys
from pathlib import Path

import pytest

from data_prep.tokens.grammar import GrammarState
from data_prep.tokens.vocabulary import REPRESENTATIONS, SIX_TRACK

PLUGIN = Path(__file__).resolve().parents[2] / "museformer_plugin"


def _write_piece(representation, bars, seed):
    """A random piece that keeps to the grammar, as words; about three notes a bar."""
    chance = random.Random(f"{representation.name} {bars} {seed}")
    state, words = GrammarState(representation), []
    while words.count("b-1") < bars:
        bounds = state.bounds()
        if "b" in bounds and chance.random() < 0.3:
            bounds = {"b": bounds["b"]}
        family = chance.choice(sorted(bounds))
        low, high = bounds[family]
        id_ = chance.randint(low, min(high, low + 9) if family == "o" else high)
        word = f"{family}-{representation.instruments[id_] if family == 'i' else id_}"
        if word != "s-126":  # a bar of 1/64 is shorter than a position
            state.advance(word)
            words.append(word)
    return words


@pytest.fixture(scope="session")
def write_piece():
    """A function (representation, bars, seed) to the words of a random piece that keeps to the grammar."""
    return _write_piece


@pytest.fixture(scope="session")
def run_command():
    """A function that runs a command of this Python environment and returns the finished process."""

    def run(*command, **keywords):
        name, *arguments = map(str, command)
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        program = Path(sys.executable).parent / name
        return subprocess.run(
            [program, *arguments], capture_output=True, text=True, timeout=300, env=environment, **keywords
        )

    return run


@pytest.fixture(scope="session")
def must_run(run_command):
    """The same, for commands that must succeed; the function returns what they printed."""

    def run(*command, **keywords):
        done = run_command(*command, **keywords)
        assert done.returncode == 0, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


@pytest.fixture(scope="session")
def piece_lines():
    """Token lines of small six-track data, by split."""
    bars = {"train": [4 + n % 5 for n in range(8)], "valid": [4], "test": [5, 9, 14, 7]}
    return {
        split: [" ".join(_write_piece(SIX_TRACK, count, f"{split} {n}")) for n, count in enumerate(counts)]
        for split, counts in bars.items()
    }


@pytest.fixture(scope="session")
def data_bin(must_run, piece_lines, tmp_path_factory):
    """``piece_lines`` as fairseq-preprocess writes them."""
    folder = tmp_path_factory.mktemp("data")
    (folder / "dict.txt").write_text(SIX_TRACK.dict_txt())
    arguments = ["--only-source", "--srcdict", folder / "dict.txt", "--destdir", folder / "bin"]
    for split, lines in piece_lines.items():
        (folder / f"{split}.tokens").write_text("".join(f"{line}\n" for line in lines))
        arguments += [f"--{split}pref", folder / f"{split}.tokens"]
    must_run("fairseq-preprocess", *arguments)
    return folder / "bin"


@pytest.fixture(scope="session")
def task_options():
    """What every command of fairseq's needs."""
    return ["--user-dir", PLUGIN, "--task", "museformer_language_modeling", "--cpu"]


@pytest.fixture(scope="session")
def checkpoint(must_run, data_bin, task_options, tmp_path_factory):
    """A very small model after three updates."""
    folder = tmp_path_factory.mktemp("checkpoint")
    small = ["--arch", "museformer_tiny", "--decoder-embed-dim", 16, "--decoder-ffn-embed-dim", 32]
    small += ["--token-embed-dim", 16, "--bar-embed-dim", 8, "--beat-embed-dim", 8, "--structure-bars", "1,2"]
    training = ["--optimizer", "adam", "--lr", 1e-2, "--max-update", 3, "--batch-size", 8, "--num-workers", 0]
    saving = ["--save-dir", folder, "--no-epoch-checkpoints", "--disable-validation", "--seed", 7]
    must_run("fairseq-train", data_bin, *task_options, *small, *training, *saving)
    return folder / "checkpoint_last.pt"


@pytest.fixture(scope="session")
def generate(must_run, data_bin, checkpoint, task_options):
    """A function that continues the test pieces with fairseq-generate and returns its folder."""

    def generate(folder, prompt_bars, *arguments):
        sampling = ["--sampling", "--sampling-topk", 8, "--beam", 1, "--max-len-b", 300, "--seed", 1]
        told = ["--path", checkpoint, "--prompt-bars", prompt_bars, "--results-path", folder]
        must_run("fairseq-generate", data_bin, *task_options, *sampling, *told, *arguments)
        return folder

    return generate


@pytest.fixture(scope="session")
def continued(generate, tmp_path_factory):
    """What fairseq-generate makes of the first two bars of each test piece."""
    return generate(tmp_path_factory.mktemp("continued"), 2)


@pytest.fixture(scope="session")
def representations():
    """Both representations by name."""
    return REPRESENTATIONS
