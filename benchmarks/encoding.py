"""How much encoding adds to the MIDI parser's own time, file by file, in one process.

    python -m benchmarks.encoding MIDI_DIR [MIDI_DIR ...] --files 100

For each file the parser alone and the whole of ``encode_file`` (parser, quantising, key, tokens, joining)
run in turn; the medians over the repeats are compared.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import time
from collections.abc import Callable
from pathlib import Path

from miditoolkit import MidiFile

from data_prep.folders.files import find_files
from data_prep.midi_to_tokens import MIDI_SUFFIXES, EncodingOptions, encode_file


def _seconds(action: Callable[[], object]) -> float:
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def measure(path: Path, options: EncodingOptions, repeats: int) -> tuple[float, float]:
    """Median seconds of (parsing alone, all the work on the file), measured in turn."""
    parsing, encoding = [], []
    for _ in range(repeats):
        parsing.append(_seconds(lambda: MidiFile(str(path))))
        encoding.append(_seconds(lambda: encode_file(path, options)))
    return statistics.median(parsing), statistics.median(encoding)


def main() -> int:
    """Print a table: per folder the number of files, milliseconds and what encoding adds."""
    parser = argparse.ArgumentParser(description="Time encoding against parsing alone.")
    parser.add_argument("folders", metavar="MIDI_DIR", nargs="+", type=Path, help="folders of MIDI files")
    parser.add_argument("--files", type=int, default=100, help="at most this many of each folder")
    parser.add_argument("--repeats", type=int, default=3, help="runs per file; the median counts")
    args = parser.parse_args()
    options = EncodingOptions("general")
    print(f"{'folder':24} {'files':>5} {'parse ms':>9} {'all ms':>9} {'added':>7} {'worst':>7}")
    for folder in args.folders:
        files = find_files(folder, MIDI_SUFFIXES, on_error=_raise)
        chosen = files[:: max(1, len(files) // args.files)][: args.files]
        times = [measure(folder / file, options, args.repeats) for file in chosen]
        added = [whole / parse - 1 for parse, whole in times]
        parse_ms, whole_ms = (1e3 * statistics.median(column) for column in zip(*times))
        print(
            f"{folder.name:24} {len(chosen):5} {parse_ms:9.1f} {whole_ms:9.1f} "
            f"{statistics.median(added):7.1%} {max(added):7.1%}"
        )
    return 0


def _raise(error: OSError) -> None:
    raise error


if __name__ == "__main__":
    sys.exit(main())
