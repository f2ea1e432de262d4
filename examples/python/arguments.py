"""Command lines of the scripts beside this file."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager

from museformer import RequestError


def read_arguments(description: str, *files: str) -> argparse.Namespace:
    """``files`` by their names, and ``model``, a folder of weights or None.

    ``out`` is the file to write, ``song`` a song of the caller's.
    """
    parser = argparse.ArgumentParser(description=description)
    if "out" in files:
        parser.add_argument("out", help="the MIDI file to write")
    if "song" in files:
        parser.add_argument("song", help="a MIDI file")
    parser.add_argument("--model", help="a folder with model.pt and dict.txt (default: the weights that ship)")
    return parser.parse_args()


@contextmanager
def refusals_told() -> Iterator[None]:
    """End the script with a sentence where something cannot be done."""
    try:
        yield
    except RequestError as error:
        sys.exit(str(error))
