"""How alike bars are that lie t bars apart, and the structure bars that this recommends.

    python -m data_prep.bar_similarity SPLIT_DIR/train.tokens --plot similarity.png

prints L_t (see ``data_prep.similarity.bars``) for t = 1 ... 40, and the distances that would serve this corpus best
as ``--structure-bars``. TOKENS are token files (one piece a line), folders of them (.txt, .tokens), or what
``fairseq-generate`` printed.
"""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path

import numpy as np

from data_prep.command import CommandError, run_command
from data_prep.similarity.bars import MAX_DISTANCE, TRACKS, BarSimilarity, similarity_of_lines
from data_prep.similarity.structure_bars import PAPER_STRUCTURE_BARS, recommend, trade_off
from data_prep.tokens.token_files import read_token_lines, token_sources


def _table(curve: np.ndarray, pairs: np.ndarray, recommended: Sequence[int]) -> Iterator[str]:
    yield "   t   L_t [%]      pairs"
    for distance, (value, count) in enumerate(zip(curve, pairs), start=1):
        shown = "      -" if np.isnan(value) else f"{100 * value:7.2f}"
        mark = "  *" if distance in recommended else ""
        yield f"{distance:4d}   {shown} {count:10d}{mark}"


def _report(similarity: BarSimilarity, curve: np.ndarray, track: str) -> Iterator[str]:
    pairs = similarity.pairs.sum(axis=0)
    count = len(PAPER_STRUCTURE_BARS)
    recommended = recommend(curve, count)
    yield f"{len(similarity.pairs)} pieces, {similarity.bars} bars, {similarity.notes} notes in track {track}"
    yield from _table(curve, pairs, recommended)
    yield ""
    yield "structure bars: share of all similarity (the sum of L_t times pairs), and what that costs a token:"
    choices = {
        "recommended": recommended,
        "the paper's": [t for t in PAPER_STRUCTURE_BARS if t <= len(curve)],
        f"the last {count}": list(range(1, min(count, len(curve)) + 1)),
    }
    for name, distances in choices.items():
        choice = trade_off(curve, pairs, similarity.bars, similarity.tokens, distances)
        listed = ",".join(map(str, distances))
        yield f"  {name:12} {100 * choice.mass:5.1f} %  {choice.keys:7.0f} keys of {choice.bars:5.2f} bars   {listed}"
    yield ""
    yield f"--structure-bars {','.join(map(str, recommended))}"


def _lines(inputs: Sequence[Path]) -> Iterator[str]:
    for source in token_sources(inputs):
        for line in read_token_lines(source.path):
            yield line.text


def _distance(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not 1 <= int(text) <= 1000:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number of bars from 1 to 1000")
    return int(text)


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m data_prep.bar_similarity",
        description="Measure how alike bars are that lie t bars apart, and recommend structure bars.",
    )
    parser.add_argument("tokens", metavar="TOKENS", nargs="+", type=Path, help="token files or folders of them")
    parser.add_argument(
        "--track",
        choices=list(TRACKS),
        default="melody",
        help="compare the notes of this track only; all: of all tracks, instrument by instrument "
        "(default: %(default)s, as the paper does; token files in the general representation want all)",
    )
    parser.add_argument(
        "--max-distance",
        type=_distance,
        default=MAX_DISTANCE,
        metavar="BARS",
        help="the longest distance to measure (default: %(default)s)",
    )
    parser.add_argument(
        "--per-piece", action="store_true", help="average over pieces instead of pooling all pairs of bars"
    )
    parser.add_argument("--plot", type=Path, metavar="FILE.png", help="also draw L_t, as the paper's figure 3 does")
    return parser


def _run(args: argparse.Namespace) -> int:
    similarity = similarity_of_lines(_lines(args.tokens), [args.track], args.max_distance)[args.track]
    curve = similarity.curve_per_piece() if args.per_piece else similarity.curve()
    if np.isnan(curve).all():
        raise CommandError(f"No two bars with notes in track {args.track}; --track all takes every instrument.")
    for line in _report(similarity, curve, args.track):
        print(line)
    if args.plot:
        from data_prep.similarity.plot import draw_similarity  # matplotlib takes a second to load

        draw_similarity({args.track: curve}, args.plot, recommend(curve, len(PAPER_STRUCTURE_BARS)))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = _parser().parse_args(arguments)
    return run_command(lambda: _run(args), "Interrupted.")


if __name__ == "__main__":
    sys.exit(main())
