"""The bars of a song as a prompt: one line of tokens for ``fairseq-interactive``.

    python -m data_prep.prompt SONG.mid --dict dict.txt --bars 8

The tokens are in C major or A minor, as the training songs are; what was done to the song is told on standard error.
``data_prep.written_song`` puts what is written into the song.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from itertools import chain, islice
from pathlib import Path

from data_prep.command import CommandError, positive, run_command
from data_prep.source.read import read_source
from data_prep.source.source_song import SourceSong
from data_prep.tokens.song import SongError
from data_prep.tokens.vocabulary import END_OF_BAR, Representation, TokenError, representation_of

_logger = logging.getLogger(__name__)


def first_bars(tokens: Sequence[str], bars: int) -> list[str]:
    """The first ``bars`` bars of ``tokens``; all of them where there are fewer."""
    ends = [0, *(end for end, token in enumerate(tokens, start=1) if token == END_OF_BAR)]
    return list(tokens[: ends[bars]] if bars < len(ends) else tokens)


def read_representation(dict_path: Path) -> Representation:
    """The representation that ``dict.txt`` spells. Raises CommandError when it is missing or foreign."""
    if not dict_path.is_file():
        raise CommandError(f"There is no dictionary at {dict_path}.")
    lines = dict_path.read_text(encoding="utf-8", errors="replace").splitlines()
    try:
        return representation_of(line.rpartition(" ")[0] for line in lines)
    except TokenError as error:
        raise CommandError(f"{dict_path}: {error}.") from None


def track_names(text: str) -> list[str]:
    """``Melody, bass`` -> ["melody", "bass"]."""
    return [name.strip().lower() for name in text.split(",") if name.strip()]


def read_prompt_song(path: Path, representation: Representation, given: Sequence[str]) -> SourceSong:
    """The song at ``path``, of which the tracks ``given`` are to be kept.

    Raises CommandError, in a sentence, where it is none, cannot be spelled or lacks one of these tracks.
    """
    if not path.is_file():
        raise CommandError(f"There is no MIDI file at {path}.")
    try:
        song = read_source(path, representation, needs_melody="melody" in given)
        song.instruments_of(given)
        return song
    except SongError as error:
        raise CommandError(f"{path} cannot be read as a song: {error}.") from None


def _run(args: argparse.Namespace) -> int:
    representation, given = read_representation(args.dict), track_names(args.given)
    song = read_prompt_song(args.song, representation, given)
    if args.names:
        print(",".join(representation.name_of(instrument) for instrument in song.instruments_of(given)))
        return 0
    for sentence in song.sentences:
        _logger.info("%s: %s", args.song, sentence)
    bars = song.bars()
    if args.bars is not None and args.bars > len(bars):
        raise CommandError(f"{args.song} ends with bar {len(bars)}: {args.bars} bars cannot be kept.")
    kept = islice(sorted(bars), args.bars or args.up_to)
    print(" ".join(chain.from_iterable(bars[number] for number in kept)))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m data_prep.prompt", description=__doc__.split("\n")[0])
    parser.add_argument("song", metavar="SONG.mid", type=Path, help="the song to write to")
    parser.add_argument("--dict", required=True, type=Path, help="the model's dict.txt, which says how to spell tokens")
    count = parser.add_mutually_exclusive_group()
    count.add_argument("--bars", type=positive, help="how many bars to take (default: all)")
    count.add_argument("--up-to", type=positive, metavar="BARS", help="the same, or all where there are fewer")
    parser.add_argument(
        "--given", default="", metavar="TRACKS", help="tracks that the song must have, such as melody, to be kept"
    )
    parser.add_argument("--names", action="store_true", help="print what the model calls these tracks instead")
    args = parser.parse_args(arguments)
    return run_command(lambda: _run(args), "Interrupted.")


if __name__ == "__main__":
    sys.exit(main())
