"""Bad input ends in one sentence: what is wrong, and what to do."""

from __future__ import annotations

import errno
import pickle
import sys
from types import TracebackType


class UserError(Exception):
    """The message is a whole sentence for the person at the terminal."""


def sentence_for(error: BaseException) -> str | None:
    """What to tell the user of an error that their input caused; None for a defect of the program."""
    if isinstance(error, UserError):
        return str(error)
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return f"No space is left on the device: {error.filename or 'free some and resume'}."
    if isinstance(error, OSError):
        return f"{error}."
    if isinstance(error, AssertionError) and str(error).startswith("--"):
        return f"{error}."  # fairseq asserts that options go together
    if isinstance(error, pickle.UnpicklingError):
        return (
            "The checkpoint holds more than tensors and plain values and is not loaded, because loading "
            "it could run code; checkpoints of the original system go through "
            "python -m museformer_plugin.convert_checkpoint first."
        )
    if isinstance(error, (EOFError, RuntimeError)) and _is_broken_archive(error):
        return "The checkpoint is truncated or not a checkpoint; copy or train it again."
    return None


def _is_broken_archive(error: BaseException) -> bool:
    text = str(error)
    return isinstance(error, EOFError) or "PytorchStreamReader" in text or "failed finding central" in text


def install_sentences() -> None:
    """Let the interpreter end with the sentence alone where there is one, with status 1 as always.

    fairseq's commands have no place of their own for a plugin to report a user's mistake.
    """
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, traceback: TracebackType | None) -> None:
        sentence = sentence_for(error)
        if sentence is None:
            previous(kind, error, traceback)
        else:
            print(f"museformer: {sentence}", file=sys.stderr)

    sys.excepthook = hook
