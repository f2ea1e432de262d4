"""fairseq's own commands with ``--user-dir museformer_plugin``, as a person runs them."""

import math
import os
import re
import resource
import signal
import subprocess
import sys
import time
from argparse import Namespace
from pathlib import Path

import pytest
import torch
from fairseq.data import data_utils
from fairseq.models import ARCH_CONFIG_REGISTRY

from data_prep.tokens.grammar import check_piece
from data_prep.tokens.token_files import read_token_lines
from data_prep.tokens.vocabulary import REPRESENTATIONS
from data_prep.tokens_to_midi import decode
from museformer_plugin.convert_checkpoint import convert
from tests.two_processes import distributed, free_port

SIX_TRACK = REPRESENTATIONS["six_track"]
PLUGIN = Path(__file__).resolve().parents[2] / "museformer_plugin"
HAS_GPU = torch.cuda.is_available()
TASK = ["--user-dir", PLUGIN, "--task", "museformer_language_modeling"]
SMALL = ["--arch", "museformer_tiny", "--decoder-embed-dim", 16, "--decoder-ffn-embed-dim", 32]
SMALL += ["--token-embed-dim", 16, "--bar-embed-dim", 8, "--beat-embed-dim", 8]
TRAIN = [*TASK, *SMALL, "--cpu", "--optimizer", "adam", "--lr", 1e-2, "--log-format", "simple", "--seed", 1]
TRAIN += ["--num-workers", 0]
MUON = ["--optimizer", "muon", "--lr", 0.02, "--adamw-lr", 1e-2]
WINDOWS = ["--max-tokens", 150, "--window-tokens", "40,120", "--window-updates", 7]
SAMPLE = ["--cpu", "--sampling", "--sampling-topk", 8, "--max-len-b", 250, "--seed", 1]


@pytest.fixture(scope="module")
def train(run_command, data_bin):
    """A function that trains into a folder and returns the finished process; ``--max-update 6`` or as told."""

    def train(save_dir, *arguments, max_update=6, data=data_bin):
        command = ["fairseq-train", data, *TRAIN, "--save-dir", save_dir, "--max-update", max_update, *arguments]
        return run_command(*command)

    return train


@pytest.fixture(scope="module")
def trained(train, tmp_path_factory):
    """The last checkpoint of a short training, and what it printed."""
    folder = tmp_path_factory.mktemp("trained")
    done = train(folder, "--batch-size", 4)
    assert done.returncode == 0, printed(done)
    return folder / "checkpoint_last.pt", printed(done)


def printed(done):
    return done.stdout + done.stderr


def parameters(checkpoint):
    return torch.load(checkpoint, weights_only=True)["model"]


def assert_same_parameters(found, expected, **tolerance):
    found, expected = parameters(found), parameters(expected)
    assert found.keys() == expected.keys()
    for name, tensor in expected.items():
        torch.testing.assert_close(found[name], tensor, **tolerance, msg=lambda text, name=name: f"{name}: {text}")


def number_after(label, text):
    return float(re.findall(rf"{re.escape(label)}\s*(-?[\d.]+)", text)[-1])


def hypotheses(text):
    """The lines that fairseq printed, as words: kind (S, T or H) -> number of the example -> lines."""
    lines = {"S": {}, "T": {}, "H": {}}
    for kind, number, line in re.findall(r"^([STH])-(\d+)\t(.*)$", text, flags=re.MULTILINE):
        words = line.rpartition("\t")[2]
        lines[kind].setdefault(int(number), []).append(words.split())
    return lines


# what works


def test_preprocessing_keeps_every_token(data_bin, dictionary_of, piece_lines):
    dictionary = dictionary_of("six_track")
    for split, lines in piece_lines.items():
        pieces = data_utils.load_indexed_dataset(str(data_bin / split), dictionary)
        found = [[dictionary[entry] for entry in piece.tolist()] for piece in pieces]
        assert found == [[*line.split(), "</s>"] for line in lines]


def test_training_learns(train, tmp_path):
    done = train(tmp_path, "--batch-size", 4, "--log-interval", 1, "--no-save", max_update=12)
    assert done.returncode == 0, printed(done)
    losses = [float(loss) for loss in re.findall(r"train_inner .* loss=([\d.]+)", printed(done))]
    assert len(losses) == 12
    assert losses[-1] < losses[0] - 0.5
    if not torch.cuda.is_available():
        seconds = [float(found) for found in re.findall(r"train_inner .* cpu=([\d.]+)", printed(done))]
        assert len(seconds) == 12
        assert sum(seconds) > 0


def test_no_piece_is_lost_in_an_epoch(trained):
    """13 pieces in batches of 4 are 4 batches, whatever multiple fairseq asks for."""
    assert "total_num_itrs = 4" in trained[1]


def test_checkpoints_hold_plain_values(trained):
    state = torch.load(trained[0], weights_only=True)
    assert state["cfg"]["model"]["decoder_embed_dim"] == 16
    assert state["last_optimizer_state"] is not None


def test_eval_lm_in_bfloat16(run_command, data_bin, trained):
    """Near the loss in float32, and not the same."""
    arguments = [data_bin, *TASK, "--path", trained[0], "--cpu", "--gen-subset", "test"]
    done = [run_command("fairseq-eval-lm", *arguments, *precision) for precision in ([], ["--bf16"])]
    exact, rounded = (float(re.search(r"Loss \(base 2\): ([0-9.]+)", printed(run))[1]) for run in done)
    assert exact != rounded
    assert rounded == pytest.approx(exact, rel=0.01)


def test_validate_and_eval_lm_agree(run_command, data_bin, trained):
    arguments = [data_bin, *TASK, "--path", trained[0], "--cpu"]
    validate = run_command("fairseq-validate", *arguments, "--valid-subset", "test", "--batch-size", 2)
    evaluate = run_command("fairseq-eval-lm", *arguments, "--gen-subset", "test", "--max-tokens", 150)
    assert validate.returncode == evaluate.returncode == 0, printed(validate) + printed(evaluate)
    bits = number_after("Loss (base 2):", printed(evaluate))
    assert bits > 1
    assert number_after("| loss", printed(validate)) == pytest.approx(bits, abs=0.0006)


@pytest.mark.parametrize(
    ("name", "case"),
    [("six_track", "six_track__band_1"), ("six_track", "six_track__duo_1"), ("general", "general__any_0")],
    ids=lambda value: value if "__" in value else "",
)
def test_eval_lm_gives_the_originals_loss(
    run_command, fairseq_preprocess, golden, golden_case, dictionary_of, tmp_path, name, case
):
    recorded = golden_case(golden / "model" / f"{case}.npz")
    dictionary = dictionary_of(name)
    target = recorded["target"].tolist()
    words = [dictionary[entry] for entry in target if entry != dictionary.eos()]
    data = fairseq_preprocess(tmp_path, {"test": [" ".join(words)]}, name)
    convert(golden / "model" / f"{name}_checkpoint.pt", tmp_path / "ours.pt")
    # fixtures may be cut inside a bar
    arguments = ["--no-grammar", "--truncate-test", len(target), "--path", tmp_path / "ours.pt", "--cpu"]
    done = run_command("fairseq-eval-lm", data, *TASK, *arguments)
    assert done.returncode == 0, printed(done)
    bits = float(recorded["nll_sum"]) / len(target) / math.log(2)
    assert f"Loss (base 2): {bits:.4f}, " in printed(done)
    # two decimals are printed, of a float32 sum of thousands of losses
    assert number_after("Perplexity:", printed(done)) == pytest.approx(2**bits, rel=0, abs=0.005 + 2e-6 * 2**bits)


@pytest.mark.parametrize("prompt_bars", [0, 2])
def test_generate(run_command, data_bin, trained, tmp_path, piece_lines, prompt_bars):
    arguments = ["--path", trained[0], "--prompt-bars", prompt_bars, "--beam", 2, "--nbest", 2, "--batch-size", 2]
    done = run_command("fairseq-generate", data_bin, *TASK, *SAMPLE, *arguments, "--results-path", tmp_path)
    assert done.returncode == 0, printed(done)
    results = tmp_path / "generate-test.txt"
    lines = hypotheses(results.read_text())
    assert sorted(lines["H"]) == [0, 1, 2]
    for number, pieces in lines["H"].items():
        example = piece_lines["test"][number].split()
        prompt = example[: [n for n, word in enumerate(example, 1) if word == "b-1"][1]] if prompt_bars else []
        assert len(pieces) == 2
        assert pieces[0] != pieces[1]
        for words in pieces:
            check_piece(words, SIX_TRACK)
            assert words[: len(prompt)] == prompt
        assert max(map(len, pieces)) > len(prompt)
    assert len(list(read_token_lines(results))) == 6
    assert all(decode(line.text.split(), strict=True).skipped == [] for line in read_token_lines(results))


@pytest.mark.parametrize("precision", [[], ["--bf16"]], ids=["float32", "bfloat16"])
def test_generate_repeats_with_its_seed(run_command, data_bin, trained, precision):
    arguments = [data_bin, *TASK, *SAMPLE, "--path", trained[0], "--beam", 1, *precision]
    first, again = (hypotheses(run_command("fairseq-generate", *arguments).stdout)["H"] for _ in range(2))
    assert len(first) == 3
    assert first == again


def test_pitches_of_any_temperature(run_command, data_bin, trained):
    """A model that has learnt little writes most pitches; at the coldest it writes the likeliest."""
    arguments = [data_bin, *TASK, "--path", trained[0], "--cpu", "--beam", 1, "--sampling", "--max-len-b", 250]
    pitches = []
    for given in ([], ["--family-temperatures", "pitch=0.01"]):
        done = run_command("fairseq-generate", *arguments, *given)
        assert done.returncode == 0, printed(done)
        written = [word for lines in hypotheses(done.stdout)["H"].values() for words in lines for word in words]
        pitches.append([word for word in written if word.startswith("p-")])
    warm, cold = (len(set(found)) / len(found) for found in pitches)
    assert cold < warm / 2
    done = run_command("fairseq-generate", *arguments, "--family-temperatures", "pich=1")
    assert_one_sentence(done, "--family-temperatures: there is no family 'pich'")


def test_interactive(run_command, data_bin, trained):
    prompt = "t-37 o-0 i-80 p-60 d-5 v-20 b-1 t-37 o-6"
    arguments = ["--path", trained[0], *SAMPLE, "--beam", 1, "--batch-size", 3, "--buffer-size", 3]
    done = run_command("fairseq-interactive", data_bin, *TASK, *arguments, input=f"\n{prompt}\n\n")
    assert done.returncode == 0, printed(done)
    pieces = hypotheses(done.stdout)["H"]
    assert sorted(pieces) == [0, 1, 2]
    for number, (words,) in pieces.items():
        check_piece(words, SIX_TRACK)
        assert words[:9] == prompt.split() or number != 1
    assert pieces[0] != pieces[2]


def test_interactive_needs_a_dictionary_alone(run_command, data_bin, trained, tmp_path):
    (tmp_path / "dict.txt").write_bytes((data_bin / "dict.txt").read_bytes())
    done = run_command("fairseq-interactive", tmp_path, *TASK, *SAMPLE, "--path", trained[0], "--beam", 1, input="\n")
    assert done.returncode == 0, printed(done)
    check_piece(hypotheses(done.stdout)["H"][0][0], SIX_TRACK)


def test_hydra_train(run_command, data_bin, tmp_path, repository):
    config = [PLUGIN / "config", "--config-name", "museformer_tiny"]
    overrides = [f"common.user_dir={PLUGIN}", f"task.data={data_bin}", f"checkpoint.save_dir={tmp_path}/ckpt"]
    overrides += ["model.structure_bars='1,2'", "task.window_tokens='40,120'", "task.window_updates='2'"]
    overrides += ["optimization.max_update=3", "dataset.batch_size=4", "common.cpu=true"]
    done = run_command("fairseq-hydra-train", "--config-dir", *config, *overrides, cwd=tmp_path)
    assert done.returncode == 0, printed(done)
    state = torch.load(tmp_path / "ckpt" / "checkpoint_last.pt", weights_only=True)
    assert state["optimizer_history"][-1]["num_updates"] == 3
    assert state["cfg"]["model"]["structure_bars"] == "1,2"
    assert state["cfg"]["model"]["decoder_embed_dim"] == 128
    assert state["cfg"]["task"]["window_tokens"] == "40,120"
    assert state["extra_state"]["train_iterator"]["updates"] == 3


def test_hydra_shows_a_sentence_alone(run_command, tmp_path):
    config = [PLUGIN / "config", "--config-name", "museformer_tiny"]
    overrides = [f"common.user_dir={PLUGIN}", "task.data=nowhere"]
    done = run_command("fairseq-hydra-train", "--config-dir", *config, *overrides, cwd=tmp_path)
    assert done.returncode == 1
    assert "There is no dictionary at nowhere/dict.txt" in done.stderr
    assert "Traceback" not in printed(done)


@pytest.mark.parametrize(
    "precision",
    [
        ["--bf16"],
        ["--fp16", "--fp16-no-flatten-grads", "--fp16-init-scale", 1],
        ["--fp16", "--memory-efficient-fp16", "--fp16-init-scale", 1],
    ],
    ids=["bf16", "fp16", "memory_efficient"],
)
def test_muon_learns(train, tmp_path, precision):
    done = train(tmp_path, "--batch-size", 4, "--log-interval", 1, *MUON, *precision, max_update=12)
    assert done.returncode == 0, printed(done)
    losses = [float(loss) for loss in re.findall(r"train_inner .* loss=([\d.]+)", printed(done))]
    assert len(losses) == 12
    assert losses[-1] < losses[0] - 0.5
    torch.load(tmp_path / "checkpoint_last.pt", weights_only=True)


def test_the_fast_recipe_in_a_configuration_file(run_command, data_bin, tmp_path):
    """It names the sizes of the preset, and options of Muon's are read from it and from the command line."""
    config = [PLUGIN / "config", "--config-name", "museformer_rotary_tiny"]
    overrides = [f"common.user_dir={PLUGIN}", f"task.data={data_bin}", f"checkpoint.save_dir={tmp_path}/ckpt"]
    overrides += ["task.window_tokens='40,120'", "task.window_updates='1'", "+optimizer.muon_momentum=0.9"]
    overrides += ["optimization.max_update=2", "common.cpu=true", "dataset.num_workers=0"]
    done = run_command("fairseq-hydra-train", "--config-dir", *config, *overrides, cwd=tmp_path)
    assert done.returncode == 0, printed(done)
    state = torch.load(tmp_path / "ckpt" / "checkpoint_last.pt", weights_only=True)
    hidden, rest = state["last_optimizer_state"]["param_groups"]
    assert (hidden["momentum"], rest["weight_decay"]) == (0.9, 0.01)
    assert rest["lr"] / hidden["lr"] == pytest.approx(6e-3 / 0.04)
    preset = Namespace()
    ARCH_CONFIG_REGISTRY["museformer_rotary_tiny"](preset)
    sizes = {name: value for name, value in vars(preset).items() if name in state["cfg"]["model"]}
    assert {name: state["cfg"]["model"][name] for name in sizes} == sizes
    assert {"positions", "qk_norm", "previous_tokens", "decoder_embed_dim", "bar_embed_dim"} <= sizes.keys()


@pytest.mark.parametrize("options", [["--no-coarse-attention"], ["--structure-bars", ""], ["--checkpoint-activations"]])
def test_variants_train(train, tmp_path, options):
    done = train(tmp_path, "--batch-size", 8, *options, max_update=2)
    assert done.returncode == 0, printed(done)
    assert (tmp_path / "checkpoint_last.pt").is_file()


def test_bfloat16(train, run_command, data_bin, trained, tmp_path):
    """Parameters are near those of float32, but round; fairseq saves them as float32."""
    done = train(tmp_path, "--batch-size", 4, "--bf16")
    assert done.returncode == 0, printed(done)
    checkpoint = tmp_path / "checkpoint_last.pt"
    found, expected = parameters(checkpoint), parameters(trained[0])
    name = "decoder.output_projection.weight"
    difference = (found[name].float() - expected[name]).abs()
    assert 0 < difference.mean() < 0.005  # Adam makes a whole step of a gradient near 0 that has another sign
    assert difference.max() < 0.1
    assert all(torch.equal(tensor, tensor.bfloat16().float()) for tensor in found.values())
    done = run_command("fairseq-eval-lm", data_bin, *TASK, "--path", checkpoint, "--cpu", "--gen-subset", "test")
    assert done.returncode == 0, printed(done)


def test_workers_change_nothing(train, trained, tmp_path):
    done = train(tmp_path, "--batch-size", 4, "--num-workers", 2)
    assert done.returncode == 0, printed(done)
    assert_same_parameters(tmp_path / "checkpoint_last.pt", trained[0], rtol=0, atol=0)


@pytest.fixture
def start():
    """A function that starts a command and returns the running process; it ends with the test."""
    running = []

    def start(name, *arguments, log=subprocess.DEVNULL):
        program = Path(sys.executable).parent / name
        # one thread as in all other runs: sums are rounded in the order of the threads
        environment = {**os.environ, "OMP_NUM_THREADS": "1"}
        command = [program, *map(str, arguments)]
        process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, env=environment)
        running.append(process)
        return process

    yield start
    for process in running:
        process.kill()
        process.wait()


@pytest.mark.slow
@pytest.mark.parametrize(
    "batches", [["--batch-size", 3], [*WINDOWS[:-1], 3, *MUON]], ids=["adam_pieces", "muon_windows"]
)
def test_two_processes_train_as_one_with_update_freq_2(train, start, data_bin, tmp_path, batches):
    options = [*batches, "--dropout", 0, "--attention-dropout", 0]
    done = train(tmp_path / "one", *options, "--update-freq", 2)
    assert done.returncode == 0, printed(done)
    port = free_port()
    command = [data_bin, *TRAIN, "--save-dir", tmp_path / "two", "--max-update", 6, *options]
    with (tmp_path / "log").open("w") as log:
        processes = [start("fairseq-train", *command, *distributed(rank, port), log=log) for rank in (0, 1)]
        assert [process.wait(timeout=300) for process in processes] == [0, 0], (tmp_path / "log").read_text()
    assert_same_parameters(
        tmp_path / "two" / "checkpoint_last.pt", tmp_path / "one" / "checkpoint_last.pt", rtol=0, atol=1e-5
    )


@pytest.mark.slow
@pytest.mark.parametrize("batches", [["--batch-size", 2], [*WINDOWS, *MUON]], ids=["adam_pieces", "muon_windows"])
def test_a_killed_run_resumes_where_it_was(train, start, data_bin, tmp_path, batches):
    """Dropout, order of pieces and optimiser go on as if nothing had happened."""
    options = [*batches, "--save-interval-updates", 5, "--no-epoch-checkpoints"]
    done = train(tmp_path / "whole", *options, max_update=24)
    assert done.returncode == 0, printed(done)
    log = tmp_path / "log"
    command = [data_bin, *TRAIN, "--save-dir", tmp_path / "killed", *options, "--max-update", 10**6]
    with log.open("w") as stream:
        process = start("fairseq-train", *command, log=stream)
        deadline = time.monotonic() + 120
        while "Saved checkpoint" not in log.read_text():
            assert process.poll() is None, log.read_text()
            assert time.monotonic() < deadline, log.read_text()
            time.sleep(0.01)
        process.send_signal(signal.SIGKILL)
        process.wait()
    saved = torch.load(tmp_path / "killed" / "checkpoint_last.pt", weights_only=True)
    assert saved["optimizer_history"][-1]["num_updates"] < 24
    done = train(tmp_path / "killed", *options, max_update=24)
    assert done.returncode == 0, printed(done)
    assert "Loaded checkpoint" in printed(done)
    assert_same_parameters(
        tmp_path / "killed" / "checkpoint_last.pt", tmp_path / "whole" / "checkpoint_last.pt", rtol=0, atol=0
    )


@pytest.mark.slow
def test_windows_resume_in_the_middle_of_an_epoch(train, tmp_path):
    """Before the epoch with the change of lengths, in it before the change and at it, whatever the workers."""
    options = [*WINDOWS[:-1], 8, "--update-freq", 2, "--no-epoch-checkpoints"]
    done = train(tmp_path / "whole", *options, max_update=12)
    assert done.returncode == 0, printed(done)
    for workers, max_update in [(0, 2), (1, 7), (2, 8), (0, 12)]:
        done = train(tmp_path / "parts", *options, "--num-workers", workers, max_update=max_update)
        assert done.returncode == 0, printed(done)
        state = torch.load(tmp_path / "parts" / "checkpoint_last.pt", weights_only=True)
        iterator = state["extra_state"]["train_iterator"]
        assert iterator["updates"] == state["optimizer_history"][-1]["num_updates"] == max_update
        assert iterator["iterations_in_epoch"] > 0 or max_update == 12
    assert_same_parameters(
        tmp_path / "parts" / "checkpoint_last.pt", tmp_path / "whole" / "checkpoint_last.pt", rtol=0, atol=0
    )


@pytest.fixture(scope="module")
def data_of_all_keys(fairseq_preprocess, piece_lines, tmp_path_factory):
    """Pieces of few pitches, which have all keys and no longer rise and fall as the grammar wants.

    Their lengths differ: fairseq puts those of one length into another order when a run resumes in a later epoch.
    """
    pieces = {len(line.split()): line for line in piece_lines["train"]}.values()
    train = [re.sub(r"p-(\d+)", lambda pitch: "p-60" if int(pitch[1]) < 128 else pitch[0], line) for line in pieces]
    return fairseq_preprocess(tmp_path_factory.mktemp("keys"), {**piece_lines, "train": train}, "six_track")


@pytest.mark.slow
@pytest.mark.parametrize(
    ("batches", "parts"),
    [(["--batch-size", 4], (4, 8)), ([*WINDOWS, "--window-overlap", 0.5], (16, 24))],
    ids=["pieces", "windows"],
)
def test_other_keys_are_those_of_an_unbroken_run(train, data_of_all_keys, tmp_path, batches, parts):
    """With a worker through the end of an epoch, and stopped in the middle of the next."""
    options = {"max_update": parts[1], "data": data_of_all_keys}
    command = [*batches, "--transpose-train", "--no-epoch-checkpoints", "--disable-validation", "--no-grammar"]
    done = train(tmp_path / "whole", *command, **options)
    assert done.returncode == 0, printed(done)
    for workers, max_update in enumerate(parts, start=1):
        done = train(tmp_path / "parts", *command, "--num-workers", workers, **{**options, "max_update": max_update})
        assert done.returncode == 0, printed(done)
        if max_update == parts[0]:
            state = torch.load(tmp_path / "parts" / "checkpoint_last.pt", weights_only=True)["extra_state"]
            assert state["train_iterator"]["epoch"] == 2
            assert state["train_iterator"]["iterations_in_epoch"] > 0
    assert_same_parameters(
        tmp_path / "parts" / "checkpoint_last.pt", tmp_path / "whole" / "checkpoint_last.pt", rtol=0, atol=0
    )


def test_other_commands_read_whole_pieces(train, run_command, data_bin, tmp_path):
    """A checkpoint trained on windows is evaluated on pieces, those it was trained on too."""
    done = train(tmp_path, *WINDOWS, max_update=2)
    assert done.returncode == 0, printed(done)
    arguments = [data_bin, *TASK, "--path", tmp_path / "checkpoint_last.pt", "--cpu"]
    validate = run_command("fairseq-validate", *arguments, "--valid-subset", "train", "--batch-size", 4)
    evaluate = run_command("fairseq-eval-lm", *arguments, "--gen-subset", "train", "--max-tokens", 400)
    assert validate.returncode == evaluate.returncode == 0, printed(validate) + printed(evaluate)
    bits = number_after("Loss (base 2):", printed(evaluate))
    assert number_after("| loss", printed(validate)) == pytest.approx(bits, abs=0.0006)


def test_windows_do_not_go_on_from_whole_pieces(train, trained, tmp_path):
    (tmp_path / "checkpoint_last.pt").write_bytes(trained[0].read_bytes())
    done = train(tmp_path, *WINDOWS, max_update=8)
    assert_one_sentence(done, "The checkpoint was trained on whole pieces: pass --reset-dataloader")
    done = train(tmp_path, *WINDOWS, "--reset-dataloader", max_update=8)
    assert done.returncode == 0, printed(done)
    # and back again
    done = train(tmp_path, "--batch-size", 4, "--reset-dataloader", max_update=9)
    assert done.returncode == 0, printed(done)


# bad input: one sentence, no traceback, a non-zero exit


def assert_one_sentence(done, sentence):
    text = printed(done)
    assert done.returncode not in (0, None), text
    assert sentence in text
    assert "Traceback" not in text
    assert text.rstrip().rpartition("\n")[2].startswith("museformer: "), text


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--structure-bars", "1,x"], "--structure-bars takes distances in whole bars"),
        (["--decoder-attention-heads", 5], "--decoder-attention-heads 5 does not divide --decoder-embed-dim 16"),
        (["--truncate-train", -1], "--truncate-train must be 0 or more, not -1"),
        (["--max-tokens", 30], "does not fit into batches of 30"),
        (["--window-tokens", "40,x"], "--window-tokens takes whole numbers from 1 up"),
        (["--window-tokens", 40, "--truncate-train", 90], "--window-tokens and --truncate-train exclude each other"),
        (["--window-tokens", 40, "--valid-subset", "train"], "--valid-subset names 'train', which is trained on in"),
        (["--transpose-train", "--valid-subset", "train"], "which is trained on in other keys: name other data"),
        (["--window-tokens", 40, "--window-overlap", 1], "--window-overlap must be from 0 to below 1, not 1.0"),
        (["--window-overlap", 0.5], "--window-overlap 0.5 needs --window-tokens"),
        (
            ["--max-tokens", 150, "--window-tokens", 2],
            "More than half of the bars have more than the 2 tokens of",
        ),
        (["--max-tokens", 150, "--window-tokens", 160], "Windows of 160 tokens do not fit into batches of 150"),
        (["--valid-subset", "nowhere"], "There is no 'nowhere' data at"),
        pytest.param(["--fp16"], "--fp16 needs a GPU", marks=pytest.mark.skipif(HAS_GPU, reason="there is a GPU")),
    ],
    ids=lambda value: str(value[0]) if isinstance(value, list) else "",
)
def test_options_that_cannot_be_served(train, tmp_path, options, sentence):
    batch = [] if "--max-tokens" in options else ["--batch-size", 4]
    assert_one_sentence(train(tmp_path, *batch, *options), sentence)


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (["--beam", 2], "Beam search is not offered"),
        (["--sampling", "--beam", 1, "--temperature", 0], "--temperature must be positive"),
        (["--sampling", "--beam", 1, "--max-len-b", 5], "--min-len 1 and --max-len-b 5 must satisfy"),
        (["--sampling", "--beam", 1, "--prompt-bars", 2, "--max-len-b", 20], "leaves no room in pieces of at most 20"),
        (["--sampling", "--beam", 2, "--nbest", 1], "--sampling requires --nbest to be equal to --beam"),
    ],
    ids=["beam_search", "temperature", "max_len", "prompt_without_room", "nbest"],
)
def test_generation_that_is_not_offered(run_command, data_bin, trained, options, sentence):
    done = run_command("fairseq-generate", data_bin, *TASK, "--cpu", "--path", trained[0], *options)
    assert_one_sentence(done, sentence)


def test_a_context_window_is_not_offered(run_command, data_bin, trained):
    arguments = ["--path", trained[0], "--cpu", "--gen-subset", "test", "--context-window", 5]
    done = run_command("fairseq-eval-lm", data_bin, *TASK, *arguments)
    assert_one_sentence(done, "--context-window is not offered")


@pytest.mark.parametrize("data", ["nowhere", "no_dictionary", "foreign", "other_representation"])
def test_data_that_do_not_fit(run_command, trained, tmp_path, data):
    folder = tmp_path / data
    if data != "nowhere":
        folder.mkdir()
    if data == "foreign":
        (folder / "dict.txt").write_text("hello 3\nworld 2\n")
    if data == "other_representation":
        (folder / "dict.txt").write_text(REPRESENTATIONS["general"].dict_txt())
    sentences = {
        "nowhere": "There is no dictionary at",
        "no_dictionary": "There is no dictionary at",
        "foreign": "The dictionary is neither six_track nor general: entry 1 is 'hello'",
        "other_representation": "another dictionary than the one it is loaded into",
    }
    arguments = [folder, *TASK, *SAMPLE, "--path", trained[0], "--beam", 1]
    assert_one_sentence(run_command("fairseq-interactive", *arguments, input="\n"), sentences[data])


def test_data_that_break_the_grammar(train, fairseq_preprocess, piece_lines, tmp_path):
    lines = {"train": [piece_lines["train"][0], "t-30 o-0 p-60 d-5 v-20 b-1"], "valid": piece_lines["valid"]}
    data = fairseq_preprocess(tmp_path / "data", lines, "six_track")
    done = train(tmp_path / "save", "--batch-size", 4, data=data)
    assert_one_sentence(done, "Piece 2 of 'train' breaks the grammar of six_track: token 3: p-60 may not come here")


@pytest.mark.parametrize(
    ("line", "sentence"),
    [
        ("t-30 o-0 p-60", "Input line 1 breaks the grammar: token 3: p-60 may not come here"),
        ("t-30 o-5 i-80 p-60 d-5 v-20 o-3", "token 7: o-3 may not come here"),
        ("hello", "Input line 1 breaks the grammar: token 1: 'hello' is not a token of the form family-id"),
    ],
    ids=["family", "order", "spelling"],
)
def test_typed_tokens_that_break_the_grammar(run_command, data_bin, trained, line, sentence):
    arguments = [data_bin, *TASK, *SAMPLE, "--path", trained[0], "--beam", 1]
    assert_one_sentence(run_command("fairseq-interactive", *arguments, input=f"{line}\n"), sentence)


class Intruder:
    """Pickles as a call that makes a folder."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return os.mkdir, (str(self.path),)


@pytest.mark.parametrize(
    ("kind", "sentence"),
    [("truncated", "truncated or not a checkpoint"), ("code", "could run code"), ("missing", "Model file not found")],
)
def test_checkpoints_that_are_none(run_command, data_bin, trained, tmp_path, kind, sentence):
    checkpoint = tmp_path / "checkpoint.pt"
    whole = trained[0].read_bytes()
    if kind == "truncated":
        checkpoint.write_bytes(whole[: len(whole) // 2])
    elif kind == "code":
        torch.save({**torch.load(trained[0], weights_only=True), "extra": Intruder(tmp_path / "ran")}, checkpoint)
    arguments = [data_bin, *TASK, "--path", checkpoint, "--cpu", "--gen-subset", "test"]
    done = run_command("fairseq-eval-lm", *arguments)
    assert done.returncode != 0
    assert "Traceback" not in printed(done)
    assert sentence in printed(done)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("kind", ["truncated", "other_size", "other_positions", "other_optimizer"])
def test_training_does_not_resume_from_what_does_not_fit(train, trained, tmp_path, kind):
    whole = trained[0].read_bytes()
    cut = len(whole) // 2 if kind == "truncated" else len(whole)
    (tmp_path / "checkpoint_last.pt").write_bytes(whole[:cut])
    options = {
        "other_size": ["--decoder-ffn-embed-dim", 48],
        "other_positions": ["--positions", "rotary", "--decoder-attention-heads", 2],
        "other_optimizer": MUON,
    }.get(kind, [])
    sentence = {
        "truncated": "truncated or not a checkpoint",
        "other_size": "a model with other options",
        "other_positions": "a model with other options",
        "other_optimizer": "trained with another --optimizer",
    }[kind]
    assert_one_sentence(train(tmp_path, "--batch-size", 4, *options), sentence)


def limit_file_size():
    """As a device that is full after 50 kB."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (50_000, resource.RLIM_INFINITY))


@pytest.mark.slow
def test_a_full_disk(run_command, data_bin, tmp_path):
    arguments = [data_bin, *TRAIN, "--save-dir", tmp_path, "--max-update", 1, "--batch-size", 4]
    done = run_command("fairseq-train", *arguments, preexec_fn=limit_file_size)
    assert_one_sentence(done, "No space is left on the device")
    assert not list(tmp_path.glob("*.pt"))


@pytest.mark.slow
def test_a_bad_option_in_two_processes(start, data_bin, tmp_path):
    """Neither waits for the other, and the sentence is said once or twice."""
    port = free_port()
    command = [data_bin, *TRAIN, "--save-dir", tmp_path, "--batch-size", 4, "--structure-bars", "x"]
    with (tmp_path / "log").open("w") as log:
        processes = [start("fairseq-train", *command, *distributed(rank, port), log=log) for rank in (0, 1)]
        statuses = [process.wait(timeout=120) for process in processes]
    text = (tmp_path / "log").read_text()
    assert all(statuses), text
    assert 1 <= text.count("museformer: --structure-bars takes distances") <= 2
    assert "Traceback" not in text
