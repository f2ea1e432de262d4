"""What the tests of the architectures share."""

import contextlib
import io
import logging

import pytest
import torch
from fairseq import options
from fairseq.dataclass.utils import convert_namespace_to_omegaconf
from fairseq_cli import eval_lm, generate, interactive, train, validate

COMMANDS = {
    "fairseq-train": (train, options.get_training_parser),
    "fairseq-validate": (validate, options.get_validation_parser),
    "fairseq-eval-lm": (eval_lm, options.get_eval_lm_parser),
    "fairseq-generate": (generate, options.get_generation_parser),
    "fairseq-interactive": (interactive, options.get_interactive_generation_parser),
}


@contextlib.contextmanager
def hear_fairseq():
    """A stream of what is printed and logged; the loggers, which fairseq sets up anew, are as before afterwards."""
    root, said = logging.getLogger(), io.StringIO()
    handlers, level = root.handlers, root.level
    root.handlers, root.level = [logging.StreamHandler(said)], logging.INFO
    try:
        with contextlib.redirect_stdout(said):
            yield said
    finally:
        root.handlers, root.level = handlers, level


@pytest.fixture(scope="session")
def run_here(data_bin, repository):
    """A function that runs a command of fairseq's on the data, in this process, and returns what it printed."""
    task = ["--user-dir", repository / "museformer_plugin", "--task", "museformer_language_modeling", "--cpu"]

    def run(name, *arguments):
        command, make_parser = COMMANDS[name]
        words = [str(word) for word in (data_bin, *task, *arguments)]
        told = {}
        if command is validate:  # as its own command line does
            told = {"override_args": options.parse_args_and_arch(make_parser(), words, suppress_defaults=True)}
        with hear_fairseq() as said:
            command.main(convert_namespace_to_omegaconf(options.parse_args_and_arch(make_parser(), words)), **told)
        return said.getvalue()

    return run


@pytest.fixture
def assert_is_defined_by(build_decoder, read_piece, monkeypatch):
    """A function that compares logits and all gradients with those when ``definition`` stands for a layer of ours.

    ``layer``: the module and the name of the class; ``pieces``: the bars of each piece of the batch.
    """

    def check(layer, definition, *, pieces=(5, 1, 8), **options):
        read = [read_piece("general", bars, seed=bars) for bars in pieces]
        tokens = torch.nn.utils.rnn.pad_sequence(read, batch_first=True, padding_value=1)

        def logits_and_gradients():
            decoder = build_decoder("general", **options)
            logits = decoder(tokens)[0]
            return logits, *torch.autograd.grad(logits.square().mean(), list(decoder.parameters()))

        ours = logits_and_gradients()
        monkeypatch.setattr(*layer, definition)
        for found, expected in zip(ours, logits_and_gradients(), strict=True):
            torch.testing.assert_close(found, expected, rtol=0, atol=1e-9)

    return check
