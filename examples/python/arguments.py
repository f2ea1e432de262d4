"""What the examples take on the command line."""

from __future__ import annotations

import argparse


def song_arguments(description: str) -> argparse.Namespace:
    """``out``, the file to write, ``song``, a song of the caller's, and ``model``, a folder of weights or None."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("out", help="the MIDI file to write")
    parser.add_argument("song", help="a MIDI file")
    parser.add_argument("--model", help="a folder with model.pt and dict.txt (default: the weights that ship)")
    return parser.parse_args()
