"""Wild MIDI files in, six-track MIDI files fit for training out, by the rules of the paper.

    python -m data_prep.prepare_six_track MIDI_DIR OUT_DIR
    python -m data_prep.midi_to_tokens OUT_DIR TOKEN_DIR --representation six_track

Every song is merged into the tracks of ``data_prep.tokens.vocabulary.SIX_TRACK``, moved onto the grid of twelfths of a
quarter note, and judged by the rules that ``--help`` lists, in that order. ``OUT_DIR/report.tsv`` has a row for
every file, ``OUT_DIR/funnel.txt`` the survivors per rule. An interrupted run goes on with --resume. Array jobs
give each part its own folder with --shard; then

    python -m data_prep.merge_shards SHARD_DIR... OUT_DIR

makes of them what one run would have made. With ``--general`` songs keep their programs and metres, and
only the rules about quality apply. Exit status 0 when a song was accepted and no worker crashed.
"""

from __future__ import annotations

import argparse
import logging
import re
import sys
import zlib
from collections.abc import Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from data_prep.command import CommandError, add_limit_options, run_command
from data_prep.folders.files import iterate_files, to_bytes
from data_prep.folders.limited_workers import Failure, Limits, run_limited
from data_prep.folders.song_lists import listed_files
from data_prep.midi_to_tokens import MIDI_SUFFIXES
from data_prep.six_track.prepare_song import Prepared, PrepareOptions, Rejected, prepare_song
from data_prep.six_track.prepared_folder import PreparedFolder
from data_prep.six_track.report import LIMITS_RULE
from data_prep.six_track.rules import FORM_RULES, RULE_HELP

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Shard:
    """Part ``number`` (from 1) of ``count``: the files whose names' CRC-32 falls to it."""

    number: int
    count: int

    def __contains__(self, file: Path) -> bool:
        return zlib.crc32(to_bytes(str(file))) % self.count == self.number - 1

    def __str__(self) -> str:
        return f"{self.number}/{self.count}"


def _prepare(file: Path, folder: Path, options: PrepareOptions) -> Prepared | Rejected:
    return prepare_song(folder / file, options)


def output_name(file: Path, folder: Path) -> Path:
    """Where the song of ``file`` goes, so that no two files of ``folder`` share it: ``a.MID`` to ``a.MID.mid``."""
    while file.suffix != ".mid":
        file = file.with_name(file.name + ".mid")
        while (folder / file).exists():  # a file of its own
            file = file.with_name(file.name + ".mid")
    return file


def prepare_folder(
    files: Sequence[Path] | None,
    midi_dir: Path,
    shard: Shard,
    folder: PreparedFolder,
    options: PrepareOptions,
    workers: int,
    limits: Limits,
) -> None:
    """Prepare what ``folder`` has not done yet of ``files``, or of all files below ``midi_dir``.

    Raises CommandError when there are none, which only a shard may have, and OSError.
    """
    unlisted: list[OSError] = []

    def everything() -> Iterator[Path]:
        unlisted.clear()
        found = iterate_files(midi_dir, MIDI_SUFFIXES, unlisted.append) if files is None else files
        return (file for file in found if file in shard)

    total = sum(1 for _ in everything())
    if not total and not unlisted and shard.count == 1:
        raise CommandError(f"{midi_dir} holds no MIDI files (.mid or .midi) for this run at any depth.")
    for error in unlisted:
        reason = Rejected(LIMITS_RULE, f"cannot be listed: {error.strerror}")
        folder.add(Path(error.filename).relative_to(midi_dir), reason, Path())
    waiting = (file for file in everything() if not folder.has(file))
    outcomes = run_limited(partial(_prepare, folder=midi_dir, options=options), waiting, workers, limits)
    with closing(outcomes), tqdm(total=total, initial=len(folder.done), disable=None) as bar:
        for file, outcome in outcomes:
            if isinstance(outcome, Failure):
                outcome = Rejected(LIMITS_RULE, outcome.reason)
            folder.add(file, outcome, output_name(file, midi_dir))
            bar.update()


def _shard(text: str) -> Shard:
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    if not match or not 1 <= int(match[1]) <= int(match[2]):
        raise argparse.ArgumentTypeError(f"{text} is not a part such as 2/8")
    return Shard(int(match[1]), int(match[2]))


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.prepare_six_track",
        description="Make six-track MIDI files fit for training out of any MIDI files.",
    )
    parser.add_argument("midi_dir", metavar="MIDI_DIR", type=Path, help="folder of .mid and .midi files")
    parser.add_argument("out_dir", metavar="OUT_DIR", type=Path, help="new folder for the songs and the report")
    parser.add_argument("--general", action="store_true", help="keep all programs and metres")
    parser.add_argument(
        "--ignore-track-names", action="store_true", help="find the melody by what tracks play, not by their names"
    )
    parser.add_argument(
        "--lists",
        type=Path,
        metavar="DIR",
        help="prepare only the songs named in DIR/*.txt, one a line, with or without folder and suffix",
    )
    parser.add_argument(
        "--shard",
        type=_shard,
        default=Shard(1, 1),
        metavar="I/N",
        help="prepare part I of N only; data_prep.merge_shards puts the parts together",
    )
    add_limit_options(parser)
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run with the same options")
    rules = parser.add_argument_group("rules", "in the order in which they apply; each can be left out")
    for rule, description in RULE_HELP.items():
        rules.add_argument(
            f"--no-{rule}",
            dest="left_out",
            action="append_const",
            const=rule,
            help=f"do not require that {description}",
        )
    return parser


def _run(args: argparse.Namespace) -> int:
    for folder in filter(None, (args.midi_dir, args.lists)):
        if not folder.is_dir():
            raise CommandError(f"{folder} is not a folder.")
    if args.out_dir.resolve().is_relative_to(args.midi_dir.resolve()):
        raise CommandError(f"{args.out_dir} lies in {args.midi_dir}, so its songs would be taken for input; move it.")
    left_out = sorted(set(args.left_out or ()) | (set(FORM_RULES) if args.general else set()))
    settings = {
        "general": args.general,
        "rules left out": left_out,
        "track names": not args.ignore_track_names,
        "lists": str(args.lists) if args.lists else None,
        "shard": str(args.shard),
    }
    files = None
    if args.lists:
        files, missing = listed_files(args.lists, iterate_files(args.midi_dir, MIDI_SUFFIXES))
        if missing:
            _logger.warning("%d listed songs are not there, the first is %s.", len(missing), missing[0])
    folder = PreparedFolder(args.out_dir, settings, args.resume)
    options = PrepareOptions(args.general, frozenset(left_out), not args.ignore_track_names)
    limits = Limits(args.time_limit, args.memory_limit)
    prepare_folder(files, args.midi_dir, args.shard, folder, options, args.workers, limits)
    return folder.finish()


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = _parser().parse_args(arguments)
    return run_command(lambda: _run(args), "Interrupted; --resume goes on from here.")


if __name__ == "__main__":
    sys.exit(main())
