"""Draw the README's picture of fine- and coarse-grained attention.

    python docs/draw_attention.py docs/attention.svg

Twenty bars lead up to the one being written. Structure bars keep all their tokens, every other bar is
one summary vector, and the own bar is seen as far as it goes.
"""

from __future__ import annotations

import argparse
from pathlib import Path

import matplotlib
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.patches import FancyBboxPatch, PathPatch
from matplotlib.path import Path as Outline

STRUCTURE_DISTANCES = (1, 2, 4, 8, 12, 16)
EARLIER_BARS = 20
TOKENS_PER_BAR = 6
TOKENS_SO_FAR = 3  # complete tokens of the own bar; the one after them is attending

WIDTH, HEIGHT = 900, 330  # also the units of the drawing, top to bottom inverted
BAR_WIDTH, BAR_HEIGHT, GAP = 34, 74, 6
LEFT, FLOOR = 27, 96  # of the row of bars
APEX = 268  # height of the attending token's line of sight

INK, FAINT = "#1F2933", "#9AA5B1"
FINE, FINE_PALE = "#C2410C", "#FDEBDD"
COARSE, COARSE_PALE = "#1D6FA5", "#E3F0F8"
OWN, OWN_PALE = "#2F7D4F", "#E2F2E8"


def main(out: Path) -> None:
    """Write the picture to ``out``, as SVG or, with that suffix, PNG."""
    figure = Figure(figsize=(WIDTH / 100, HEIGHT / 100), dpi=100, facecolor="white")
    FigureCanvasSVG(figure)
    axes = figure.add_axes((0, 0, 1, 1))
    axes.set_xlim(0, WIDTH)
    axes.set_ylim(0, HEIGHT)
    axes.axis("off")

    own = LEFT + EARLIER_BARS * (BAR_WIDTH + GAP)
    target = (token_centre(own, TOKENS_SO_FAR)[0], FLOOR + BAR_HEIGHT)
    for distance in range(EARLIER_BARS, 0, -1):
        left = own - distance * (BAR_WIDTH + GAP)
        if distance in STRUCTURE_DISTANCES:
            structure_bar(axes, left, distance, target)
        else:
            summarised_bar(axes, left, target)
    own_bar(axes, own)
    captions(axes, own)
    # A fixed salt and no date: the same picture is the same file.
    with matplotlib.rc_context({"svg.hashsalt": "attention", "svg.fonttype": "path"}):
        figure.savefig(out, metadata={"Date": None} if out.suffix == ".svg" else None, dpi=200)


def token_centre(left: float, index: int) -> tuple[float, float]:
    """Centre of a bar's token: two columns, read line by line from the top."""
    row, column = divmod(index, 2)
    return left + BAR_WIDTH * (0.29 + 0.42 * column), FLOOR + BAR_HEIGHT - 15 - 22 * row


def box(axes: Axes, left: float, face: str, edge: str, style: str = "solid") -> None:
    """The outline of a bar."""
    axes.add_patch(
        FancyBboxPatch(
            (left, FLOOR),
            BAR_WIDTH,
            BAR_HEIGHT,
            boxstyle="round,pad=0,rounding_size=5",
            facecolor=face,
            edgecolor=edge,
            linewidth=1.3,
            linestyle=style,
        )  # fmt: skip
    )


def token(axes: Axes, left: float, index: int, face: str, edge: str) -> None:
    """One token of a bar."""
    x, y = token_centre(left, index)
    axes.add_patch(
        FancyBboxPatch(
            (x - 4.5, y - 7),
            9,
            14,
            boxstyle="round,pad=0,rounding_size=2.5",
            facecolor=face,
            edgecolor=edge,
            linewidth=1,
        )  # fmt: skip
    )


def sight(
    axes: Axes, start: tuple[float, float], end: tuple[float, float], colour: str, width: float, alpha: float
) -> None:
    """A line of attention from a bar, over the others, to the attending token."""
    reach = (end[0] - start[0]) / (EARLIER_BARS * (BAR_WIDTH + GAP))
    height = FLOOR + BAR_HEIGHT + 24 + (APEX - FLOOR - BAR_HEIGHT) * reach**0.75
    outline = Outline(
        [start, (start[0], height), (end[0], height), end],
        [Outline.MOVETO, Outline.CURVE4, Outline.CURVE4, Outline.CURVE4],
    )
    axes.add_patch(PathPatch(outline, facecolor="none", edgecolor=colour, linewidth=width, alpha=alpha, zorder=0))


def structure_bar(axes: Axes, left: float, distance: int, target: tuple[float, float]) -> None:
    """A bar attended token by token."""
    box(axes, left, FINE_PALE, FINE)
    for index in range(TOKENS_PER_BAR):
        token(axes, left, index, FINE, FINE)
    for column in (-6, 0, 6):
        sight(axes, (left + BAR_WIDTH / 2 + column, FLOOR + BAR_HEIGHT), target, FINE, 1.1, 0.85)
    axes.text(
        left + BAR_WIDTH / 2, FLOOR - 15, f"−{distance}",
        ha="center", va="center", fontsize=10, weight="bold", color=FINE,
    )  # fmt: skip


def summarised_bar(axes: Axes, left: float, target: tuple[float, float]) -> None:
    """A bar of which one vector is attended; its own tokens are out of sight."""
    box(axes, left, "white", FAINT, "dashed")
    for index in range(TOKENS_PER_BAR):
        token(axes, left, index, "#EEF1F4", "#D3D9DF")
    x, y = left + BAR_WIDTH / 2, FLOOR + BAR_HEIGHT / 2
    axes.scatter([x], [y], s=190, color=COARSE, edgecolors="white", linewidths=1.6, zorder=4)
    sight(axes, (x, FLOOR + BAR_HEIGHT), target, COARSE, 0.8, 0.55)


def own_bar(axes: Axes, left: float) -> None:
    """The bar being written: tokens so far, the attending one, and those to come."""
    box(axes, left, OWN_PALE, OWN)
    for index in range(TOKENS_SO_FAR):
        token(axes, left, index, OWN, OWN)
    token(axes, left, TOKENS_SO_FAR, INK, INK)
    for index in range(TOKENS_SO_FAR + 1, TOKENS_PER_BAR):
        token(axes, left, index, "none", "#9CCBAF")


def captions(axes: Axes, own: float) -> None:
    """Title, bar count and the legend under the bars."""
    axes.text(
        LEFT, HEIGHT - 24, "What the dark token of the current bar attends to", fontsize=13.5, weight="bold",
        va="center", color=INK,
    )  # fmt: skip
    axes.text(own + BAR_WIDTH / 2, FLOOR - 15, "now", ha="center", va="center", fontsize=10, weight="bold", color=OWN)
    legend = (
        (FINE, "Fine-grained", "all tokens of the structure bars:\n1, 2, 4, 8, 12, 16 … bars back"),
        (COARSE, "Coarse-grained", "one summary vector\nof every other earlier bar"),
        (OWN, "Own bar", "the tokens so far,\nnever those to come"),
    )
    for (colour, name, meaning), x in zip(legend, (LEFT, 365, 655)):
        axes.scatter([x + 6], [49], s=80, color=colour, marker="o" if colour == COARSE else "s")
        axes.text(x + 20, 49, name, fontsize=11, weight="bold", va="center", color=colour)
        axes.text(x + 20, 37, meaning, fontsize=9.5, va="top", color=INK, linespacing=1.25)


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("svg", type=Path, nargs="?", default=Path("attention.svg"))
    main(parser.parse_args().svg)
