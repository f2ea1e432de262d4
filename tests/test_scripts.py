"""The user's shell scripts: help, wrong arguments, what they hand to fairseq, and songs from a checkpoint."""

import os
import re
import shutil
import subprocess
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parent.parent
SCRIPTS = ["train.sh", "generate.sh", "demo.sh", "evaluate.sh", "docs/results.sh"]


def run(script, *arguments, folder=None, **environment):
    return subprocess.run(
        [folder / script if folder else REPOSITORY / script, *map(str, arguments)],
        capture_output=True,
        text=True,
        env={**os.environ, "OMP_NUM_THREADS": "1", **environment},
    )


@pytest.mark.parametrize("script", SCRIPTS)
def test_help(script):
    done = run(script, "--help")
    assert done.returncode == 0
    assert done.stdout.startswith(f"Usage: ./{script}")


@pytest.mark.parametrize(
    ("script", "arguments", "sentence"),
    [
        ("train.sh", ["nowhere"], "nowhere has no dict.txt"),
        ("generate.sh", ["nowhere.pt", ".", "out"], "there is no checkpoint at nowhere.pt"),
        ("generate.sh", [__file__, ".", "out", "--peaces", "2"], "there is no option --peaces"),
        ("generate.sh", [__file__, __file__, "out", "--pieces", "0"], "--pieces takes a number from 1 up"),
        ("generate.sh", [__file__, __file__, "out", "--prompt-bars", "4"], "--prompt-bars goes with --prompt"),
        ("demo.sh", ["--nonsense"], "takes one folder"),
        ("demo.sh", [REPOSITORY], "exists already"),
    ],
)
def test_wrong_arguments_end_in_a_sentence(script, arguments, sentence):
    done = run(script, *arguments)
    assert done.returncode != 0
    assert sentence in done.stderr
    assert "Traceback" not in done.stderr


@pytest.fixture
def pretended(tmp_path):
    """train.sh in a folder whose Python says how many GPUs there are and whose fairseq-train prints its arguments."""
    folder = tmp_path / "a clone"
    (folder / ".venv/bin").mkdir(parents=True)
    shutil.copy(REPOSITORY / "train.sh", folder)
    for name, text in {
        "setup.sh": "exit 0",
        ".venv/bin/python": 'echo "$GPUS"',
        ".venv/bin/fairseq-train": 'printf "%s\\n" "$@"',
    }.items():
        (folder / name).write_text(f"#!/usr/bin/env bash\n{text}\n")
        (folder / name).chmod(0o755)
    (folder / "dict.txt").touch()
    return folder


@pytest.mark.parametrize(
    ("gpus", "update_freq"),
    [(0, 4), (1, 4), (2, 2), (3, 2), (4, 1), (8, 1)],
)
def test_four_pieces_an_update_or_the_next_multiple(pretended, gpus, update_freq):
    done = run("train.sh", pretended, folder=pretended, GPUS=str(gpus), RECIPE="paper")
    assert done.returncode == 0, done.stderr
    arguments = done.stdout.split("\n")
    assert arguments[arguments.index("--update-freq") + 1] == str(update_freq)
    assert ("--cpu" in arguments) == (gpus == 0)
    assert ("--fp16" in arguments) == (gpus > 0)


def test_the_cpu_may_be_chosen_beside_gpus(pretended):
    done = run("train.sh", pretended, "--cpu", folder=pretended, GPUS="8", PIECES_PER_UPDATE="1", RECIPE="paper")
    assert done.returncode == 0, done.stderr
    assert "--fp16" not in done.stdout


def test_pieces_that_do_not_divide_are_refused(pretended):
    done = run("train.sh", pretended, folder=pretended, GPUS="8", PIECES_PER_UPDATE="4")
    assert done.returncode == 2
    assert "PIECES_PER_UPDATE=4 is not divisible by 8" in done.stderr


def test_the_fast_recipe_is_the_first(pretended):
    done = run("train.sh", pretended, folder=pretended, GPUS="2", PRECISION="fp16", MAX_UPDATE="1000")
    assert done.returncode == 0, done.stderr
    arguments = done.stdout.split("\n")
    chosen = {name: arguments[arguments.index(name) + 1] for name in ("--arch", "--optimizer", "--window-updates")}
    assert chosen == {"--arch": "museformer_rotary", "--optimizer": "muon", "--window-updates": "900"}
    assert "--fp16-no-flatten-grads" in arguments
    assert "--truncate-train" not in arguments


def test_an_unknown_recipe_is_refused(pretended):
    done = run("train.sh", pretended, folder=pretended, GPUS="0", RECIPE="slow")
    assert done.returncode == 2
    assert done.stderr == "train.sh: RECIPE=slow is neither fast nor paper.\n"


@pytest.fixture(scope="module")
def converted(tmp_path_factory):
    """A converted checkpoint with random weights and its dictionary, in a folder with a space in its name."""
    from data_prep.vocabulary import SIX_TRACK
    from museformer_plugin.convert_checkpoint import convert

    folder = tmp_path_factory.mktemp("a model")
    convert(REPOSITORY / "tests/golden/model/six_track_checkpoint.pt", folder / "checkpoint.pt")
    (folder / "dict.txt").write_text(SIX_TRACK.dict_txt())
    return folder


def test_songs_from_scratch(converted, tmp_path):
    out = tmp_path / "new songs"
    done = run("generate.sh", converted / "checkpoint.pt", converted, out, "--pieces", "2", MAX_LEN="150")
    assert done.returncode == 0, done.stderr
    assert sorted(path.name for path in out.iterdir()) == ["generated.txt", "generated_0.mid", "generated_1.mid"]
    again = run("generate.sh", converted / "checkpoint.pt", converted, out, MAX_LEN="150")
    assert again.returncode != 0
    assert "holds songs already" in again.stderr


def test_a_continued_song_keeps_its_bars_and_key(converted, golden, tmp_path):
    from miditoolkit import MidiFile

    song = golden / "encode/midi/synth_minor_f.mid"
    out = tmp_path / "continued"
    arguments = ["--prompt", song, "--prompt-bars", "1"]
    done = run("generate.sh", converted / "checkpoint.pt", converted / "dict.txt", out, *arguments, MAX_LEN="400")
    assert done.returncode == 0, done.stderr

    def first_bar(path):
        midi = MidiFile(path)
        bar = 4 * midi.ticks_per_beat
        return sorted(
            {(n.start * 12 // midi.ticks_per_beat, n.pitch) for i in midi.instruments for n in i.notes if n.start < bar}
        )

    assert first_bar(out / "generated_0.mid") == first_bar(song)


def test_a_song_the_model_cannot_spell_is_no_prompt(converted, golden, tmp_path):
    song = golden / "encode/midi/synth_inst_all128.mid"
    done = run("generate.sh", converted / "checkpoint.pt", converted, tmp_path / "out", "--prompt", song)
    assert done.returncode != 0
    assert "cannot be a prompt: other instruments" in done.stderr
    assert not (tmp_path / "out").exists()


def test_the_readme_is_filled_in():
    text = (REPOSITORY / "README.md").read_text()
    assert not re.findall(r"@[A-Z]+@", text)
    for link in re.findall(r"\]\((?!http)([^)#]+)\)", text):
        assert (REPOSITORY / link).exists(), link
