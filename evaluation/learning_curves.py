"""How fast models learn: losses over tokens and over time, out of the logs of their trainings.

    python -m evaluation.learning_curves LOG [LOG ...] --out curves.svg --at-tokens 4e6,15.2e6 --at-minutes 7,30

A LOG is what ``fairseq-train`` prints with ``--log-format simple`` (as ``train.sh`` does) or ``json``; a run
that was resumed has one log, appended to. Draws training losses (thin) and validation losses (with dots), and
prints both at the points asked for and at the end.

- **Loss**: bits a token, as fairseq logs it. At a point the training loss is the mean, by tokens, of the last
  twentieth of the tokens before it; the validation loss lies on the line between its neighbours.
- **Tokens**: ``wpb`` (target tokens an update) times updates, summed over the ``train_inner`` lines.
- **Time**: of a training without a GPU, CPU seconds of its process, validation and saving included, as the plugin's
  task logs them (``cpu``). Of others, and in older logs, the seconds on the clock inside training steps
  (``train_wall``), since fairseq's ``wall`` is wrong after resuming.

Lines that a resumed run logged again take the place of the earlier ones.
"""

from __future__ import annotations

import argparse
import itertools
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import matplotlib
import numpy as np
from matplotlib.figure import Figure

from data_prep.command import CommandError, run_command
from data_prep.similarity.plot import write_figure
from evaluation.compare import names_apart
from evaluation.report_text import UNKNOWN, table

_LINE = re.compile(r"(?:\| |\[)(train_inner|valid)(?: \| |\]\[INFO\] - )(.*)")  # as fairseq logs, or Hydra
_PAIR = re.compile(r"(\w+)[= ]([-+.\w]+)(?=,| \||$)")  # loss=9.708, ... or loss 9.415 | ...
_SHARE = 0.05  # of the tokens before a point, for its training loss
_COLOURS = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E0B020", "#444444", "#56B4E9")  # Okabe and Ito


@dataclass(frozen=True)
class LearningCurve:
    """A training's losses in bits: ``training`` and ``validation`` float64 [points, 4].

    Columns: updates, tokens, seconds, loss. A training loss is the mean since the point before.
    """

    training: np.ndarray
    validation: np.ndarray

    def training_loss(self, tokens: float) -> float:
        """Over the last twentieth of the first ``tokens``."""
        ends, losses = self.training[:, 1], self.training[:, 3]
        starts = np.concatenate([[0.0], ends[:-1]])
        weights = np.clip(np.minimum(ends, tokens) - np.maximum(starts, (1 - _SHARE) * tokens), 0, None)
        return float((weights * losses).sum() / weights.sum()) if weights.any() else math.nan

    def validation_loss(self, tokens: float) -> float:
        """After the first ``tokens``; NaN before the first validation and after the last."""
        if not len(self.validation):
            return math.nan
        return float(np.interp(tokens, self.validation[:, 1], self.validation[:, 3], left=math.nan, right=math.nan))

    def at(self, value: float, column: int) -> np.ndarray | None:
        """Updates, tokens and seconds, float64 [3], where one of them is ``value``; None past the end."""
        if not 0 < value <= self.training[-1, column]:
            return None
        return _interpolated(self.training, value, column)


def read_log(path: Path) -> LearningCurve:
    """Raises CommandError when the log holds no training loss, OSError when it cannot be read."""
    names = {"train_inner": ("num_updates", "wpb", "cpu", "loss"), "valid": ("num_updates", "loss")}
    logged: dict[str, list[list[float]]] = {"train_inner": [], "valid": []}
    with path.open(encoding="utf-8", errors="replace") as lines:
        for match in filter(None, map(_LINE.search, lines)):
            values, points = _values(match[2]), logged[match[1]]
            values.setdefault("cpu", values.get("train_wall", math.nan))
            point = [values.get(name, math.nan) for name in names[match[1]]]
            if math.isnan(sum(point[:-1])):  # the line is cut off; a loss may well be NaN
                continue
            while points and points[-1][0] >= point[0]:
                points.pop()
            points.append(point)
    if not logged["train_inner"]:
        raise CommandError(f"{path} holds no training loss: name what fairseq-train --log-format simple printed.")
    updates, tokens_an_update, seconds, losses = np.array(logged["train_inner"]).T
    tokens = np.cumsum(tokens_an_update * np.diff(updates, prepend=0))
    training = np.stack([updates, tokens, np.cumsum(seconds), losses], axis=1)
    validation = [[*_interpolated(training, updates, 0), loss] for updates, loss in logged["valid"]]
    return LearningCurve(training, np.array(validation, dtype=float).reshape(-1, 4))


def _values(text: str) -> dict[str, float]:
    """What a line logs, by name; of a JSON line without the ``valid_`` before each."""
    pairs: list[tuple[str, object]] = _PAIR.findall(text)
    if text.startswith("{"):
        try:
            pairs = [(name.removeprefix("valid_"), value) for name, value in json.loads(text).items()]
        except ValueError:  # cut off
            return {}
    found = {}
    for name, value in pairs:
        try:
            found[name] = float(str(value))
        except ValueError:
            continue
    return found


def _interpolated(points: np.ndarray, value: float, column: int) -> np.ndarray:
    """Updates, tokens, seconds where ``column`` is ``value``: from 0 on, past the last point at its pace."""
    known = np.concatenate([np.zeros((1, 3)), points[:, :3]])
    index = int(np.clip(np.searchsorted(known[:, column], value), 1, len(known) - 1))
    before, after = known[index - 1], known[index]
    return before + (after - before) * (value - before[column]) / (after[column] - before[column])


def points_table(
    curves: Mapping[str, LearningCurve], tokens: Sequence[float] = (), minutes: Sequence[float] = ()
) -> Iterator[str]:
    """A markdown table of the losses at each of ``tokens`` and ``minutes``, and at the end of every curve."""
    rows = []
    for name, curve in curves.items():
        wanted = [curve.at(value, 1) for value in tokens] + [curve.at(60 * value, 2) for value in minutes]
        for point in [*(point for point in wanted if point is not None), curve.training[-1, :3]]:
            losses = curve.training_loss(point[1]), curve.validation_loss(point[1])
            numbers = (f"{point[0]:,.0f}", f"{point[1]:,.0f}", f"{point[2] / 60:.1f}")
            rows.append([name, *numbers, *(UNKNOWN if math.isnan(loss) else f"{loss:.3f}" for loss in losses)])
    return table(["", "updates", "tokens", "minutes", "training loss", "validation loss"], rows)


def draw_curves(curves: Mapping[str, LearningCurve], path: Path) -> None:
    """Draw the losses over tokens and over time into ``path``, .svg or .png. Raises OSError."""
    figure = Figure(figsize=(10, 4), dpi=120, facecolor="white", layout="constrained")
    panels = figure.subplots(1, 2, sharey=True)
    for axes, column, unit, label in zip(
        panels, (1, 2), (1e6, 60), ("million tokens", "minutes: of the CPU, or in training steps")
    ):
        for colour, (name, curve) in zip(itertools.cycle(_COLOURS), curves.items()):
            axes.plot(
                curve.training[:, column] / unit, curve.training[:, 3], color=colour, alpha=0.5, lw=0.8, label=name
            )
            axes.plot(curve.validation[:, column] / unit, curve.validation[:, 3], "o-", color=colour, ms=3)
        axes.set(xlabel=label, xlim=(0, None))
        axes.grid(alpha=0.3)
    panels[0].set_ylabel("bits a token: training thin, validation with dots")
    panels[0].legend(frameon=False)
    options = {"metadata": {"Date": None}} if path.suffix == ".svg" else {}
    with matplotlib.rc_context({"svg.hashsalt": "learning curves"}):  # equal curves, equal bytes
        write_figure(figure, path, path.suffix[1:], **options)


def _numbers(text: str) -> tuple[float, ...]:
    try:
        numbers = tuple(float(part) for part in text.split(","))
    except ValueError:
        numbers = (math.nan,)
    if not all(0 < number < math.inf for number in numbers):
        raise argparse.ArgumentTypeError(f"{text!r} is not a list of numbers above 0 such as 1e6,4e6")
    return numbers


def _run(args: argparse.Namespace) -> int:
    if args.out and args.out.suffix not in (".svg", ".png"):
        raise CommandError(f"{args.out} ends in neither .svg nor .png.")
    curves = dict(zip(names_apart(args.logs), map(read_log, args.logs)))
    if args.out:
        draw_curves(curves, args.out)
    for line in points_table(curves, args.at_tokens, args.at_minutes):
        print(line)
    return 0


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the command; returns the exit status."""
    parser = argparse.ArgumentParser(prog="python -m evaluation.learning_curves", description=__doc__.split("\n")[0])
    parser.add_argument("logs", nargs="+", type=Path, metavar="LOG")
    parser.add_argument("--out", type=Path, metavar="FILE.svg", help="draw the curves, as .svg or .png")
    parser.add_argument("--at-tokens", type=_numbers, default=(), metavar="N,N", help="points of the table, in tokens")
    parser.add_argument("--at-minutes", type=_numbers, default=(), metavar="M,M", help="the same in minutes")
    args = parser.parse_args(arguments)
    return run_command(lambda: _run(args), "Interrupted.")


if __name__ == "__main__":
    sys.exit(main())
