"""The command: writes what is asked for with a steerable model, and prints how well it was met.

    python -m evaluation.orders CHECKPOINT DATA_BIN --what form,fill

docs/orders.md says what is measured. Prints a Markdown table for each of ``--what``, with 95 % intervals by bootstrap
over pieces, and what the same figures are in real songs.
"""

from __future__ import annotations

import argparse
import logging
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from tqdm import tqdm

from data_prep.command import CommandError, positive, run_command
from evaluation import steering
from evaluation.data_bin import Split
from evaluation.perplexity import load_model
from museformer_plugin.errors import UserError
from museformer_plugin.family_temperatures import FamilyTemperatures, parse_temperatures
from museformer_plugin.guidance import guidance_strength
from museformer_plugin.sampling import SamplingOptions, repeat_temperature
from museformer_plugin.token_families import TokenFamilies

from . import accompaniment, endings, exactness, filling, form
from .pieces import Piece
from .writer import Writer

LEARNT_FROM = "train"  # the split in which the chords of melodies are counted

_logger = logging.getLogger("evaluation.orders")
_logger.setLevel(logging.INFO)


def _pieces_of(split: Split, families: TokenFamilies) -> Iterator[Piece]:
    for index in tqdm(range(len(split)), desc=f"{split.name} songs", unit="song", leave=False):
        yield Piece.of(split.indices(index), families)


def _form(writer: Writer, songs: Sequence[Piece], args: argparse.Namespace) -> str:
    return form.report(writer, songs, args.pieces, args.labels, args.midi)


def _fill(writer: Writer, songs: Sequence[Piece], args: argparse.Namespace) -> str:
    losses = steering.measure(writer.decoder, [song.tokens for song in songs], args.around, args.places, args.seed)
    told = steering.table(losses, f"at {args.places} random places")
    return f"{told}\n\n{filling.report(writer, songs, args.places, args.around, args.seed)}"


def _bars(writer: Writer, songs: Sequence[Piece], args: argparse.Namespace) -> str:
    return endings.report(writer, songs, args.pieces, args.seed)


def _accompany(writer: Writer, songs: Sequence[Piece], args: argparse.Namespace) -> str:
    learnt_from = _pieces_of(Split(args.data_bin, LEARNT_FROM), writer.decoder.families)
    return accompaniment.report(writer, songs, learnt_from, args.pieces, args.seed)


def _exactness(writer: Writer, songs: Sequence[Piece], args: argparse.Namespace) -> str:
    return exactness.report(writer, songs, args.requests, args.seed)


MEASURES: dict[str, Callable[[Writer, Sequence[Piece], argparse.Namespace], str]] = {
    "form": _form,
    "bars": _bars,
    "fill": _fill,
    "accompany": _accompany,
    "exactness": _exactness,
}


def _names(text: str) -> list[str]:
    names = [name.strip() for name in text.split(",") if name.strip()]
    if unknown := [name for name in names if name not in MEASURES]:
        raise argparse.ArgumentTypeError(f"there is no {unknown[0]!r}; there are {', '.join(MEASURES)}")
    if not names:
        raise argparse.ArgumentTypeError(f"name some of {', '.join(MEASURES)}")
    return names


def _sampling(args: argparse.Namespace, families: TokenFamilies) -> SamplingOptions:
    temperatures = parse_temperatures(args.family_temperatures)
    reshape = FamilyTemperatures(families, temperatures) if temperatures else None
    of_repeats = repeat_temperature(args.repeat_temperature)
    strength = guidance_strength(args.guidance)
    return SamplingOptions(True, args.topk, 0, args.temperature, reshape, strength, of_repeats)


def _run(args: argparse.Namespace) -> int:
    decoder = load_model(args.checkpoint, args.data_bin).model.decoder
    if getattr(decoder, "condition_columns", None) is None:
        raise CommandError(f"{args.checkpoint} cannot be told of bars: it was trained without --steerable.")
    families = decoder.families
    if not families.representation.tracks:
        raise CommandError(f"{args.data_bin} holds general tokens; what is measured here needs six tracks.")
    split = Split(args.data_bin, args.subset)
    if "accompany" in args.what:
        Split(args.data_bin, LEARNT_FROM)  # refused before anything is written
    count = min(len(split), args.songs or len(split))
    songs = [Piece.of(split.indices(index), families) for index in range(count)]
    try:
        writer = Writer(decoder, _sampling(args, families), args.streams, args.seed)
        for name in args.what:
            begin = time.monotonic()
            table = MEASURES[name](writer, songs, args)
            print(f"## {name}\n\n{table}\n", flush=True)
            _logger.info("%s took %.0f seconds", name, time.monotonic() - begin)
    except UserError as error:
        raise CommandError(f"{error}") from None
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; returns its exit status."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.orders", description=__doc__.split("\n")[0])
    add = parser.add_argument
    add("checkpoint", type=Path, metavar="CHECKPOINT", help="a model trained with --steerable")
    add("data_bin", type=Path, metavar="DATA_BIN", help="the folder that fairseq-preprocess wrote")
    add("--what", type=_names, default=list(MEASURES), metavar="NAMES", help=f"of {','.join(MEASURES)} (default: all)")
    add("--subset", default="test", help="the songs that are written into and compared with (default: test)")
    add("--songs", type=positive, help="how many of them (default: all)")
    add("--pieces", type=positive, default=100, help="written for form, bars and accompany each (default: 100)")
    add("--requests", type=positive, default=200, help="of each kind for exactness (default: 200)")
    add("--places", type=positive, default=2, help="random places of a song that are filled in (default: 2)")
    add("--around", type=positive, default=32, help="bars before and after them that are read at most (default: 32)")
    add("--labels", type=Path, metavar="LABELS.tsv", help="forms that people heard in songs of --midi")
    add("--midi", type=Path, metavar="FOLDER", help="where the songs of --labels are")
    add("--streams", type=positive, default=32, help="pieces written at the same time (default: 32)")
    add("--seed", type=int, default=1, help="of sampling, and of what is drawn (default: 1)")
    add("--topk", type=int, default=8, help="draw among so many likeliest tokens (default: 8)")
    add("--temperature", type=float, default=1.0, help="above 1 is wilder (default: 1)")
    add("--family-temperatures", default="", help="inside kinds of tokens, such as pitch=0.7,duration=0.7")
    add("--guidance", type=float, default=0.5, help="how far beyond what is written when told (default: 0.5)")
    add("--repeat-temperature", type=float, default=0.1, help="of bars told to repeat one (default: 0.1)")
    args = parser.parse_args(arguments)
    if (args.labels is None) != (args.midi is None):
        parser.error("--labels and --midi go together")
    return run_command(lambda: _run(args), "Interrupted.")


if __name__ == "__main__":
    sys.exit(main())
