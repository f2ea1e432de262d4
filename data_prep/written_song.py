"""Written bars put into the song that they were written for: its other bars come back note for note.

    python -m data_prep.written_song SONG.mid generated.txt OUT_DIR --dict dict.txt --written 9-12

``generated.txt`` is what ``fairseq-interactive`` printed for the line of ``data_prep.prompt``. Each piece becomes a
MIDI file in the song's key, at its tempo, played by its instruments. Nothing is overwritten.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep.bar_ranges import BarRangeError, parse_bar_ranges
from data_prep.command import CommandError, positive, run_command, tempo
from data_prep.folders.files import write_whole
from data_prep.prompt import read_prompt_song, read_representation, track_names
from data_prep.source.source_song import SourceSong
from data_prep.source.write import with_written_bars
from data_prep.tokens.decode import midi_bytes
from data_prep.tokens.song import SongError
from data_prep.tokens.token_files import read_token_lines
from data_prep.tokens.vocabulary import END_OF_BAR, TokenError

_logger = logging.getLogger(__name__)


def bars_of_tokens(tokens: Sequence[str]) -> dict[int, list[str]]:
    """The complete bars of a piece by their numbers, from 1."""
    ends = [0, *(end for end, token in enumerate(tokens, start=1) if token == END_OF_BAR)]
    return {number: list(tokens[start:end]) for number, (start, end) in enumerate(zip(ends, ends[1:]), start=1)}


def written_bars(text: str) -> set[int]:
    """``9-12,25`` -> the bars that it names. Raises CommandError for what is no list of bars."""
    try:
        return {bar for first, last in parse_bar_ranges(text) for bar in range(first, last + 1)}
    except BarRangeError as error:
        raise CommandError(f"--written: {error}.") from None


def _song_with(song: SourceSong, tokens: Sequence[str], args: argparse.Namespace) -> bytes:
    bars = bars_of_tokens(tokens)
    if args.after is not None:
        chosen = {number for number in bars if number > args.after}
    else:
        chosen = written_bars(args.written) if args.written else set(bars)
    missing = sorted(chosen - bars.keys())
    if missing:
        raise TokenError(f"the piece has no bar {missing[0]}, it ends with bar {len(bars)}")
    written = {number: bars[number] for number in chosen}
    return midi_bytes(with_written_bars(song, written, track_names(args.given), args.after, args.tempo))


def _run(args: argparse.Namespace) -> int:
    song = read_prompt_song(args.song, read_representation(args.dict), track_names(args.given))
    lines = list(read_token_lines(args.generated))
    targets = [args.out_dir / f"{line.name}.mid" for line in lines]
    for target in targets:
        if target.exists():
            raise CommandError(f"{target} exists already; move it away or name another folder.")
    rejected = 0
    for line, target in zip(lines, targets):
        try:
            write_whole(target, _song_with(song, line.text.split(), args))
        except (TokenError, SongError) as error:
            _logger.error("%s, line %d: not put into the song: %s.", args.generated, line.number, error)
            rejected += 1
    _logger.info("%d MIDI files in %s; %d pieces not put into the song", len(lines) - rejected, args.out_dir, rejected)
    return 0 if lines and not rejected else 1


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m data_prep.written_song", description=__doc__.split("\n")[0])
    parser.add_argument("song", metavar="SONG.mid", type=Path, help="the song")
    parser.add_argument("generated", metavar="GENERATED.txt", type=Path, help="what fairseq printed")
    parser.add_argument("out_dir", metavar="OUT_DIR", type=Path, help="folder for the MIDI files")
    parser.add_argument("--dict", required=True, type=Path, help="the model's dict.txt, which says how to spell tokens")
    which = parser.add_mutually_exclusive_group()
    which.add_argument(
        "--written", metavar="BARS", help="the bars that were written, such as 9-12,25-28 (default: all)"
    )
    which.add_argument("--after", type=positive, metavar="BAR", help="all bars behind this one were written")
    parser.add_argument("--given", default="", metavar="TRACKS", help="tracks that were kept, such as melody")
    parser.add_argument(
        "--tempo",
        type=tempo,
        default=0.0,
        metavar="BPM",
        help="that written bars were asked for, in place of the song's",
    )
    args = parser.parse_args(arguments)
    return run_command(lambda: _run(args), "Interrupted; the files written so far are whole.")


if __name__ == "__main__":
    sys.exit(main())
