"""Command lines of the scripts beside this file."""

from __future__ import annotations

import argparse
import sys
from types import TracebackType

from museformer import RequestError


def read_arguments(description: str, *files: str) -> argparse.Namespace:
    """``files`` by their names, and ``model``, a folder of weights or None.

    ``out`` is the file to write, ``song`` a song of the caller's. From now on what cannot be done ends the script with
    a sentence.
    """
    sys.excepthook = _tell
    parser = argparse.ArgumentParser(description=description)
    if "out" in files:
        parser.add_argument("out", help="the MIDI file to write")
    if "song" in files:
        parser.add_argument("song", help="a MIDI file")
    parser.add_argument("--model", help="a folder with model.pt and dict.txt (default: the weights that ship)")
    return parser.parse_args()


def _tell(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    if isinstance(error, RequestError):
        print(error, file=sys.stderr)
    else:
        sys.__excepthook__(kind, error, trace)
