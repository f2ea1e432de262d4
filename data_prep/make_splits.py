"""Gather token files into training, validation and test sets for ``fairseq-preprocess``.

    python -m data_prep.make_splits TOKEN_DIR SPLIT_DIR --ratios 8:1:1 --seed 1

writes ``train.tokens`` (one piece a line), ``train.pieces`` (the file each line comes from), the same for
``valid`` and ``test``, ``dict.txt``, and ``rejected.tsv`` with the pieces that break the grammar. Then::

    fairseq-preprocess --only-source --srcdict SPLIT_DIR/dict.txt --trainpref SPLIT_DIR/train.tokens \\
        --validpref SPLIT_DIR/valid.tokens --testpref SPLIT_DIR/test.tokens --destdir DATA_DIR
"""

from __future__ import annotations

import argparse
import logging
import random
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

from tqdm import tqdm

from data_prep.command import CommandError, run_command
from data_prep.folders.files import find_files, one_line, to_bytes, whole_file, write_whole
from data_prep.folders.song_lists import SongFinder, read_song_list
from data_prep.tokens.grammar import require_grammar
from data_prep.tokens.token_files import TokenLine, read_token_lines
from data_prep.tokens.vocabulary import REPRESENTATIONS, Representation, TokenError

SPLITS = ("train", "valid", "test")
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class PieceSource:
    """Where a piece stands: a file relative to TOKEN_DIR and the line in it, None for a file's only line."""

    file: Path
    line: int | None

    def __str__(self) -> str:
        return one_line(str(self.file)) + (f":{self.line}" if self.line else "")


def _source(file: Path, line: TokenLine) -> PieceSource:
    return PieceSource(file, None if line.name == file.stem else line.number)


def _check_piece(text: str) -> Representation:
    """The representation of a line that obeys its grammar. Raises TokenError when it does not."""
    tokens = text.split()
    if not tokens:
        raise TokenError("the line is empty")
    openers = {representation.bar_start: representation for representation in REPRESENTATIONS.values()}
    representation = openers.get(tokens[0].partition("-")[0])
    if representation is None:
        raise TokenError(f"token 1: {tokens[0]!r} opens no piece; a piece begins with s- or t-")
    require_grammar(tokens, representation)
    return representation


def check_pieces(token_dir: Path) -> tuple[list[PieceSource], dict[PieceSource, str], Representation]:
    """Read all pieces: (the good ones, reasons for the others, their representation).

    Raises CommandError when there is no good piece or when both representations occur.
    """
    files = find_files(token_dir, (".txt",))
    if not files:
        raise CommandError(f"{token_dir} holds no token files (.txt) at any depth.")
    good: dict[PieceSource, Representation] = {}
    rejected: dict[PieceSource, str] = {}
    for file in tqdm(files, desc="checking", disable=None):
        try:
            for line in read_token_lines(token_dir / file):
                source = _source(file, line)
                try:
                    good[source] = _check_piece(line.text)
                except TokenError as error:
                    rejected[source] = str(error)
        except CommandError as error:
            rejected[PieceSource(file, None)] = str(error)
    if not good:
        raise CommandError(f"{token_dir} holds no piece that obeys the grammar: {next(iter(rejected.values()))}.")
    counts = Counter(representation.name for representation in good.values())
    if len(counts) > 1:
        listed = " and ".join(f"{count} pieces in {name}" for name, count in counts.most_common())
        raise CommandError(
            f"{token_dir} holds {listed}; a data set has one dictionary, so keep them in separate folders."
        )
    return list(good), rejected, next(iter(good.values()))


def split_by_ratios(pieces: Sequence[PieceSource], ratios: Sequence[float], seed: int) -> dict[str, list[PieceSource]]:
    """Split at random, the same way for the same pieces and seed.

    Every split with a share gets a piece while there are enough, at the cost of the largest.
    """
    shuffled = list(pieces)
    random.Random(seed).shuffle(shuffled)
    edges = [round(len(shuffled) * sum(ratios[:n]) / sum(ratios)) for n in range(len(SPLITS) + 1)]
    sizes = [end - start for start, end in zip(edges, edges[1:])]
    for n, ratio in enumerate(ratios):
        if ratio > 0 and not sizes[n] and max(sizes) > 1:
            sizes[sizes.index(max(sizes))] -= 1
            sizes[n] = 1
    remaining = iter(shuffled)
    chosen = [list(islice(remaining, size)) for size in sizes]
    return {
        split: sorted(members, key=lambda piece: (piece.file, piece.line or 0))
        for split, members in zip(SPLITS, chosen)
    }


def split_by_lists(pieces: Sequence[PieceSource], lists: Path) -> dict[str, list[PieceSource]]:
    """Split as ``lists``/train.txt, valid.txt and test.txt say; names without a piece are told.

    Raises CommandError when a name fits several pieces or a piece is in two lists.
    """
    finder = SongFinder(dict.fromkeys(piece.file for piece in pieces))
    home: dict[Path, str] = {}
    for split in SPLITS:
        names = read_song_list(lists / f"{split}.txt")
        missing = []
        for name in names:
            files = finder.find(name)
            if len(files) > 1:
                raise CommandError(f"{name} in {split}.txt may mean {files[0]} or {files[1]}; add its folder.")
            if not files:
                missing.append(name)
            elif home.setdefault(files[0], split) != split:
                raise CommandError(f"{files[0]} is both in {home[files[0]]}.txt and in {split}.txt.")
        if missing:
            _logger.warning(
                "%d of the %d names in %s.txt have no piece, the first is %s.",
                len(missing),
                len(names),
                split,
                missing[0],
            )
    left_out = sum(piece.file not in home for piece in pieces)
    if left_out:
        _logger.warning("%d pieces are in no list and are left out.", left_out)
    return {split: [piece for piece in pieces if home.get(piece.file) == split] for split in SPLITS}


def write_splits(
    token_dir: Path,
    split_dir: Path,
    splits: Mapping[str, Sequence[PieceSource]],
    rejected: Mapping[PieceSource, str],
    representation: Representation,
) -> None:
    """Write all files of SPLIT_DIR, or none of them when that fails. Raises OSError."""
    home = {piece: split for split, members in splits.items() for piece in members}
    with ExitStack() as stack:
        tokens = {split: stack.enter_context(whole_file(split_dir / f"{split}.tokens")) for split in SPLITS}
        pieces = {split: stack.enter_context(whole_file(split_dir / f"{split}.pieces")) for split in SPLITS}
        for file in tqdm(dict.fromkeys(piece.file for piece in home), desc="writing", disable=None):
            for line in read_token_lines(token_dir / file):
                source = _source(file, line)
                if source in home:
                    tokens[home[source]].write(to_bytes(" ".join(line.text.split()) + "\n"))
                    pieces[home[source]].write(to_bytes(f"{source}\n"))
        rows = "".join(f"{piece}\t{one_line(reason)}\n" for piece, reason in rejected.items())
        write_whole(split_dir / "rejected.tsv", to_bytes(rows))
        write_whole(split_dir / "dict.txt", to_bytes(representation.dict_txt()))


def _require_filled(splits: Mapping[str, Sequence[PieceSource]], ratios: Sequence[float]) -> None:
    empty = [split for split, ratio in zip(SPLITS, ratios) if ratio > 0 and not splits[split]]
    if empty:
        held = ", ".join(f"{len(splits[split])} {split}" for split in SPLITS)
        raise CommandError(f"No piece for {' and '.join(empty)} ({held}); add pieces or change the split.")


def _ratios(text: str) -> tuple[float, ...]:
    try:
        ratios = tuple(float(part) for part in text.split(":"))
    except ValueError:
        ratios = ()
    if len(ratios) != len(SPLITS) or not all(0 <= ratio < float("inf") for ratio in ratios) or not sum(ratios):
        raise argparse.ArgumentTypeError(f"{text} is not three shares such as 8:1:1")
    return ratios


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.make_splits",
        description="Gather the token files of TOKEN_DIR into training, validation and test sets.",
    )
    parser.add_argument("token_dir", metavar="TOKEN_DIR", type=Path, help="what midi_to_tokens wrote")
    parser.add_argument("split_dir", metavar="SPLIT_DIR", type=Path, help="folder for the sets and dict.txt")
    how = parser.add_mutually_exclusive_group()
    how.add_argument(
        "--ratios",
        type=_ratios,
        default=(8.0, 1.0, 1.0),
        metavar="T:V:T",
        help="shares of training, validation and test pieces (default: 8:1:1)",
    )
    how.add_argument(
        "--lists",
        type=Path,
        metavar="DIR",
        help="folder with train.txt, valid.txt and test.txt that name the songs, one a line, with or "
        "without folder and suffix",
    )
    parser.add_argument("--seed", type=int, default=1, help="of the random split (default: %(default)s)")
    return parser


def _run(args: argparse.Namespace) -> int:
    for folder in filter(None, (args.token_dir, args.lists)):
        if not folder.is_dir():
            raise CommandError(f"{folder} is not a folder.")
    if args.split_dir.resolve().is_relative_to(args.token_dir.resolve()):
        raise CommandError(f"{args.split_dir} lies in {args.token_dir}, whose .txt files are pieces; move it out.")
    if args.split_dir.exists() and (not args.split_dir.is_dir() or any(args.split_dir.iterdir())):
        raise CommandError(f"{args.split_dir} exists and is not an empty folder; name another.")
    good, rejected, representation = check_pieces(args.token_dir)
    if rejected:
        _logger.warning(
            "%d pieces break the grammar and are left out, see %s", len(rejected), args.split_dir / "rejected.tsv"
        )
    if args.lists:
        splits = split_by_lists(good, args.lists)
        _require_filled(splits, [1] * len(SPLITS))
    else:
        _logger.info("random split with seed %d", args.seed)
        splits = split_by_ratios(good, args.ratios, args.seed)
        _require_filled(splits, args.ratios)
    write_splits(args.token_dir, args.split_dir, splits, rejected, representation)
    counts = ", ".join(f"{len(splits[split])} {split}" for split in SPLITS)
    _logger.info("%s pieces in %s, %s representation", counts, args.split_dir, representation.name)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = _parser().parse_args(arguments)
    return run_command(lambda: _run(args), "Interrupted; nothing was written.")


if __name__ == "__main__":
    sys.exit(main())
