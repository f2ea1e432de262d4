"""What the page tells of written songs: songs.json, from the tokens beside them.

    python -m listening.describe OUT_DIR --control "seed=1" --given-bars 1-8,13-40 --form i4A8A8

``--written-bars 9-12`` says that all others were given. Sections are those of ``--form``, or else those that can be
heard (``data_prep.form``).
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from data_prep.bar_ranges import BarRangeError, parse_bar_ranges
from data_prep.command import CommandError, run_command
from data_prep.folders.files import write_whole
from data_prep.form.hear import heard_form
from data_prep.form.outlines import parse_outline
from data_prep.form.sections import FormError
from data_prep.tokens.encode import bars_of
from data_prep.tokens.song import read_song
from data_prep.tokens.token_files import read_token_lines
from listening.details import FILE_NAME

_GENERATED = "generated.txt"


def _ranges(option: str, text: str) -> tuple[tuple[int, int], ...]:
    try:
        return parse_bar_ranges(text)
    except BarRangeError as error:
        raise CommandError(f"{option}: {error}.") from None


def ranges_between(ranges: Sequence[tuple[int, int]], bars: int) -> list[tuple[int, int]]:
    """The bars of a song of ``bars`` bars that ``ranges``, first and last, leave."""
    found, following = [], 1
    for first, last in sorted(ranges):
        if following < first:
            found.append((following, first - 1))
        following = max(following, last + 1)
    return [*found, (following, bars)] if following <= bars else found


def _run(args: argparse.Namespace) -> int:
    try:
        asked = parse_outline(args.form).sections if args.form else None
    except FormError as error:
        raise CommandError(f"--form: {error}.") from None
    given, written = _ranges("--given-bars", args.given_bars), _ranges("--written-bars", args.written_bars)
    songs = []
    for line in read_token_lines(args.out_dir / _GENERATED):
        midi = args.out_dir / f"{line.name}.mid"
        if not midi.is_file():
            continue  # its line could not be decoded
        bars = len(bars_of(read_song(midi)).starts)  # but for silent ones at the end
        sections = asked or heard_form(line.text.split()).sections
        bars_given = ranges_between(written, bars) if written else given
        parts = [(part.letter, part.first_bar + 1, min(part.bars, bars - part.first_bar)) for part in sections]
        songs.append(
            {
                "file": midi.name,
                "given_bars": [(first, min(last, bars)) for first, last in bars_given if first <= bars],
                "sections": [part for part in parts if part[2] > 0],
            }
        )
    controls = dict(control.split("=", 1) for control in args.control)
    content = json.dumps({"controls": controls, "songs": songs}, ensure_ascii=False, indent=1)
    write_whole(args.out_dir / FILE_NAME, content.encode())
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m listening.describe", description=__doc__.split("\n")[0])
    parser.add_argument("out_dir", metavar="OUT_DIR", type=Path, help=f"folder with {_GENERATED} and its MIDI files")
    parser.add_argument("--control", metavar="NAME=TEXT", action="append", default=[], help="what made the songs")
    bars = parser.add_mutually_exclusive_group()
    bars.add_argument("--given-bars", metavar="BARS", default="", help="bars that were given, such as 1-8,13-40")
    bars.add_argument("--written-bars", metavar="BARS", default="", help="bars that were not, where all others were")
    parser.add_argument("--form", default="", help="the form that was asked for")
    args = parser.parse_args(arguments)
    for control in args.control:
        if "=" not in control:
            parser.error(f"--control takes NAME=TEXT, not {control!r}")
    return run_command(lambda: _run(args), "Interrupted; nothing was written.")


if __name__ == "__main__":
    sys.exit(main())
