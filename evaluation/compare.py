"""The scorecards of several models in one table.

    python -m evaluation.compare A/report.json B/report.json ...

prints markdown, a column for each model, named after the report's folder. ``--paper`` adds a second table
with the figures that the paper measured, on its own data.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.command import CommandError, run_command
from data_prep.similarity.bars import TRACKS
from evaluation.bootstrap import Bootstrap
from evaluation.report_text import FEATURE_NAMES, FORMAT, UNKNOWN, shown, shown_peaks, shown_spread, table

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

_FAMILIES = ("bar end", "metre", "tempo", "onset", "instrument", "pitch", "duration", "velocity")
_BARS = {"repeats": "bars that repeat one", "varies": "bars that vary one", "new": "new bars"}

# What stands where in a report: name, keys, digits shown.
_ROWS: tuple[tuple[str, tuple[str, ...], int], ...] = (
    *((f"perplexity, first {length:,} tokens", ("perplexity", str(length)), 2) for length in (1024, 5120, 10240)),
    *((f"bits a token, {name}", ("losses_by_kind", "family", name), 3) for name in _FAMILIES),
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


def comparison(reports: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """The table, line by line; measures that no model has are left out.

    The last column is of the test pieces themselves, where a measure has a figure for them.
    """
    first = next(iter(reports.values()))
    rows = []
    for name, keys, digits in _ROWS:
        cells = [shown(_entry(scores, keys), digits) for scores in reports.values()]
        test = shown(_entry(first, (*keys[:-1], "test")), digits) if keys[-1] == "generated" else UNKNOWN
        rows.append([name, *cells, test])
        if keys[0] == "perplexity" and len(reports) > 1:
            ratios = [shown(paired_ratio(scores, first, keys[1]), 3) for scores in reports.values()]
            rows.append([f"{name}, over that of the first", "1", *ratios[1:], UNKNOWN])
    for name, keys, show in _TEXT_ROWS:
        test = show(_entry(first, (*keys[:-1], "test"))) if keys[-1] == "generated" else UNKNOWN
        rows.append([name, *(show(_entry(scores, keys)) for scores in reports.values()), test])
    return table(["", *reports, "test pieces"], (row for row in rows if set(row[1:]) != {UNKNOWN}))


def paired_ratio(scores: dict[str, Any], others: dict[str, Any], length: str) -> dict[str, float | None] | None:
    """The perplexity of one model over that of another; both lose on the same pieces, which are resampled together.

    None where they were not measured on the same pieces.
    """
    one, other = scores["perplexity"][length], others["perplexity"][length]
    if one["piece_tokens"] != other["piece_tokens"]:
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
        bars = ",".join(map(str, model["structure_bars"])) or "none"
        coarse = "on" if model["coarse_attention"] else "off"
        yield (
            f"- {name}: structure bars {bars}, coarse-grained attention {coarse}, {model['parameters']:,} "
            f"parameters, {model['updates'] or 'unknown'} updates, training seed {model['training_seed']}; "
            f"{generated['pieces']} pieces, {generated['continuations']} of them continuations."
        )
    data = [scores["data"] for scores in reports.values()]
    if any(other != data[0] for other in data):
        yield "- **The models were not evaluated on the same data; their figures cannot be compared.**"


def _run(args: argparse.Namespace) -> int:
    reports = dict(zip(names_apart([path.parent for path in args.reports]), map(read_report, args.reports)))
    for line in (*_head(reports), "", *comparison(reports)):
        print(line)
    if args.paper:
        print("", *paper_table(), sep="\n")
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.compare", description=__doc__.split("\n")[0])
    parser.add_argument("reports", nargs="+", type=Path, metavar="REPORT.json")
    parser.add_argument("--paper", action="store_true", help="add what the paper measured, on its own data")
    args = parser.parse_args(arguments)
    return run_command(lambda: _run(args), "Interrupted.")


if __name__ == "__main__":
    sys.exit(main())
