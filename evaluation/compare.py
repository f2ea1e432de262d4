"""The scorecards of several models in one table.

    python -m evaluation.compare A/report.json B/report.json ...

prints markdown, a column for each model, named after the report's folder. With ``--over-seeds`` models whose names
differ in the training seed at their end alone, such as full-1 and full-2, share one: the mean, and in brackets the
lowest and the highest. ``--paper`` adds a second table with the figures that the paper measured, on its own data.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.command import CommandError, run_command
from data_prep.similarity.bars import TRACKS
from data_prep.tokens.vocabulary import FAMILIES
from evaluation.bootstrap import Bootstrap
from evaluation.ngrams import ORDERS
from evaluation.report_text import (
    FEATURE_NAMES,
    FORMAT,
    UNKNOWN,
    WHOLE,
    architecture_text,
    shown,
    shown_peaks,
    shown_spread,
    table,
)

# Yu et al. (NeurIPS 2022): perplexity at 1,024, 5,120 and 10,240 tokens, similarity error in percent.
PAPER = {
    "Music Transformer": (1.66, 1.77, 2.55, 2.49),
    "Transformer-XL": (1.64, 1.45, 1.43, 15.66),
    "Longformer": (1.65, 1.46, 1.45, 5.25),
    "Linear Transformer": (1.86, 1.67, 1.64, 1.97),
    "Museformer": (1.64, 1.41, 1.35, 0.95),
    "Museformer without coarse-grained attention": (1.65, 1.42, 1.38, 1.08),
    "Museformer with the last 8 bars as structure bars": (1.65, 1.43, 1.39, 6.39),
}

_BARS = {"repeats": "bars that repeat one", "varies": "bars that vary one", "new": "new bars"}

# What stands where in a report: name, keys, digits shown.
_ROWS: tuple[tuple[str, tuple[str, ...], int], ...] = (
    *((f"perplexity, first {length:,} tokens", ("perplexity", str(length)), 2) for length in (1024, 5120, 10240)),
    ("perplexity, whole pieces", ("perplexity", WHOLE), 2),
    *((f"bits a token, {family.name}", ("losses_by_kind", "family", family.name), 3) for family in FAMILIES),
    *(
        (f"bits a token, track {track}", ("losses_by_kind", "track", track), 3)
        for track in (*TRACKS, "other instruments", "shared")
    ),
    *((f"bits a token, {name}", ("losses_by_kind", "bar", kind), 3) for kind, name in _BARS.items()),
    *(
        (f"bits a token of the melody, {name}", ("losses_by_kind", "track_bar", f"melody, {kind}"), 3)
        for kind, name in _BARS.items()
    ),
    *((f"similarity error, {track} (%)", ("similarity_error_percent", track, "generated"), 2) for track in TRACKS),
    *((f"exact repeats, {track} (%)", ("exact_repeats_percent", "tracks", track, "generated"), 1) for track in TRACKS),
    ("grammar errors per 1,000 tokens", ("grammar_errors", "constrained"), 2),
    ("the same without the constraint", ("grammar_errors", "unconstrained"), 2),
    *((f"{name}, generated - test", ("features", feature, "difference"), 3) for feature, name in FEATURE_NAMES.items()),
    ("BLEU of continuations", ("bleu",), 2),
    ("self-BLEU", ("self_bleu", "generated"), 2),
    *(
        (f"{order}-grams of the training set (%)", ("known_ngrams_percent", str(order), "generated"), 1)
        for order in ORDERS
    ),
    ("longest copied run (bars, mean)", ("copied_bars", "all", "generated"), 2),
    ("longest copied run, melody (bars, mean)", ("copied_bars", "melody", "generated"), 2),
)

# The same for what is not a figure with its interval: name, keys, how it is shown.
_TEXT_ROWS: tuple[tuple[str, tuple[str, ...], Callable[[Any], str]], ...] = (
    *(
        (f"peaks at 4, 8, 16 bars, {track}", ("similarity_peaks_percent", track, "generated"), shown_peaks)
        for track in TRACKS
    ),
    *(
        (f"{name}, within 5 to 95 % of test pieces", ("features", feature, "spread"), shown_spread)
        for feature, name in FEATURE_NAMES.items()
    ),
)


def read_report(path: Path) -> dict[str, Any]:
    """A ``report.json``. Raises CommandError when it is none, OSError when it cannot be read."""
    try:
        scores = json.loads(path.read_text(encoding="utf-8", errors="replace"))
    except ValueError:
        scores = None
    if not isinstance(scores, dict) or "format" not in scores:
        raise CommandError(f"{path} is not a report.json of evaluate.sh.")
    if scores["format"] != FORMAT:
        raise CommandError(f"{path} has format {scores['format']}, not {FORMAT}: run evaluate.sh of this version.")
    return scores


def names_apart(paths: Sequence[Path]) -> list[str]:
    """The last parts of ``paths``, with as many parents as tell them apart. Raises CommandError where none do."""
    parts = [path.resolve().parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(path[-depth:]) for path in parts]
        if len(set(names)) == len(names):
            return names
    raise CommandError("One of the files is named twice.")


Seeds = Sequence[dict[str, Any]]  # the reports of one model, trained with one seed or several


def comparison(reports: Mapping[str, Seeds], only: Sequence[str] = ("",), by_model: bool = False) -> Iterator[str]:
    """The table, line by line; measures that no model has, and whose names begin with none of ``only``, are left out.

    The last column, or ``by_model`` row, is of the test pieces themselves, where a measure has a figure for them.
    """
    first = next(iter(reports.values()))
    rows = []
    for name, keys, digits in _ROWS:
        cells = [shown(over_seeds([_entry(scores, keys) for scores in seeds]), digits) for seeds in reports.values()]
        test = shown(_entry(first[0], (*keys[:-1], "test")), digits) if keys[-1] == "generated" else UNKNOWN
        rows.append([name, *cells, test])
        if keys[0] == "perplexity" and len(reports) > 1:
            ratios = [shown(_ratio(seeds, first, keys[1]), 3) for seeds in reports.values()]
            rows.append([f"{name}, over that of the first", "1", *ratios[1:], UNKNOWN])
    for name, keys, show in _TEXT_ROWS:
        test = show(_entry(first[0], (*keys[:-1], "test"))) if keys[-1] == "generated" else UNKNOWN
        texts = [dict.fromkeys(show(_entry(scores, keys)) for scores in seeds) for seeds in reports.values()]
        rows.append([name, *map("; ".join, texts), test])
    known = [row for row in rows if set(row[1:]) != {UNKNOWN} and row[0].startswith(tuple(only))]
    for beginning in only:
        if not any(row[0].startswith(beginning) for row in known):
            raise CommandError(f"No measure of these reports begins with {beginning!r}.")
    lines = [["", *reports, "test pieces"], *known]
    header, *rows = map(list, zip(*lines)) if by_model else lines
    return table(header, rows)


def over_seeds(entries: Sequence[dict[str, Any] | None]) -> dict[str, Any] | None:
    """Of several the mean, and as its interval the lowest and the highest; None where one is unknown."""
    if len(entries) == 1:
        return entries[0]
    values = [entry["value"] for entry in entries if entry is not None and entry["value"] is not None]
    if len(values) < len(entries):
        return None
    return {"value": float(np.mean(values)), "low": min(values), "high": max(values)}


def _check_seeds(name: str, seeds: Seeds) -> None:
    """Raises CommandError when the reports of a column are not of one model trained with several seeds."""
    models = [{**scores["model"], "checkpoint": None} for scores in seeds]
    trained_with = [model.pop("training_seed") for model in models]
    if len(set(trained_with)) < len(trained_with) or any(model != models[0] for model in models):
        raise CommandError(f"The models {name} differ in more than their training seed, or have the same one.")


def _ratio(seeds: Seeds, others: Seeds, length: str) -> dict[str, Any] | None:
    """``paired_ratio`` of the seeds that both have, or of the only ones; None where they have none in common."""
    if len(seeds) == len(others) == 1:
        return paired_ratio(seeds[0], others[0], length)
    by_seed = {scores["model"]["training_seed"]: scores for scores in others}
    pairs = [(scores, by_seed.get(scores["model"]["training_seed"])) for scores in seeds]
    ratios = [paired_ratio(scores, other, length) for scores, other in pairs if other is not None]
    return over_seeds(ratios) if ratios else None


def paired_ratio(scores: dict[str, Any], others: dict[str, Any], length: str) -> dict[str, float | None] | None:
    """The perplexity of one model over that of another; both lose on the same pieces, which are resampled together.

    None where they were not measured on the same pieces.
    """
    one, other = (report["perplexity"].get(length) for report in (scores, others))
    if one is None or other is None or one["piece_tokens"] != other["piece_tokens"]:
        return None
    sums = np.column_stack([one["piece_bits"], other["piece_bits"], one["piece_tokens"]])
    options = scores["options"]
    bootstrap = Bootstrap(options["seed"], options["replicates"])
    return bootstrap.estimate(lambda total: 2 ** ((total[0] - total[1]) / total[2]), sums).as_json()


def _entry(scores: dict[str, Any], keys: Sequence[str]) -> dict[str, Any] | None:
    found: Any = scores
    for key in keys:
        found = found.get(key) if found else None
    return found


def paper_table() -> Iterator[str]:
    """What the paper measured."""
    header = ["paper, on LMD", "1,024", "5,120", "10,240", "similarity error (%)"]
    return table(header, ([name, *(f"{number:.2f}" for number in numbers)] for name, numbers in PAPER.items()))


def _head(reports: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """How the models differ, and a warning where their data do."""
    for name, scores in reports.items():
        model, generated = scores["model"], scores["generated"]
        yield (
            f"- {name}: {architecture_text(model)}, {model['parameters']:,} parameters, "
            f"{model['updates'] or 'unknown'} updates, training seed {model['training_seed']}; "
            f"{generated['pieces']} pieces, {generated['continuations']} of them continuations."
        )
    data = [scores["data"] for scores in reports.values()]
    if any(other != data[0] for other in data):
        yield "- **The models were not evaluated on the same data; their figures cannot be compared.**"


def _run(args: argparse.Namespace) -> int:
    reports = dict(zip(names_apart([path.parent for path in args.reports]), map(read_report, args.reports)))
    columns: dict[str, list[dict[str, Any]]] = defaultdict(list)
    for name, scores in reports.items():
        columns[name.removesuffix(f"-{scores['model']['training_seed']}") if args.over_seeds else name].append(scores)
    for name, seeds in columns.items():
        seeds.sort(key=lambda scores: scores["model"]["training_seed"] or 0)
        _check_seeds(name, seeds)
    if any(len(seeds) > 1 for seeds in columns.values()):
        brackets = [
            "In brackets the lowest and the highest of the seeds; of a single one the interval over pieces. Ratios "
            "are of the seeds that both models have.",
            "",
        ]
    else:
        brackets = []
    for line in (*_head(reports), "", *brackets, *comparison(columns, args.only or [""], args.by_model)):
        print(line)
    if args.paper:
        print("", *paper_table(), sep="\n")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.compare", description=__doc__.split("\n")[0])
    parser.add_argument("reports", nargs="+", type=Path, metavar="REPORT.json")
    parser.add_argument("--over-seeds", action="store_true", help="one column for full-1, full-2 …: mean, least, most")
    parser.add_argument("--by-model", action="store_true", help="a row for each model, not a column")
    parser.add_argument(
        "--only", action="append", metavar="BEGINNING", help="the measures whose names begin so; may be given again"
    )
    parser.add_argument("--paper", action="store_true", help="add what the paper measured, on its own data")
    args = parser.parse_args(arguments)
    return run_command(lambda: _run(args), "Interrupted.")


if __name__ == "__main__":
    sys.exit(main())
