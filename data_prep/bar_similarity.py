"""How alike bars are that lie t bars apart: the statistic that chose the paper's structure bars.

    python -m data_prep.bar_similarity SPLIT_DIR/train.tokens --plot similarity.png

prints L_t for t = 1 ... 40, and the distances that would serve this corpus best as ``--structure-bars``.
TOKENS are token files (one piece a line), folders of them (.txt, .tokens), or what ``fairseq-generate``
printed.

The similarity of two bars is |A and B| / |A or B|, A and B being their sets of notes, equal when onset in
the bar, pitch and duration are (paper, section 3.2). L_t is its mean over all pairs of bars of one piece
that lie t apart; a pair of two empty bars has no similarity and is left out.
"""

from __future__ import annotations

import argparse
import logging
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep.command import CommandError, run_command
from data_prep.note_table import NoteTable, note_table
from data_prep.structure_bars import PAPER_STRUCTURE_BARS, recommend, trade_off
from data_prep.token_files import read_token_lines, token_sources
from data_prep.vocabulary import SIX_TRACK

# What can be compared by its name: the paper's figure is that of the melody.
TRACKS: Mapping[str, int | None] = {
    name: None if name == "all" else SIX_TRACK.instrument_of(name)
    for melody, *others in [SIX_TRACK.track_names().values()]
    for name in (melody, "all", *others)
}
MAX_DISTANCE = 40  # bars, as in the paper's figure 3
_BATCH_CHARACTERS = 4_000_000  # of token lines worked on at once: some 200,000 notes, 200 MB
_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class BarSimilarity:
    """Similarities of bars summed up piece by piece, so that means can be pooled or resampled.

    ``sums`` float64 and ``pairs`` int64, both [pieces, max distance]: the sum of the similarities of all
    pairs of bars t apart, and how many there are; column 0 is t = 1. ``bars``, ``tokens`` (of all tracks)
    and ``notes`` are totals.
    """

    sums: np.ndarray
    pairs: np.ndarray
    bars: int
    notes: int
    tokens: int = 0

    def curve(self) -> np.ndarray:
        """float64 [max distance]: L_t as the paper defines it, pooled over all pairs; NaN without pairs."""
        return _ratio(self.sums.sum(axis=0), self.pairs.sum(axis=0))

    def curve_per_piece(self) -> np.ndarray:
        """Like ``curve``, but the mean of the pieces' own means, so that long pieces weigh no more."""
        means = _ratio(self.sums, self.pairs)
        present = ~np.isnan(means)
        return _ratio(np.where(present, means, 0.0).sum(axis=0), present.sum(axis=0))


def _ratio(sums: np.ndarray, counts: np.ndarray) -> np.ndarray:
    return np.divide(sums, counts, out=np.full(sums.shape, np.nan), where=counts > 0)


def similarity_of_lines(
    lines: Iterable[str], tracks: Sequence[str] = ("melody",), max_distance: int = MAX_DISTANCE
) -> dict[str, BarSimilarity]:
    """The similarities of the pieces in ``lines`` (one piece a line), for each of ``tracks`` (see TRACKS).

    In track ``all`` notes are equal only when their instruments are too. Faults in a line are skipped as
    ``note_table`` says. Raises KeyError for a track that is not in TRACKS.
    """
    parts: dict[str, list[BarSimilarity]] = {track: [] for track in tracks}
    for batch in _batches(lines):
        table = note_table(batch)
        for track in tracks:
            parts[track].append(_similarity_of_table(table, TRACKS[track], max_distance))
    empty = np.zeros((0, max_distance))
    return {
        track: BarSimilarity(
            np.concatenate([empty, *(part.sums for part in members)]),
            np.concatenate([empty.astype(np.int64), *(part.pairs for part in members)]),
            sum(part.bars for part in members),
            sum(part.notes for part in members),
            sum(part.tokens for part in members),
        )
        for track, members in parts.items()
    }


def similarity_error(generated: np.ndarray, reference: np.ndarray) -> float:
    """Mean over t of |L_t(generated) - L_t(reference)|, as a fraction: the paper's SE is this in percent.

    Both are curves of one length. Distances that one of them has no pairs for are left out; raises
    ValueError when none is left.
    """
    if generated.shape != reference.shape:
        raise ValueError(f"curves of {len(generated)} and {len(reference)} distances cannot be compared")
    differences = np.abs(generated - reference)
    differences = differences[~np.isnan(differences)]
    if not len(differences):
        raise ValueError("the two curves have no distance in common: one of them has no pairs of bars")
    return float(differences.mean())


def _batches(lines: Iterable[str]) -> Iterator[list[str]]:
    batch: list[str] = []
    characters = 0
    for line in lines:
        batch.append(line)
        characters += len(line)
        if characters >= _BATCH_CHARACTERS:
            yield batch
            batch, characters = [], 0
    if batch:
        yield batch


def _similarity_of_table(table: NoteTable, instrument: int | None, max_distance: int) -> BarSimilarity:
    notes = table.notes if instrument is None else table.notes[table.notes[:, 1] == instrument]
    bars = len(table.bar_pieces)
    # A gap between pieces keeps their bars further apart than any distance that counts.
    places = np.arange(bars) + max_distance * table.bar_pieces
    room = int(places[-1]) + 1 + max_distance if bars else max_distance
    coded = _distinct(notes, places, room)
    at, codes = coded % room, coded // room
    sizes = np.bincount(at, minlength=room)
    common = _common_notes(at, codes, room, max_distance)

    sums = np.zeros((table.pieces, max_distance))
    pairs = np.zeros((table.pieces, max_distance), dtype=np.int64)
    for distance in range(1, max_distance + 1):
        near = np.flatnonzero(table.bar_pieces[distance:] == table.bar_pieces[:-distance])
        left, right = places[near], places[near + distance]
        shared = common[distance - 1, left]
        union = sizes[left] + sizes[right] - shared
        counted = union > 0
        pieces = table.bar_pieces[near[counted]]
        similarities = shared[counted] / union[counted]
        sums[:, distance - 1] = np.bincount(pieces, similarities, table.pieces)
        pairs[:, distance - 1] = np.bincount(pieces, minlength=table.pieces)
    return BarSimilarity(sums, pairs, bars, len(notes), table.tokens)


def _distinct(notes: np.ndarray, places: np.ndarray, room: int) -> np.ndarray:
    """Sorted int64: (instrument, onset, pitch, duration) and the bar's place in one number, each once."""
    code = ((notes[:, 1] * 1000 + notes[:, 2]) * 256 + notes[:, 3]) * 128 + notes[:, 4]
    coded = np.sort(code * room + places[notes[:, 0]])
    return coded[np.concatenate([[True], coded[1:] != coded[:-1]])] if len(coded) else coded


def _common_notes(at: np.ndarray, codes: np.ndarray, room: int, max_distance: int) -> np.ndarray:
    """int64 [max distance, room]: how many notes the bar at a place shares with the bar t places later.

    ``codes`` rise, and ``at`` within equal codes: occurrences of one note in rising bars. Walking up from
    every occurrence to the next of its note, the next but one and so on meets each pair that shares it
    once, and can stop where another note begins or the distance grows too long.
    """
    common = np.zeros(max_distance * room, dtype=np.int64)
    first = np.arange(len(at))
    for step in range(1, max_distance + 1):
        first = first[first + step < len(at)]
        distance = at[first + step] - at[first]
        alike = (codes[first + step] == codes[first]) & (distance <= max_distance)
        first, distance = first[alike], distance[alike]
        if not len(first):
            break
        common += np.bincount((distance - 1) * room + at[first], minlength=len(common))
    return common.reshape(max_distance, room)


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
        from data_prep.similarity_plot import draw_similarity  # matplotlib takes a second to load

        draw_similarity({args.track: curve}, args.plot, recommend(curve, len(PAPER_STRUCTURE_BARS)))
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    args = _parser().parse_args(arguments)
    return run_command(lambda: _run(args), "Interrupted.")


if __name__ == "__main__":
    sys.exit(main())
