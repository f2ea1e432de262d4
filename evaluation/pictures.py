"""Generated pieces beside real ones: piano rolls and self-similarity matrices."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from matplotlib.figure import Figure
from tqdm import tqdm

from data_prep.similarity.bars import TRACKS
from data_prep.similarity.plot import draw_similarity, write_figure
from data_prep.tokens.decode import decode
from data_prep.tokens.vocabulary import Representation
from evaluation.data_bin import Split
from evaluation.generated import GeneratedPiece
from evaluation.piano_roll import DrawingError, draw_piano_roll, roll_of
from evaluation.self_similarity import draw_self_similarity, self_similarity

_logger = logging.getLogger(__name__)


@dataclass(frozen=True)
class Pair:
    """A generated piece and a real one: its example, or for a piece from scratch any test piece."""

    generated: GeneratedPiece
    real: str
    real_name: str


def choose_pairs(pieces: Sequence[GeneratedPiece], test: Split, count: int, seed: int) -> list[Pair]:
    """``count`` pieces at random, each with its real one; the same seed chooses the same."""
    chance = np.random.default_rng(seed)
    chosen = np.sort(chance.choice(len(pieces), min(count, len(pieces)), replace=False))
    order = chance.permutation(len(test))
    pairs = []
    for n, piece in enumerate(pieces[index] for index in chosen):
        index = int(order[n % len(order)])
        if piece.example is not None:
            pairs.append(Pair(piece, piece.example, f"continued by {piece.name}"))
        else:
            pairs.append(Pair(piece, test.line(index), f"test piece {index + 1}"))
    return pairs


def draw_rolls(pairs: Sequence[Pair], folder: Path) -> list[str]:
    """Draw ``generated_1.png``, ``real_1.png`` and so on; returns the names drawn, pieces without notes left out."""
    folder.mkdir(parents=True, exist_ok=True)
    drawn = []
    for number, pair in enumerate(tqdm(pairs, desc="piano rolls", leave=False), start=1):
        sides = {
            f"generated_{number}": (pair.generated.tokens, f"generated: {pair.generated.name}"),
            f"real_{number}": (pair.real.split(), f"real: {pair.real_name}"),
        }
        prompt_bars = pair.generated.prompt_bars
        for name, (tokens, title) in sides.items():
            try:
                draw_piano_roll(roll_of(decode(tokens).midi), folder / f"{name}.png", title, prompt_bars)
                drawn.append(name)
            except DrawingError as error:
                _logger.warning("%s %s and is not drawn.", title, error)
    return drawn


def draw_matrices(pairs: Sequence[Pair], representation: Representation, png_path: Path) -> None:
    """Generated pieces above, real ones below, of all instruments and then of the melody; titles name pieces."""
    lines = [
        [(pair.generated.name, " ".join(pair.generated.tokens)) for pair in pairs],
        [(pair.real_name, pair.real) for pair in pairs],
    ]
    instruments = {"": None} if representation.has_metre else {"": None, ", melody": TRACKS["melody"]}
    rows = [
        [(f"{name}{track}", self_similarity(line, instrument)) for name, line in row]
        for track, instrument in instruments.items()
        for row in lines
    ]
    draw_self_similarity(rows, png_path)


def draw_ngrams(shares: dict[str, dict[str, dict[str, float | None]]], png_path: Path) -> None:
    """Draw a report's ``known_ngrams_percent``, with the intervals."""
    figure = Figure(figsize=(6, 3.6), dpi=120, facecolor="white", layout="constrained")
    axes = figure.add_subplot()
    orders = np.array(list(shares), dtype=int)
    for name, colour, title in (("test", "#0072B2", "test pieces"), ("generated", "#D55E00", "generated")):
        entries = [entry[name] for entry in shares.values()]
        values, lows, highs = (
            np.array([entry[part] for entry in entries], dtype=float) for part in ("value", "low", "high")
        )
        axes.fill_between(orders, lows, highs, color=colour, alpha=0.2, lw=0)
        axes.plot(orders, values, "o-", color=colour, ms=4, lw=1.3, label=title)
    axes.set_xlabel("n")
    axes.set_ylabel("n-grams of the training set in percent")
    axes.set_ylim(0, 102)
    axes.grid(axis="y", alpha=0.3)
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    axes.legend(frameon=False)
    write_figure(figure, png_path)


def draw_curves(curves: dict[str, dict[str, list[float | None]]], folder: Path) -> None:
    """Draw ``similarity_TRACK.png`` for each track of a report's ``bar_similarity``."""
    for track, sets in curves.items():
        shown = {f"{name}, {track}": np.array(curve, dtype=float) for name, curve in sets.items()}
        draw_similarity(shown, folder / f"similarity_{track}.png")
