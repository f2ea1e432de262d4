"""Draw the training loss of fairseq's log: ``python docs/draw_loss_curve.py train.log [more.log …] loss.svg``."""

from __future__ import annotations

import re
import sys
from pathlib import Path

from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure

_LOGGED = re.compile(r"train_inner .*? loss=([\d.]+), .*num_updates=(\d+)")


def losses(logs: list[Path]) -> tuple[list[int], list[float]]:
    """Updates and base-2 losses that the logs hold, in their order."""
    found = [match for log in logs for match in _LOGGED.finditer(log.read_text())]
    return [int(match[2]) for match in found], [float(match[1]) for match in found]


def main() -> int:
    """The command; returns its exit status."""
    if len(sys.argv) < 3:
        print(__doc__, file=sys.stderr)
        return 2
    updates, loss = losses([Path(log) for log in sys.argv[1:-1]])
    if not updates:
        print("The logs hold no training loss: name what fairseq-train --log-format simple printed.", file=sys.stderr)
        return 1
    figure = Figure(figsize=(6, 3), layout="constrained")
    FigureCanvasAgg(figure)
    axes = figure.subplots()
    axes.plot(updates, loss, color="#0072b2")
    axes.set(xlabel="updates", ylabel="training loss, bits a token", ylim=(0, None), xlim=(0, None))
    axes.grid(alpha=0.3)
    figure.savefig(sys.argv[-1], metadata={"Date": None} if sys.argv[-1].endswith(".svg") else None)
    return 0


if __name__ == "__main__":
    sys.exit(main())
