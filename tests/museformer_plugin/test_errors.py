import errno
import os
import pickle
import signal
import subprocess
import sys
from importlib.machinery import ModuleSpec
from types import ModuleType

import pytest
import torch
from torch.multiprocessing import ProcessRaisedException

from museformer_plugin.errors import UserError, runs_fairseq_command, sentence_for


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (UserError("Do this."), "Do this."),
        (OSError(errno.ENOSPC, "No space left on device", "x.pt"), "No space is left on the device: x.pt."),
        (OSError(errno.ENOSPC, "No space left on device"), "No space is left on the device: free some and resume."),
        (FileNotFoundError(errno.ENOENT, "No such file", "x.pt"), "[Errno 2] No such file: 'x.pt'."),
        (AssertionError("--max-tokens must be given"), "--max-tokens must be given."),
        (pickle.UnpicklingError("global posix.system"), "holds more than tensors and plain values"),
        (AssertionError("Must specify batch size either with --max-tokens or --batch-size"), "Must specify batch size"),
        (RuntimeError("PytorchStreamReader failed finding central directory"), "truncated or not a checkpoint"),
        (RuntimeError("basic_ios::clear: iostream error"), "No space is left on the device"),
        (RuntimeError("Error(s) in loading state_dict for MuseformerLanguageModel: size mismatch"), "other options"),
        (AssertionError("Torch not compiled with CUDA enabled"), "--fp16 needs a GPU"),
        (AssertionError("Optimizer does not match; please reset"), "with another --optimizer"),
        (ValueError("loaded state dict has a different number of parameter groups"), "with another --optimizer"),
        (RuntimeError("Cannot resume training due to dataloader mismatch, please"), "pass --reset-dataloader"),
    ],
    ids=lambda value: type(value).__name__ if isinstance(value, Exception) else "",
)
def test_a_users_mistake_is_told_in_a_sentence(error, sentence):
    assert sentence in sentence_for(error)
    assert "\n" not in sentence_for(error)


def test_the_cause_of_a_failed_write_is_found():
    """PyTorch's writer raises another error while it unwinds."""
    error = RuntimeError("[enforce fail at inline_container.cc:672] . unexpected pos 64 vs 0")
    error.__context__ = OSError(errno.ENOSPC, "No space left on device")
    assert sentence_for(error) == "No space is left on the device: free some and resume."


def test_the_sentence_of_a_spawned_process_is_found():
    text = 'Process 1 terminated:\nTraceback ...\n  File "x.py"\nmuseformer_plugin.errors.UserError: Do: this.\n'
    assert sentence_for(ProcessRaisedException(text, 1, 2)) == "Do: this."
    assert sentence_for(ProcessRaisedException("Traceback ...\nValueError: oh", 1, 2)) is None


@pytest.mark.parametrize(
    "error", [RuntimeError("shape mismatch"), ValueError("x"), AssertionError(), AssertionError("a != b")], ids=repr
)
def test_a_defect_of_the_program_keeps_its_traceback(error):
    assert sentence_for(error) is None


def run_with_hook(statement, repository):
    program = f"from museformer_plugin.errors import UserError, install_sentences\ninstall_sentences()\n{statement}"
    return subprocess.run([sys.executable, "-c", program], cwd=repository, capture_output=True, text=True)


def test_the_interpreter_ends_with_the_sentence_alone(repository):
    done = run_with_hook("raise UserError('Name another folder.')", repository)
    assert done.returncode == 1
    assert done.stderr.endswith("museformer: Name another folder.\n")
    assert "Traceback" not in done.stderr


def test_an_interruption_is_told_and_stays_one(repository):
    done = run_with_hook("raise KeyboardInterrupt", repository)
    assert done.returncode == -signal.SIGINT
    assert done.stderr.endswith("museformer: Interrupted: what had been saved or written by then is kept.\n")
    assert "Traceback" not in done.stderr


def test_the_interpreter_shows_where_a_defect_is(repository):
    done = run_with_hook("raise ValueError('oh')", repository)
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "ValueError: oh" in done.stderr


LIBRARY = """
import logging, sys, warnings
import fairseq.checkpoint_utils, fairseq.criterions, fairseq.models, fairseq.optim, fairseq.tasks
before = sys.excepthook, logging.getLogger().level, list(warnings.filters)
import museformer_plugin
assert (sys.excepthook, logging.getLogger().level, list(warnings.filters)) == before
assert not logging.getLogger("fairseq.checkpoint_utils").filters
"""


def test_a_library_changes_nothing_of_the_program_that_imports_it(repository):
    done = subprocess.run(
        [sys.executable, "-c", LIBRARY],
        cwd=repository,
        capture_output=True,
        text=True,
        env={**os.environ, "LOGLEVEL": "ERROR"},
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    ("arguments", "module", "command"),
    [
        (["/usr/bin/fairseq-train", "x"], None, True),
        (["fairseq-hydra-train"], None, True),
        (["/lib/fairseq_cli/train.py"], "fairseq_cli.train", True),
        (["/home/me/fairseq-songs/play.py"], None, False),
        (["/lib/pytest/__main__.py"], "pytest.__main__", False),
        ([], None, False),
    ],
)
def test_fairseqs_commands_are_known(monkeypatch, arguments, module, command):
    main = ModuleType("__main__")
    main.__spec__ = None if module is None else ModuleSpec(module, None)
    monkeypatch.setattr(sys, "argv", arguments)
    monkeypatch.setitem(sys.modules, "__main__", main)
    assert runs_fairseq_command() == command


@pytest.mark.parametrize("size", [0, 1, 100, 5000, 50_000, 119_000])
def test_a_checkpoint_cut_anywhere_is_told(tmp_path, size):
    path = tmp_path / "checkpoint.pt"
    torch.save({"model": {"weight": torch.zeros(30_000)}}, path)
    path.write_bytes(path.read_bytes()[:size])
    with pytest.raises(Exception) as caught:  # PyTorch raises five kinds
        torch.load(path, weights_only=True)
    assert "truncated or not a checkpoint" in sentence_for(caught.value)


@pytest.mark.parametrize("error", [EOFError(), ConnectionRefusedError(errno.ECONNREFUSED, "Connection refused")])
def test_other_faults_keep_their_traceback(error):
    assert sentence_for(error) is None
