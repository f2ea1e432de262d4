"""Bad input ends in one sentence: what is wrong, and what to do."""

from __future__ import annotations

import errno
import logging
import pickle
import sys
import traceback
from pathlib import Path
from types import TracebackType

from hydra.errors import CompactHydraException


class UserError(CompactHydraException):
    """The message is a whole sentence for the person at the terminal; Hydra, of ``fairseq-hydra-train``, shows it
    alone too."""


def sentence_for(error: BaseException) -> str | None:
    """What to tell the user of an error that their input or Ctrl-C caused; None for a defect of the program."""
    if isinstance(error, KeyboardInterrupt):
        return "Interrupted: what had been saved or written by then is kept."
    if isinstance(error, UserError):
        return str(error)
    full = _full_device(error)
    if full is not None:
        return f"No space is left on the device: {full}."
    if _is_broken_checkpoint(error):
        return "The checkpoint is truncated or not a checkpoint; copy or train it again."
    if isinstance(error, OSError) and (error.filename is not None or str(error).startswith("Model file not found")):
        return f"{error}."
    if isinstance(error, AssertionError) and str(error).startswith(("--", "Must specify batch size")):
        return f"{error}."  # fairseq asserts that options go together
    if isinstance(error, pickle.UnpicklingError):
        return (
            "The checkpoint holds more than tensors and plain values and is not loaded, because loading "
            "it could run code; checkpoints of the original system go through "
            "python -m museformer_plugin.convert_checkpoint first."
        )
    if _is_other_model(error):
        return "The checkpoint is of a model with other options or another dictionary than the one it is loaded into."
    return _sentence_of_worker(error) or _sentence_for_fairseq(error)


def _full_device(error: BaseException) -> str | None:
    """The file that did not fit, or what to do; None for another error.

    PyTorch's writer loses the cause on its way, and fairseq closes the file while it unwinds.
    """
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, OSError) and cause.errno in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
            return cause.filename or "free some and resume"
        if isinstance(cause, RuntimeError) and any(sign in str(cause) for sign in _WRITER_FAILED):
            return "free some and resume"
        cause = cause.__cause__ or cause.__context__
    return None


_WRITER_FAILED = ("iostream error", "PytorchStreamWriter failed writing")


def _is_broken_checkpoint(error: BaseException) -> bool:
    text = str(error)
    if isinstance(error, pickle.UnpicklingError):
        return "Unsupported operand" in text or "truncated" in text
    if isinstance(error, RuntimeError) and ("PytorchStreamReader" in text or "failed finding central" in text):
        return True
    # any error at all may come of reading bytes that are no pickle
    files = [frame.filename for frame in traceback.extract_tb(error.__traceback__)]
    if isinstance(error, (EOFError, OSError)):
        return any(file.endswith("torch/serialization.py") for file in files)
    return bool(files) and files[-1].endswith("_weights_only_unpickler.py")


def _is_other_model(error: BaseException) -> bool:
    text = str(error)
    return "loading state_dict for " in text or text.startswith("Cannot load model parameters")


def _sentence_of_worker(error: BaseException) -> str | None:
    """What a process that fairseq spawned died of, where it was a ``UserError``; its text is all that is left."""
    last_line = str(error).strip().rpartition("\n")[2]
    name, _, sentence = last_line.partition(": ")
    return sentence if name == f"{UserError.__module__}.{UserError.__qualname__}" else None


# What fairseq's errors say when an option cannot be served -> what to tell.
_NEEDS_GPU = "--fp16 needs a GPU, where fairseq keeps its optimiser; on a CPU train with --bf16 or with neither."
_OTHER_OPTIMIZER = (
    "The checkpoint was trained with another --optimizer; resume with that one, or pass --reset-optimizer too."
)
_SIGNS = {
    "Torch not compiled with CUDA enabled": _NEEDS_GPU,
    "Found no NVIDIA driver": _NEEDS_GPU,
    "No CUDA GPUs are available": _NEEDS_GPU,
    "Optimizer does not match": _OTHER_OPTIMIZER,
    "loaded state dict has a different number of parameter groups": _OTHER_OPTIMIZER,
    "Cannot resume training due to dataloader mismatch": "The checkpoint stopped in an epoch of other batches than "
    "these options make: pass --reset-dataloader to begin an epoch of the new ones, or the same options as before.",
}


def _sentence_for_fairseq(error: BaseException) -> str | None:
    return next((sentence for sign, sentence in _SIGNS.items() if sign in str(error)), None)


def _is_no_traceback(record: logging.LogRecord) -> bool:
    """fairseq logs the traceback of a checkpoint that it cannot write, and then raises the error."""
    return not record.getMessage().startswith("Traceback")


def runs_fairseq_command() -> bool:
    """Whether the program is one of fairseq's commands, by its name (``fairseq-train``) or its module."""
    spec = getattr(sys.modules.get("__main__"), "__spec__", None)
    names = [Path(sys.argv[0]).name if sys.argv else "", spec.name if spec is not None else ""]
    return any(name.startswith(("fairseq-", "fairseq_cli.")) for name in names)


def install_sentences() -> None:
    """Let the interpreter end with the sentence alone where there is one, with status 1 as always.

    fairseq's commands have no place of their own for a plugin to report a user's mistake.
    """
    previous = sys.excepthook

    def hook(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
        sentence = sentence_for(error)
        if sentence is None:
            previous(kind, error, trace)
        else:
            print(f"museformer: {sentence}", file=sys.stderr)

    sys.excepthook = hook
    logging.getLogger("fairseq.checkpoint_utils").addFilter(_is_no_traceback)
