"""Encode a folder of MIDI files as tokens, one text file a piece.

    python -m data_prep.midi_to_tokens MIDI_DIR TOKEN_DIR --representation general

MIDI files (.mid, .midi, any case) may lie at any depth; ``TOKEN_DIR`` gets the same folders. Files that
give no piece are listed with their reason in ``TOKEN_DIR/rejected.tsv``. Exit status 0 when the folder
holds at least one piece and no reader process crashed.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import closing
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from tqdm import tqdm

from data_prep.command import CommandError, add_limit_options, run_command
from data_prep.folders.files import find_files, one_line
from data_prep.folders.limited_workers import Failure, Limits, run_limited
from data_prep.folders.token_folder import TokenFolder
from data_prep.tokens.encode import check_encodable, encode
from data_prep.tokens.song import SongError, read_song
from data_prep.tokens.vocabulary import DRUMS, REPRESENTATIONS, SIX_TRACK

__all__ = ["encode", "encode_file", "main", "read_song"]

MIDI_SUFFIXES = (".mid", ".midi")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class EncodingOptions:
    """How songs become tokens; see ``encode``."""

    representation: str
    original_key: bool = False
    keep_empty_bars: bool = False


@dataclass(frozen=True)
class Piece:
    """An encoded song: its line, how many tokens it holds, how many notes of length zero were dropped.

    ``damaged_events`` counts the meta events that were left out.
    """

    line: str
    tokens: int
    dropped_notes: int
    damaged_events: int = 0


def encode_file(path: Path, options: EncodingOptions) -> Piece:
    """Encode one MIDI file; its line always obeys the grammar. Raises SongError saying why it cannot be."""
    representation = REPRESENTATIONS[options.representation]
    song = read_song(path)
    check_encodable(song, representation, options.keep_empty_bars)
    tokens = encode(song, representation, not options.original_key, options.keep_empty_bars)
    return Piece(" ".join(tokens), len(tokens), song.dropped_notes, song.damaged_events)


def _encode_or_fail(file: Path, folder: Path, options: EncodingOptions) -> Piece | Failure:
    try:
        return encode_file(folder / file, options)
    except SongError as error:
        return Failure(str(error))


def output_names(files: Sequence[Path], taken: set[str]) -> dict[Path, Path]:
    """Where the tokens of each file go: ``a.mid`` to ``a.txt``, unless that name is wanted twice.

    Files that differ in nothing but their suffix (``a.mid``, ``a.midi``) keep it: ``a.mid.txt``,
    ``a.midi.txt``. So do files whose short name is in ``taken``, the outputs of an earlier run.
    """
    names = {file: file.with_suffix(".txt") for file in files}
    while True:
        # Folded case, because some file systems do not tell A.txt from a.txt.
        wanted = Counter(str(name).casefold() for name in names.values())
        changed = False
        for file, name in names.items():
            full = file.with_name(file.name + ".txt")
            if name != full and (wanted[str(name).casefold()] > 1 or str(name) in taken):
                names[file], changed = full, True
        if not changed:
            return names


def encode_folder(midi_dir: Path, folder: TokenFolder, options: EncodingOptions, workers: int, limits: Limits) -> None:
    """Encode what ``folder`` does not hold yet, file by file. Raises CommandError and OSError."""
    unlisted: list[OSError] = []
    files = find_files(midi_dir, MIDI_SUFFIXES, unlisted.append)
    if not files and not unlisted:
        raise CommandError(f"{midi_dir} holds no MIDI files (.mid or .midi) at any depth.")
    folder.forget_rejected_but({one_line(str(file)) for file in files})
    for error in unlisted:
        folder.reject(Path(error.filename).relative_to(midi_dir), f"cannot be listed: {error.strerror}")
    done = folder.encoded.keys() | folder.rejected.keys()
    waiting = [file for file in files if one_line(str(file)) not in done]
    names = output_names(waiting, {row.output for row in folder.encoded.values()})
    damaged: list[int] = []
    work = partial(_encode_or_fail, folder=midi_dir, options=options)
    outcomes = run_limited(work, waiting, workers, limits)
    with closing(outcomes), tqdm(total=len(files), initial=len(files) - len(waiting), disable=None) as bar:
        for file, outcome in outcomes:
            if isinstance(outcome, Failure):
                folder.reject(file, outcome.reason)
            else:
                folder.add(file, names[file], outcome.line, outcome.tokens, outcome.dropped_notes)
                damaged += [outcome.damaged_events] if outcome.damaged_events else []
            bar.update()
    folder.finish()
    if damaged:
        _logger.info("left out %d damaged meta events from %d pieces", sum(damaged), len(damaged))


def _summarise(folder: TokenFolder) -> int:
    """Log what became of all files; the exit status."""
    tokens = sum(row.tokens for row in folder.encoded.values())
    _logger.info("%d pieces, %d tokens in %s", len(folder.encoded), tokens, folder.root)
    dropped = [row.dropped_notes for row in folder.encoded.values() if row.dropped_notes]
    if dropped:
        _logger.info("dropped %d notes of length zero from %d pieces", sum(dropped), len(dropped))
    faults = Counter(reason.partition(":")[0] for reason in folder.rejected.values())
    if faults:
        _logger.info("rejected %d files, see %s", faults.total(), folder.root / "rejected.tsv")
    for fault, count in faults.most_common():
        _logger.info("%7d  %s", count, fault)
    if not folder.encoded:
        _logger.error("No file gave a piece.")
    if faults["crash"]:
        _logger.error("The reader crashed on %d files; the others are done.", faults["crash"])
    return 0 if folder.encoded and not faults["crash"] else 1


def _parser() -> argparse.ArgumentParser:
    programs = ", ".join(str(instrument) for instrument in sorted(SIX_TRACK.instruments) if instrument != DRUMS)
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.midi_to_tokens",
        description="Encode every MIDI file under MIDI_DIR as one line of tokens in its own text file.",
    )
    parser.add_argument("midi_dir", metavar="MIDI_DIR", type=Path, help="folder of .mid and .midi files")
    parser.add_argument("token_dir", metavar="TOKEN_DIR", type=Path, help="new folder for the token files")
    parser.add_argument(
        "--representation",
        required=True,
        choices=sorted(REPRESENTATIONS),
        help=f"six_track: 4/4 and the instruments {programs} and drums only; general: any song",
    )
    parser.add_argument("--original-key", action="store_true", help="do not shift songs to C major or A minor")
    parser.add_argument("--keep-empty-bars", action="store_true", help="keep the bars before the first note")
    add_limit_options(parser)
    parser.add_argument("--resume", action="store_true", help="go on with an interrupted run with the same options")
    return parser


def _run(args: argparse.Namespace) -> int:
    if not args.midi_dir.is_dir():
        raise CommandError(f"{args.midi_dir} is not a folder; name the folder that holds the MIDI files.")
    options = EncodingOptions(args.representation, args.original_key, args.keep_empty_bars)
    folder = TokenFolder(args.token_dir, vars(options), args.resume)
    limits = Limits(args.time_limit, args.memory_limit)
    encode_folder(args.midi_dir, folder, options, args.workers, limits)
    return _summarise(folder)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = _parser().parse_args(arguments)
    return run_command(lambda: _run(args), "Interrupted; --resume goes on from here.")


if __name__ == "__main__":
    sys.exit(main())
