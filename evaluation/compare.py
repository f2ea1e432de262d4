"""The scorecards of several models in one table.

    python -m evaluation.compare A/report.json B/report.json ...

prints markdown, a column for each model, named after the report's folder. ``--paper`` adds a second table
with the figures that the paper measured, on its own data.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from data_prep.command import CommandError, run_command
from evaluation.report_text import FEATURE_NAMES, FORMAT, UNKNOWN, shown, table

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


def model_names(paths: Sequence[Path]) -> list[str]:
    """The folders of the reports, with as many parents as tell them apart."""
    parts = [path.resolve().parent.parts for path in paths]
    for depth in range(1, max(map(len, parts)) + 1):
        names = ["/".join(folder[-depth:]) for folder in parts]
        if len(set(names)) == len(names):
            return names
    raise CommandError("A report is named twice.")


def comparison(reports: Mapping[str, dict[str, Any]]) -> Iterator[str]:
    """The table, line by line; measures that no model has are left out."""
    rows = [[_entry(row, scores) for scores in reports.values()] for row in _rows()]
    named = ([name, *cells] for (name, *_), cells in zip(_rows(), rows) if set(cells) != {UNKNOWN})
    return table(["", *reports], named)


def _rows() -> Iterator[tuple[str, tuple[str, ...], int]]:
    """What stands where in a report: name, keys, digits shown."""
    for length in (1024, 5120, 10240):
        yield f"perplexity, first {length:,} tokens", ("perplexity", str(length)), 2
    for track in ("melody", "all", "drums", "bass", "guitar", "piano", "strings"):
        yield f"similarity error, {track} (%)", ("similarity_error_percent", track, "generated"), 2
    yield "grammar errors per 1,000 tokens", ("grammar_errors", "constrained"), 2
    yield "the same without the constraint", ("grammar_errors", "unconstrained"), 2
    for feature, name in FEATURE_NAMES.items():
        yield f"{name}, generated - test", ("features", feature, "difference"), 3
    yield "BLEU of continuations", ("bleu",), 2
    yield "self-BLEU", ("self_bleu", "generated"), 2
    yield "longest copied run (bars, mean)", ("copied_bars", "all", "generated"), 2
    yield "longest copied run, melody (bars, mean)", ("copied_bars", "melody", "generated"), 2


def _entry(row: tuple[str, tuple[str, ...], int], scores: dict[str, Any]) -> str:
    _, keys, digits = row
    found: Any = scores
    for key in keys:
        found = found.get(key) if found else None
    return shown(found, digits)


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
    reports = dict(zip(model_names(args.reports), map(read_report, args.reports)))
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
