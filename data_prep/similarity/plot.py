"""Draw similarity curves, as the paper's figure 3 does."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from data_prep.folders.files import write_whole

# The colour-blind-safe palette of Okabe and Ito.
_COLOURS = ("#D55E00", "#0072B2", "#009E73", "#CC79A7", "#E0B020", "#444444", "#56B4E9")


def draw_similarity(curves: Mapping[str, np.ndarray], png_path: Path, marked: Sequence[int] = ()) -> None:
    """Draw curves L_1, L_2 ... (fractions; NaN leaves a gap) over t in percent, with their names.

    The distances ``marked`` get a vertical line. Raises OSError when the picture cannot be written.
    """
    figure = Figure(figsize=(9, 4.2), dpi=120, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    longest = max((len(curve) for curve in curves.values()), default=1)
    for distance in marked:
        axes.axvline(distance, color="#000000", alpha=0.15, lw=4, zorder=1)
    for colour, (name, curve) in zip(_COLOURS * len(curves), curves.items()):
        axes.plot(np.arange(1, len(curve) + 1), 100 * curve, "o-", color=colour, ms=4, lw=1.3, label=name, zorder=2)
    axes.set_xlabel("distance t in bars")
    axes.set_ylabel("bar similarity L_t in percent")
    axes.set_xlim(0, longest + 1)
    axes.set_ylim(bottom=0)
    axes.set_xticks([1, *range(4, longest + 1, 4 * max(1, longest // 80))])
    axes.grid(axis="y", alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False)
    write_figure(figure, png_path)


def write_figure(figure: Figure, path: Path, format: str = "png", **options: Any) -> None:
    """Write ``figure`` with ``options`` of its ``savefig``, whole or not at all. Raises OSError."""
    stream = io.BytesIO()
    figure.savefig(stream, format=format, **options)
    write_whole(path, stream.getvalue())
